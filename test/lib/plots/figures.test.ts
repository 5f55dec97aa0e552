/** Figures: what plotly gets, what the static picture shows, what the text says; bad input in one sentence. */
import { bars, beside, Figure, gradientNorms, heatmap, histogram, lines, lossCurve, ones, scatter, table, tensor } from "../../../lib";
import { colorAt, DIVERGING, inkOn, INK, PALETTE } from "../../../lib/plots/color";
import { bin } from "../../../lib/plots/svg";
import { linearTicks, logTicks, short } from "../../../lib/plots/ticks";
import type { MimeBundle, ScatterTrace } from "../../../lib/plots";

const bundle = (value: object): MimeBundle => (value as Record<symbol, () => MimeBundle>)[Symbol.for("Jupyter.display")]!();

/** The y pixel of each marker in the picture, in drawing order. */
const circles = (svg: string): { x: number; y: number }[] =>
  [...svg.matchAll(/<circle cx="([\d.-]+)" cy="([\d.-]+)"/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));

/** Where each cell of a heat map begins, in the order of its colours' first use. */
const cells = (svg: string): { x: number; y: number; fill: string }[] =>
  [...svg.matchAll(/<path d="([^"]*)" fill="(#\w+)" shape-rendering="crispEdges"\/>/g)].flatMap(([, path, fill]) =>
    [...path!.matchAll(/M([\d.]+) ([\d.]+)h/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y), fill: fill! })));

const samples: [string, Figure][] = [
  ["lines", lines([1, 2, 3], { a: [1, 4, 9], b: [2, 3, 4] }, { title: "A & B <x>", x: "x (m)", y: "y" })],
  ["scatter", scatter({ x: [1, 2], y: [3, 4] })],
  ["bars", bars(["one", "two"], { a: [1, 2], b: [3, 4] }, { text: true })],
  ["stacked bars", bars(["one", "two"], { a: [1, 2], b: [3, 4] }, { stacked: true })],
  ["histogram", histogram({ a: [1, 2, 2, 3], b: [2, 3] }, { density: true })],
  ["heat map", heatmap([[1, -2], [3, 4]], { rows: ["a", "b"], columns: ["c", "d"] })],
  ["gradient norms", gradientNorms({ sigmoid: [1e-12, 1e-6, 1], ReLU: [0.5, 0.7, 1] })],
  ["beside", beside([heatmap([[1, 2]], { title: "left" }), lossCurve([3, 2, 1], { title: "right" })], { title: "both" })],
  ["empty", lines([], { a: [] })],
  ["a constant", lines(undefined, [2, 2, 2])],
];

