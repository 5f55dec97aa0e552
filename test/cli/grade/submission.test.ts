/** Files of submissions that claim, hold or hide too much. Read without a child, so that a bomb costs the test nothing. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
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
  const found = findSubmissions([path.dirname(file)]);
  expect(found).toHaveLength(1);
  return found[0].read();
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
    const [ann, ben, ...more] = findSubmissions([file]).map((source) => source.read());
    expect(more).toEqual([]);
    expect(ann).toMatchObject({ student: "ann", notebooks: [{}], problems: [] });
    expect(ben).toMatchObject({ student: "ben", notebooks: [] });
    expect(ben.problems).toEqual([expect.stringMatching(/class\.zip\/ben\/ben\.zip is a zip file inside a zip file; unpack the outer one to have it graded$/)]);
  });
});

describe("a class", () => {
  const make = (name: string, files: Record<string, Uint8Array | string>): string => {
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name, file)), { recursive: true });
      writeFileSync(path.join(folder, name, file), content);
    }
    return path.join(folder, name);
  };
  /** Problems by student, without the folder's path. */
  const problemsIn = (place: string): Record<string, string[]> =>
    Object.fromEntries(findSubmissions([place]).map((source) => [source.student, source.read().problems.map((problem) => problem.replaceAll(`${path.dirname(place)}/`, ""))]));

  it("of folders has each in it, also who handed in no notebook, and says what is there instead", () => {
    const place = make("class", {
      "ann/a.ipynb": some, "ben/answers.docx": "PK", "ben/photo.jpg": "", "cid/work.rar": "Rar!", "dee.zip": "PK no zip", "eve.zip": zipSync({}),
      "fay.zip": zipSync({ "work/essay.pdf": some }), "line\nbreak/a.ipynb": some, "grades.csv": "the teacher's",
    });
    symlinkSync("/etc/passwd", path.join(place, "gil.ipynb"));
    expect(problemsIn(place)).toEqual({
      ann: [],
      ben: ["class/ben holds no notebook, only answers.docx and 1 more"],
      cid: ["class/cid/work.rar is an archive that is not opened; unpack it, or make it a zip file"],
      dee: [expect.stringMatching(/^class\/dee\.zip is no zip file that can be read/)],
      eve: ["class/eve.zip holds no file"],
      fay: ["class/fay holds no notebook, only essay.pdf"],
      gil: ["class/gil.ipynb is a link; links are not followed"],
      "line\nbreak": [],
    });
  });

  it("in one folder around it is found with whatever lies beside", () => {
    const place = make("wrapped", { "export/ann/a.ipynb": some, "export/ben/answers.docx": "PK", "export/cid/a.ipynb": some, "export/readme.txt": "", "log.txt": "" });
    expect(problemsIn(place)).toEqual({ ann: [], ben: ["wrapped/ben holds no notebook, only answers.docx"], cid: [] });
  });

  it.each([
    ["of one submission", { "hw/a.ipynb": some, "data/numbers.csv": "1" }, { hw: [] }],
    ["of notebooks", { "ann.ipynb": some, "data/numbers.csv": "1" }, { ann: [] }],
    ["of one student's course", { "02-jacobian-composition.ipynb": some, "extra/own.ipynb": some, "data/numbers.csv": "1" }, { "of one student's course": [], extra: [] }],
  ])("%s takes no folder without a notebook for a student", (name, files, students) => {
    expect(problemsIn(make(name, files))).toEqual(students);
  });

  it("without a notebook is said to be so", () => {
    mkdirSync(path.join(folder, "nobody"));
    expect(problemsIn(path.join(folder, "nobody"))).toEqual({ nobody: ["nobody holds no notebook"] });
  });
});
