import { bundleOf, type MimeBundle } from "../plots";

/** What is used of dagre; its own declarations are written for ES modules and do not resolve from CommonJS. */
interface Dagre {
  Graph: new (options: { multigraph: boolean }) => DagreGraph;
  layout(graph: DagreGraph): void;
}
interface DagreGraph {
  setGraph(label: Record<string, string | number>): void;
  setNode(id: string, size: { width: number; height: number }): void;
  setEdge(from: string, to: string, label: object, name: string): void;
  graph(): { width?: number; height?: number };
  node(id: string): { x: number; y: number; width: number; height: number };
  edges(): { v: string; w: string; name?: string }[];
  edge(edge: { v: string; w: string }): { points: { x: number; y: number }[] };
}

/** One box of a drawn graph. */
export interface GraphNode {
  readonly id: number;
  /** The operation, or an input's name. */
  readonly title: string;
  /** The forward value, or its shape. */
  readonly value: string;
  /** dL/d(this node), once a backward pass has run. */
  readonly adjoint?: string;
  readonly kind: "input" | "constant" | "operation" | "output";
  readonly parents: readonly number[];
}

const fill = { input: "#dbeafe", constant: "#f1f5f9", operation: "#ffffff", output: "#dcfce7" } as const;
const line = { input: "#2563eb", constant: "#94a3b8", operation: "#475569", output: "#16a34a" } as const;

const charWidth = 6.7;
const rowHeight = 15;

/** A computation graph as data and as a picture: in a notebook it draws itself. */
export class Graph {
  #svg?: string;

  constructor(readonly nodes: readonly GraphNode[], readonly title = "computation graph") {}

  get edges(): { from: number; to: number }[] {
    return this.nodes.flatMap((node) => node.parents.map((from) => ({ from, to: node.id })));
  }

  /** The picture: inputs on the left, the output on the right, adjoints in red. */
  get svg(): string {
    return (this.#svg ??= draw(this.nodes, this.title));
  }

  toString(): string {
    return this.nodes.map((node) => {
      const operands = node.parents.map((parent) => `v${parent}`).join(", ");
      const call = node.kind === "operation" || node.kind === "output" ? `${node.title}(${operands})` : node.title;
      return `v${node.id} = ${call}   ${node.value}${node.adjoint === undefined ? "" : `   adjoint ${node.adjoint}`}`;
    }).join("\n");
  }

  [Symbol.for("Jupyter.display")](): MimeBundle {
    return bundleOf(this.svg, this.toString(), this.title);
  }
}

function draw(nodes: readonly GraphNode[], title: string): string {
  // dagre is an ES module with a CommonJS build; `require` is what reaches that build from here and from a bundler.
  const dagre = require("@dagrejs/dagre") as Dagre;
  const graph = new dagre.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 42, marginx: 8, marginy: 8 });
  for (const node of nodes) {
    const rows = rowsOf(node);
    graph.setNode(String(node.id), {
      width: Math.max(46, Math.max(...rows.map((row) => row.text.length)) * charWidth + 16),
      height: rows.length * rowHeight + 10,
    });
  }
  nodes.forEach((node) => node.parents.forEach((parent, i) => {
    graph.setEdge(String(parent), String(node.id), {}, String(i));
  }));
  dagre.layout(graph);

  const { width = 0, height = 0 } = graph.graph();
  // An edge round the outside may leave the frame that dagre gives.
  const ys = graph.edges().flatMap((edge) => graph.edge(edge).points.map(({ y }) => y));
  const top = Math.floor(Math.min(0, ...ys.map((y) => y - 8))), bottom = Math.ceil(Math.max(height, ...ys.map((y) => y + 8)));
  const w = Math.ceil(width), h = bottom - top;
  const uses = new Map<number, number>();
  for (const node of nodes) for (const parent of node.parents) uses.set(parent, (uses.get(parent) ?? 0) + 1);

  const edges = graph.edges().map((edge) => {
    const { points } = graph.edge(edge);
    // Where a value is used more than once its adjoint is a sum: those edges are drawn thicker.
    const fanOut = uses.get(Number(edge.v))! > 1;
    return `<path d="${smooth(points)}" fill="none" stroke="${fanOut ? "#ea580c" : "#64748b"}" ` +
      `stroke-width="${fanOut ? 1.8 : 1.2}" marker-end="url(#gb-arrow)"/>`;
  });
  const boxes = nodes.map((node) => {
    const at = graph.node(String(node.id));
    const upper = at.y - at.height / 2;
    const text = rowsOf(node).map((row, i) =>
      `<text x="${num(at.x)}" y="${num(upper + 5 + (i + 0.76) * rowHeight)}" text-anchor="middle" ` +
      `font-weight="${i === 0 ? "bold" : "normal"}" fill="${row.color}">${escape(row.text)}</text>`);
    return `<rect x="${num(at.x - at.width / 2)}" y="${num(upper)}" width="${num(at.width)}" height="${num(at.height)}" ` +
      `rx="6" fill="${fill[node.kind]}" stroke="${line[node.kind]}"/>${text.join("")}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 ${top} ${w} ${h}" role="img" ` +
    `aria-label="${escape(title)}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">` +
    `<title>${escape(title)}</title><defs><marker id="gb-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" ` +
    `markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>` +
    `<rect y="${top}" width="${w}" height="${h}" fill="#ffffff"/>${edges.join("")}${boxes.join("")}</svg>`;
}

function rowsOf(node: GraphNode): { text: string; color: string }[] {
  const rows = [{ text: node.title, color: "#0f172a" }];
  if (node.value !== "" && node.value !== node.title) rows.push({ text: node.value, color: "#334155" });
  if (node.adjoint !== undefined) rows.push({ text: node.adjoint, color: "#dc2626" });
  return rows;
}

function smooth(points: readonly { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  let path = `M${num(first.x)} ${num(first.y)}`;
  for (let i = 0; i + 1 < rest.length; i++) {
    const mid = { x: (rest[i].x + rest[i + 1].x) / 2, y: (rest[i].y + rest[i + 1].y) / 2 };
    const end = i + 2 === rest.length ? rest[i + 1] : mid;
    path += ` Q${num(rest[i].x)} ${num(rest[i].y)} ${num(end.x)} ${num(end.y)}`;
  }
  if (rest.length === 1) path += ` L${num(rest[0].x)} ${num(rest[0].y)}`;
  return path;
}

const num = (x: number): string => String(Math.round(x * 10) / 10);

const escape = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