test.each(samples)("%s: one bundle for every front end, and JSON that survives a round trip", (_, figure) => {
  const shown = bundle(figure);
  expect(Object.keys(shown)).toEqual(["application/vnd.plotly.v1+json", "text/html", "image/svg+xml", "text/plain"]);
  expect(JSON.parse(JSON.stringify(shown["application/vnd.plotly.v1+json"]))).toEqual(shown["application/vnd.plotly.v1+json"]);
  const svg = shown["image/svg+xml"] as string;
  expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" [^>]*role="img" aria-label="/);
  expect(svg).not.toMatch(/NaN|undefined|Infinity|<script|href=/);
  // Every tag that is opened is closed: the picture is XML.
  const open: string[] = [];
  for (const [, slash, name, self] of svg.matchAll(/<(\/?)([a-zA-Z]+)[^>]*?(\/?)>/g)) {
    if (slash) expect(open.pop()).toBe(name);
    else if (!self) open.push(name!);
  }
  expect(open).toEqual([]);
  const html = shown["text/html"] as string;
  expect(html).toMatch(/^<img alt="[^"]*" style="max-width:100%" src="data:image\/svg\+xml;charset=utf-8,[^"]*">$/);
  expect(decodeURIComponent(html.match(/utf-8,([^"]*)"/)![1]!)).toBe(svg);
  expect(html).not.toContain("http-equiv");
});

test("text in a figure is escaped, never markup", () => {
  const evil = lines(undefined, { "<img onerror=x>": [1, 2], plain: [2, 1] }, { title: "\"><script>alert(1)</script>", x: "a<b" });
  const { "text/html": html, "image/svg+xml": svg } = bundle(evil) as Record<string, string>;
  expect(svg).not.toMatch(/<script|<img/);
  expect(html.match(/</g)).toHaveLength(1);
});

test("points stand where their values say, on a linear and on a log axis", () => {
  const linear = circles(scatter({ x: [0, 1, 2], y: [0, 5, 10] }).toSvg());
  expect(linear).toHaveLength(3);
  expect(linear[1]!.x - linear[0]!.x).toBeCloseTo(linear[2]!.x - linear[1]!.x, 0);
  expect(linear[0]!.y - linear[1]!.y).toBeCloseTo(linear[1]!.y - linear[2]!.y, 0);
  expect(linear[0]!.y).toBeGreaterThan(linear[2]!.y);
  const log = circles(scatter({ x: [0, 1, 2], y: [1, 10, 100] }, { logY: true }).toSvg());
  expect(log[0]!.y - log[1]!.y).toBeCloseTo(log[1]!.y - log[2]!.y, 0);
});

test("what a log axis or JSON cannot hold becomes a gap, not a wrong point", () => {
  const figure = scatter({ x: [1, 2, 3, 4], y: [1, 0, -1, 10] }, { logY: true });
  expect(circles(figure.toSvg())).toHaveLength(2);
  const broken = lines(undefined, [1, NaN, Infinity, 2]);
  expect((broken.data[0] as ScatterTrace).y).toEqual([1, null, null, 2]);
  expect(broken.toSvg().match(/M[\d. ]+/g)!.length).toBeGreaterThan(1);
});

test("tensors are taken as they are, row 0 of a heat map on top", () => {
  const figure = heatmap(tensor([[1, 2, 3], [4, 5, 6]]));
  expect(figure.data[0]).toMatchObject({ z: [[1, 2, 3], [4, 5, 6]] });
  expect(figure.layout.yaxis!.autorange).toBe("reversed");
  const rows = cells(figure.toSvg());
  expect(rows).toHaveLength(6);
  expect(rows[0]!.y).toBeLessThan(rows[3]!.y);
  expect(lines(ones(3), { a: ones(3) }).data[0]).toMatchObject({ x: [1, 1, 1], y: [1, 1, 1] });
});

test("signed values get a scale centred on zero, values of one sign their own range", () => {
  expect(heatmap([[-1, 3]]).data[0]).toMatchObject({ zmin: -3, zmax: 3 });
  expect(heatmap([[1, 3]]).data[0]).toMatchObject({ zmin: 1, zmax: 3 });
  expect(heatmap([[-1, 3]], { zmin: -5 }).data[0]).toMatchObject({ zmin: -5, zmax: 5 });
});

test("equal names keep their columns apart", () => {
  const figure = heatmap([[1, 2, 3]], { columns: ["the", "cat", "the"] });
  expect(figure.layout.xaxis).toMatchObject({ tickvals: [0, 1, 2], ticktext: ["the", "cat", "the"] });
  expect(figure.toSvg().match(/>the</g)).toHaveLength(2);
});

test("stacked bars stand on each other", () => {
  const tops = [...bars(["a"], { one: [1], two: [3] }, { stacked: true }).toSvg().matchAll(/<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/g)]
    .map(([, y, height]) => ({ y: Number(y), height: Number(height) }));
  expect(tops[1]!.y + tops[1]!.height).toBeCloseTo(tops[0]!.y, 0);
  expect(tops[1]!.height / tops[0]!.height).toBeCloseTo(3, 1);
});

test("a histogram counts each value once, the last edge included", () => {
  const counted = bin({ type: "histogram", x: [0, 0.5, 1, 1, 2], xbins: { start: 0, end: 2, size: 1 } });
  expect(counted.map(({ height }) => height)).toEqual([2, 3]);
  const density = bin({ type: "histogram", x: [0, 0.5, 1, 1, 2], histnorm: "probability density", xbins: { start: 0, end: 2, size: 1 } });
  expect(density.reduce((sum, { height }) => sum + height, 0)).toBeCloseTo(1);
});

test("histograms over each other are outlines, with no sample in the notebook", () => {
  const figure = histogram({ a: [0, 0.5, 1, 1, 2], b: [2, 2] }, { bins: 2 });
  const [a] = figure.toJSON().data as ScatterTrace[];
  expect(a).toMatchObject({ type: "scatter", name: "a", fill: "tozeroy", line: { shape: "hv", color: PALETTE[0] }, x: [0, 0, 1, 2, 2], y: [0, 2, 3, 3, 0] });
  expect(figure.toSvg().match(/fill-opacity="0.3" stroke/g)).toHaveLength(2);
});

test("a notebook gets seven digits of a number, and whole numbers whole", () => {
  const { data } = lines([1234567890, 0.5], { a: [1 / 3, 1e-17 / 3] }).toJSON();
  expect(data[0]).toMatchObject({ x: [1234567890, 0.5], y: [0.3333333, 3.333333e-18] });
});

test("a name has one colour in all panels, and one place in the legend; what has no name is not in it", () => {
  const named = (figure: Figure, name: string): ScatterTrace[] => (figure.data as ScatterTrace[]).filter((trace) => trace.name === name);
  const figure = beside([lines(undefined, { all: [1, 2], sqrt: [1, 1] }), lines(undefined, { sqrt: [3, 3], third: [2, 2] }), lossCurve([1, 2])]);
  const [left, right] = named(figure, "sqrt");
  expect([left!.line!.color, left!.showlegend]).toEqual([PALETTE[1], undefined]);
  expect([right!.line!.color, right!.marker!.color, right!.showlegend]).toEqual([PALETTE[1], PALETTE[1], false]);
  expect(named(figure, "third")[0]!.line!.color).toBe(PALETTE[2]);
  expect(figure.data.at(-1)).toMatchObject({ showlegend: false });
  const many = beside([0, 1].map(() => lines(undefined, Object.fromEntries(PALETTE.slice(0, 6).map((_, i) => [`${i}`, [i, i]])))));
  expect((many.data as ScatterTrace[]).filter(({ line }) => line!.dash)).toEqual([]);
  const chosen = beside([lossCurve({ a: [1] }), new Figure([{ type: "scatter", name: "b", x: [1], y: [1], line: { color: "#123456" } }])]);
  expect(named(chosen, "b")[0]!.line!.color).toBe("#123456");
});

test("long titles of figures beside each other go over several lines, inside the picture", () => {
  const long = "layer (1 is next to the input)";
  const figure = beside([1, 2, 3].map((i) => lines(undefined, [1, 2], { title: `A title that is far too long for panel ${i}`, x: long })));
  expect(figure.layout.xaxis!.title!.text).toBe("layer (1 is next to the<br>input)");
  expect(figure.layout.annotations![0]!.text).toBe("A title that is far too<br>long for panel 1");
  expect(beside([lines(undefined, [1], { x: "<b>one word after another is bold</b>" })]).layout.xaxis!.title!.text).toBe("<b>one word after another is bold</b>");
  const placed = [...figure.toSvg().matchAll(/<text x="[\d.]+" y="([\d.]+)" font-size="1[23]"[^>]*>(<tspan x="[\d.]+" dy="0">[^<]*<\/tspan><tspan x="[\d.]+" dy="([\d.]+)">)/g)];
  expect(placed).toHaveLength(6);
  for (const [, y, , dy] of placed) {
    expect(Number(y)).toBeGreaterThan(12);
    expect(Number(y) + Number(dy)).toBeLessThan(figure.layout.height! - 3);
  }
});

test("past the last colour, lines are dashed", () => {
  const many = lines(undefined, Object.fromEntries(Array.from({ length: PALETTE.length + 1 }, (_, i) => [`${i}`, [i, i]])));
  expect((many.data as ScatterTrace[]).map(({ line }) => line!.dash ?? "solid")).toEqual([...PALETTE.map(() => "solid"), "dash"]);
});

test("bars at uneven numbers stand side by side, at even ones where they belong", () => {
  expect(bars([1, 2, 8], [1, 2, 3]).layout.xaxis!.type).toBe("category");
  expect(bars([1, 2, 3], [1, 2, 3]).layout.xaxis!.type).toBeUndefined();
  const heights = [...bars([1, 2, 8], [1, 2, 3]).toSvg().matchAll(/<rect x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"/g)].map(([, height]) => Number(height));
  expect(heights).toHaveLength(3);
  expect(heights[2]! / heights[0]!).toBeCloseTo(3, 1);
});

test("a heat map over numbers has them on its axes, with points in front of it", () => {
  const map = heatmap([[0, 1], [1, 0]], { columns: [-1, 1], rows: [10, 20] });
  expect(map.layout.yaxis!.autorange).toBeUndefined();
  const figure = new Figure([...map.data, { type: "scatter", mode: "markers", x: [-1], y: [10], marker: { symbol: "circle" } }], map.layout);
  const svg = figure.toSvg();
  const [point] = circles(svg);
  const low = cells(svg).filter(({ x }) => Math.abs(x - point!.x) < 200).sort((a, b) => b.y - a.y)[0]!;
  expect(point!.y).toBeGreaterThan(low.y);
  expect(svg.indexOf("<circle")).toBeGreaterThan(svg.indexOf("crispEdges"));
});

test("nothing is written outside the picture: long names in the legend are wrapped, tilted labels have room", () => {
  const named = lines(undefined, { "a name that goes on and on, far longer than the room there is": [1, 2], b: [2, 1] }).toSvg();
  const starts = [...named.matchAll(/<tspan x="([\d.]+)"[^>]*>([^<]*)/g)].map(([, x, line]) => Number(x) + 6.6 * line!.length);
  expect(starts.length).toBeGreaterThan(1);
  expect(Math.max(...starts)).toBeLessThanOrEqual(700);
  const tilted = bars(["a label of some forty characters, or more", "b", "c", "d", "e", "f"], [1, 2, 3, 4, 5, 6]).toSvg();
  const [, x] = tilted.match(/<text x="([\d.]+)"[^>]*>a label/)!;
  expect(Number(x) - 41 * 5).toBeGreaterThanOrEqual(0);
});

test("points keep the colour of their markers", () => {
  expect(scatter({ x: [1], y: [1] }).toSvg()).toContain(PALETTE[0]);
  expect(new Figure([{ type: "scatter", mode: "markers", x: [1], y: [1], marker: { color: "#123456" } }]).toSvg()).toContain("#123456");
});

test("a heat map of many cells stays a small picture, and has no lines between them", () => {
  const large = heatmap(Array.from({ length: 60 }, (_, i) => Array.from({ length: 60 }, (_, j) => Math.sin(i * j))), { text: false });
  const covered = [...large.toSvg().matchAll(/h([\d.]+)v([\d.]+)h-/g)].reduce((sum, [, w, h]) => sum + Number(w) * Number(h), 0);
  const [, w, h] = heatmap([[1]], { height: 520, text: false }).toSvg().match(/h([\d.]+)v([\d.]+)h-/)!.map(Number);
  expect(covered / (w! * h!)).toBeCloseTo(1, 1);
  expect(large.toSvg().length).toBeLessThan(110_000);
  const halves = heatmap(Array.from({ length: 60 }, () => Array.from({ length: 60 }, (_, j) => (j < 30 ? 0 : 1))), { text: false });
  expect(cells(halves.toSvg())).toHaveLength(120);
  expect(large.data[0]).toMatchObject({ xgap: 0, ygap: 0 });
});

test("heat maps beside each other have scales where no numbers stand in their cells", () => {
  const figure = beside([heatmap([[1, 2]], { text: false }), heatmap([[1, 2]])]);
  expect(figure.data).toMatchObject([{ colorbar: { thickness: 8 } }, { showscale: false }]);
});

test("a long curve is thinned in the picture and keeps its spike", () => {
  const y = Array.from({ length: 50_000 }, (_, i) => (i === 30_001 ? 100 : Math.sin(i / 500)));
  const svg = lines(undefined, y).toSvg();
  expect(svg.length).toBeLessThan(40_000);
  const path = svg.match(/<path d="([^"]*)" fill="none" stroke="#2f7fd1"/)![1]!;
  const spike = [...path.matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, v]) => Number(v));
  const sorted = [...spike].sort((a, b) => a - b);
  expect(sorted[1]! - sorted[0]!).toBeGreaterThan(200);
});

