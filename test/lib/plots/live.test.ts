/** What updates in place: live plots, live figures, the progress bar; and tensors as tables. */
import { inspect } from "node:util";
import { heatmap, liveFigure, livePlot, ones, rng, randn, tensor, track, zeros, type Tensor } from "../../../lib";
import type { ShowOptions } from "../../../lib/plots";

const HOOK = Symbol.for("gradbook.display");
const holder = globalThis as Record<symbol, unknown>;
let shown: { value: unknown; options: ShowOptions }[] = [];
beforeEach(() => {
  shown = [];
  holder[HOOK] = (value: unknown, options: ShowOptions) => shown.push({ value, options });
});
afterEach(() => { delete holder[HOOK]; });

/** First shown, then replaced, always the same place. */
function expectOnePlace(): void {
  expect(shown.length).toBeGreaterThan(0);
  expect(new Set(shown.map(({ options }) => options.display_id)).size).toBe(1);
  expect(shown.map(({ options }) => options.update ?? false)).toEqual(shown.map((_, i) => i > 0));
}

test("a live plot draws into one place and ends with every point", async () => {
  const plot = livePlot({ title: "Training", y: "loss", rate: 1000 });
  for (let step = 0; step < 50; step++) await plot.add(step, { loss: 1 / (step + 1), norm: step });
  plot.done();
  expectOnePlace();
  expect(shown.length).toBeGreaterThan(2);
  expect(plot.figure().data).toMatchObject([{ name: "loss" }, { name: "norm" }]);
  expect((shown.at(-1)!.value as ReturnType<typeof plot.figure>).data[0]).toMatchObject({ x: Array.from({ length: 50 }, (_, i) => i) });
});

test("a live plot redraws no more often than its rate, and without await too", () => {
  const plot = livePlot({ rate: 1 });
  for (let step = 0; step < 1000; step++) void plot.add(step, { loss: step });
  expect(shown).toHaveLength(1);
  plot.done();
  expect(shown).toHaveLength(2);
});

test("a live figure replaces the whole picture", async () => {
  const frame = liveFigure();
  for (let i = 1; i < 4; i++) await frame.show(heatmap([[i]]));
  expectOnePlace();
  expect(shown).toHaveLength(3);
});

describe("track", () => {
  test("walks a count, an array, a set, a generator, and says when it is done", () => {
    expect([...track(3)]).toEqual([0, 1, 2]);
    expect([...track(["a", "b"], "letters")]).toEqual(["a", "b"]);
    expect([...track(new Set([1, 2]))]).toEqual([1, 2]);
    expect([...track((function* () { yield 1; yield 2; })())]).toEqual([1, 2]);
    expect(String(shown[shown.length - 1]!.value)).toMatch(/^2 · /);
  });

  test("shows its progress in one place", () => {
    for (const _ of track(5, "steps"));
    expectOnePlace();
    expect(String(shown[0]!.value)).toMatch(/^steps \[·{24}\] 0\/5/);
    expect(String(shown.at(-1)!.value)).toMatch(/^steps \[█{24}\] 5\/5/);
    const bar = shown.at(-1)!.value as Record<symbol, () => Record<string, string>>;
    expect(bar[Symbol.for("Jupyter.display")]!()["text/html"]).toContain("width:100%");
  });

  test("walks asynchronously, ends its bar when the loop is left, and passes errors on", async () => {
    const seen: number[] = [];
    for await (const i of track(10)) {
      seen.push(i);
      if (i === 3) break;
    }
    expect(seen).toEqual([0, 1, 2, 3]);
    expect(String(shown.at(-1)!.value)).toContain("3/10");
    const failing = async (): Promise<void> => { for await (const _ of track((async function* () { yield 1; throw new Error("inside"); })())); };
    await expect(failing()).rejects.toThrow("inside");
  });

  test("says what it is for where nobody walks it, and shows no bar", () => {
    expect(inspect(track(500, "training"))).toBe("A progress bar over 500 steps, not started: write `for await (const step of track(...)) { ... }` to walk it.");
    expect(String(track((function* () { yield 1; })()))).toMatch(/^A progress bar, not started/);
    expect(shown).toEqual([]);
  });

  test.each([[-1, "track: count is -1, it should be a whole number of at least 0"], [{}, "it should be iterable or a count"], [null, "track: items is null"]])(
    "refuses %p", (items, message) => { expect(() => track(items as never)).toThrow(message); });
});

describe("a tensor in a notebook", () => {
  const shows = (t: Tensor): Record<string, string> => (t as unknown as Record<symbol, () => Record<string, string>>)[Symbol.for("Jupyter.display")]!();

  test("says shape, dtype and range, with a cell for each number", () => {
    const html = shows(tensor([[1, -2], [0.5, 3]]))["text/html"]!;
    expect(html).toContain("<b>Tensor</b> [2, 2] float64 · min -2 · mean 0.625 · max 3");
    expect(html.match(/<td/g)).toHaveLength(4);
    expect(html).toContain("<details open>");
    expect(shows(tensor([[1, -2]]))["text/plain"]).toBe(String(tensor([[1, -2]])));
  });

  test("has the points of a column below each other", () => {
    const html = shows(tensor([[1, 3.5], [10.25, 1e-9], [-2, Infinity]]))["text/html"]!;
    const written = [...html.matchAll(/<td[^>]*>([^<]*)</g)].map(([, text]) => text!.replace(/\u2008/g, "'").replace(/\u2007/g, "_"));
    expect(written).toEqual(["1'__", "3.5", "10.25", "1.00e-9", "-2'__", "∞"]);
  });

  test("colours by sign and size, lightly enough for the page's own text", () => {
    const html = shows(tensor([[4, -4, 1]]))["text/html"]!;
    expect(html).toContain("rgba(225,75,45,0.50)");
    expect(html).toContain("rgba(45,120,220,0.50)");
    expect(html).not.toMatch(/[^-]color:(?!inherit)/);
  });

  test("folds when large, and never writes more than its edges", () => {
    const html = shows(randn([300, 400], rng(1)))["text/html"]!;
    expect(html).toContain("<details>");
    expect(html.match(/<td/g)!.length).toBeLessThanOrEqual(17 * 17);
    expect(html.length).toBeLessThan(60_000);
  });

  test("writes slices of higher ranks with their place, some of many", () => {
    const html = shows(randn([3, 4, 2, 2], rng(1)))["text/html"]!;
    expect(html.match(/\[\d, \d, :, :\]/g)).toEqual(["[0, 0, :, :]", "[0, 1, :, :]", "[2, 2, :, :]", "[2, 3, :, :]"]);
    expect(html).toContain("… 8 more");
  });

  test("counts what is not finite; scalars and empty tensors are one line", () => {
    expect(shows(tensor([1, NaN, Infinity]))["text/html"]).toContain("<b>2 not finite</b>");
    expect(shows(tensor(2.5))["text/html"]).toBe("<div><b>Tensor</b> [] float64 · 2.5</div>");
    expect(shows(zeros(0, 3))["text/html"]).toContain("[0, 3] float64 · empty");
    expect(shows(ones(1, 2))["text/html"]).toContain("min 1 · mean 1 · max 1");
  });
});
