/** Files of submissions that claim, hold or hide too much. Read without a child, so that a bomb costs the test nothing. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { zipSync, type Zippable } from "fflate";
import { findSubmissions, type Submission } from "../../../cli/grade/submission";
import { notebook } from "./notebooks";

const folder = mkdtempSync(path.join(tmpdir(), "gradbook-submissions-"));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const some = bytes(notebook([{ source: "const a = 1;" }]));

/** Changes what the directory at a zip file's end says of each entry's unpacked size. */
function claiming(zip: Uint8Array, size: (index: number) => number): Uint8Array {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  let entry = 0;
  for (let at = 0; at + 46 <= zip.length; at++) if (view.getUint32(at, true) === 0x02014b50) view.setUint32(at + 24, size(entry++), true);
  if (entry === 0) throw new Error("the zip file has no directory");
  return zip;
}

/** The only submission of a zip file. */
function read(name: string, zip: Uint8Array): Submission {
  const file = path.join(folder, name, "student.zip");
  mkdirSync(path.dirname(file));
  writeFileSync(file, zip);
  const [source, ...more] = findSubmissions([path.dirname(file)]);
  expect(more.map((other) => other.read().problems)).toEqual([]);
  return source.read();
}

describe("a zip file", () => {
  it("with a file that says to be too large is not unpacked", () => {
    const { problems, notebooks } = read("large", claiming(zipSync({ "a.ipynb": some }), () => 300e6));
    expect(problems).toEqual([expect.stringMatching(/student\.zip\/a\.ipynb has 300 MB, at most 256 MB are read$/)]);
    expect(notebooks).toEqual([]);
  });

  it("whose files are too large together is unpacked up to there", () => {
    const files: Zippable = Object.fromEntries(["a", "b", "c", "d", "e"].map((name) => [`${name}.ipynb`, some]));
    const { problems, notebooks } = read("together", claiming(zipSync(files), () => 240e6));
    expect(notebooks).toHaveLength(4);
    expect(problems).toEqual([expect.stringMatching(/e\.ipynb makes 1200 MB, at most 1000 MB of a submission are read$/)]);
  });

  it("that names a file twice has both counted", () => {
    const zip = zipSync({ "a.ipynb": some, "b.ipynb": some });
    for (let at = 0; at < zip.length; at++) if (Buffer.from(zip.subarray(at, at + 7)).toString() === "b.ipynb") zip[at] = "a".charCodeAt(0);
    const { problems } = read("twice", claiming(zip, (entry) => (entry === 0 ? 300e6 : some.length)));
    expect(problems).toEqual([expect.stringMatching(/a\.ipynb has 300 MB, at most 256 MB are read$/)]);
  });

  it("whose file is larger than it says is unpacked to what it says", () => {
    const { problems, notebooks } = read("lying", claiming(zipSync({ "a.ipynb": new Uint8Array(20e6).fill(32) }), () => 100));
    expect(problems).toEqual([expect.stringMatching(/a\.ipynb is empty$/)]);
    expect(notebooks).toEqual([]);
  });

  it("of a great many notebooks is read up to a thousand", () => {
    const files: Zippable = Object.fromEntries(Array.from({ length: 1200 }, (_, i) => [`${i}.ipynb`, [some, { level: 0 }]]));
    const { problems, notebooks } = read("many", zipSync(files));
    expect(notebooks).toHaveLength(1000);
    expect(problems).toEqual([expect.stringMatching(/student holds 1200 notebooks, the first 1000 are read$/)]);
  });

  it("inside a zip file is not opened, and that is said", () => {
    const file = path.join(folder, "class.zip");
    writeFileSync(file, zipSync({ "ann/a.ipynb": some, "ben/ben.zip": zipSync({ "a.ipynb": some }), "__MACOSX/._ben.zip": some }));
    const read = findSubmissions([file]).map((source) => source.read());
    expect(read.flatMap(({ notebooks }) => notebooks)).toHaveLength(1);
    const problems = read.flatMap((submission) => submission.problems);
    expect(problems).toEqual([expect.stringMatching(/class\.zip\/ben\/ben\.zip is a zip file inside a zip file; unpack the outer one to have it graded$/)]);
  });
});