test("the text twin names title, axes, curves and their ends", () => {
  const text = String(gradientNorms({ sigmoid: [1e-12, 1], ReLU: [0.5, 1] }, { title: "Norms" }));
  expect(text).toContain("Norms · gradient norm");
  expect(text).toContain("(log)");
  expect(text).toMatch(/sigmoid +▁█ +first 1e-12, last 1/);
});

test("ticks are round, few and inside", () => {
  expect(linearTicks(0, 10).map(({ label }) => label)).toEqual(["0", "2", "4", "6", "8", "10"]);
  expect(linearTicks(-0.3, 0.3, 4).map(({ label }) => label)).toEqual(["-0.2", "0", "0.2"]);
  expect(logTicks(-6, 0).map(({ label }) => label)).toContain("10⁻³");
  expect(logTicks(0.1, 0.9).map(({ label }) => label)).toEqual(["2", "5"]);
  expect(["0", 1234567, 0.000123, 65536, 1 / 3, NaN, -Infinity].map((v) => short(Number(v)))).toEqual(["0", "1.23e6", "1.23e-4", "65536", "0.3333", "NaN", "-∞"]);
});

/** Contrast of WCAG 2 between two colours. */
function contrast(a: string, b: string): number {
  const luminance = (hex: string): number => {
    const [r, g, blue] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * blue!;
  };
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high! + 0.05) / (low! + 0.05);
}

test.each([...PALETTE, INK])("%s reads on a light and on a dark page", (color) => {
  expect(contrast(color, "#ffffff")).toBeGreaterThan(3);
  expect(contrast(color, "#111111")).toBeGreaterThan(3);
});

test("numbers in a heat map's cells read on every colour of the scale", () => {
  for (let t = 0; t <= 1; t += 0.05) {
    const ground = colorAt(DIVERGING, t);
    expect(contrast(ground, inkOn(ground))).toBeGreaterThan(4.5);
  }
});

test("tables: columns in order of first use, numbers right, text escaped, blanks blank", () => {
  const rows = table([{ layer: "a<b", error: 1.23456e-9 }, { layer: "c", error: 0.5, note: true }], "Checks");
  expect(String(rows)).toBe("Checks\nlayer    error  note\n─────  ───────  ────\na<b    1.23e-9\nc          0.5  yes");
  const html = bundle(rows)["text/html"] as string;
  expect(html).toContain("<td style=\"text-align:left\">a&lt;b</td><td style=\"text-align:right\">1.23e-9</td>");
  expect(html).toContain("<caption");
});

test.each([
  [() => lines([1, 2], { a: [1] }), "lines: a has 1 values, x has 2"],
  [() => scatter({ x: [1], y: [1, 2] }), "scatter: x has 1 values, y has 2"],
  [() => bars(["a"], [1, 2]), "bars: values has 2 values, labels has 1"],
  [() => heatmap([[1, 2], [3]]), "heatmap: the rows have lengths 2 and 1, they should be equal"],
  [() => heatmap(ones(2, 2, 2)), "heatmap: the tensor has shape [2, 2, 2], it should have one or two dimensions"],
  [() => heatmap([[1]], { rows: ["a", "b"] }), "heatmap: rows has 2 names, the matrix has 1 rows"],
  [() => lossCurve("x" as never), "lines: values is \"x\", it should be an array, a tensor or a record of them"],
  [() => beside([]), "beside: figures is empty, it should hold at least one figure"],
  [() => table("x" as never), "table: rows should be an array of records, one a row"],
])("bad input %#", (make, message) => {
  expect(make).toThrow(message);
});
