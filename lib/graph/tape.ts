import { formatShape, Tensor, tensor } from "../tensor";
import { checkInterrupt } from "../interrupt";
import { checkFinite } from "./anomaly";
import { Graph, type GraphNode } from "./draw";
import { topologicalOrder } from "./order";
import { isRecording, withRecording } from "./recording";

/**
 * A tensor operation: its value, and its rule for sending the adjoint g = dL/dy (shape of y) back to each input.
 * The rule is written in `Variable`s, so a gradient can be differentiated again. `undefined` says: no gradient for
 * this input. What the forward wants to keep it puts into `cache`.
 */
export interface Primitive<O = any> {
  readonly forward: (inputs: readonly Tensor[], options: O, cache: Record<string, any>) => Tensor;
  readonly backward: (g: Variable, inputs: readonly Variable[], y: Variable, options: O, cache: Record<string, any>) =>
    readonly (Variable | undefined)[];
}

export type Operand = Variable | Tensor | number;

/** One line of the Wengert list: a tensor, the operation that made it and its operands. */
export class Variable {
  /** dL/d(this), summed over all `backward()` calls since the last `zeroGrad()`; has the shape of `data`. */
  grad?: Tensor;
  /** @internal The operation's settings and what its forward kept. */
  options: any;
  /** @internal */
  cache: Record<string, any> = {};

  /** @internal Made by a tape. */
  constructor(
    readonly tape: Tape,
    readonly id: number,
    readonly data: Tensor,
    /** The operation's name; "" for an input. */
    readonly op: string,
    readonly parents: readonly Variable[],
    readonly requiresGrad: boolean,
    public label = "",
    /** The layers inside which this was made, outermost first. */
    readonly scope = "",
  ) {}

  get shape(): readonly number[] { return this.data.shape; }

  add(other: Operand): Variable { return this.tape.apply("add", [this, other]); }
  sub(other: Operand): Variable { return this.tape.apply("sub", [this, other]); }
  /** Elementwise, as all arithmetic here, with NumPy's broadcasting. */
  mul(other: Operand): Variable { return this.tape.apply("mul", [this, other]); }
  div(other: Operand): Variable { return this.tape.apply("div", [this, other]); }
  neg(): Variable { return this.tape.apply("neg", [this]); }
  /** Each element to the constant power n. */
  pow(n: number): Variable { return this.tape.apply("pow", [this], { n }); }
  exp(): Variable { return this.tape.apply("exp", [this]); }
  log(): Variable { return this.tape.apply("log", [this]); }
  sqrt(): Variable { return this.tape.apply("sqrt", [this]); }
  sin(): Variable { return this.tape.apply("sin", [this]); }
  cos(): Variable { return this.tape.apply("cos", [this]); }
  tanh(): Variable { return this.tape.apply("tanh", [this]); }
  sigmoid(): Variable { return this.tape.apply("sigmoid", [this]); }
  relu(): Variable { return this.tape.apply("relu", [this]); }
  /** Over the last axis. */
  softmax(): Variable { return this.tape.apply("softmax", [this]); }
  matmul(other: Operand): Variable { return this.tape.apply("matmul", [this, other]); }
  /** The last two axes swapped. */
  get T(): Variable { return this.tape.apply("T", [this]); }
  reshape(...shape: number[]): Variable { return this.tape.apply("reshape", [this], { shape }); }
  broadcastTo(shape: readonly number[]): Variable { return this.tape.apply("broadcastTo", [this], { shape }); }
  /** Rows by number along the first axis: an embedding. A row that is read twice collects both gradients. */
  rows(ids: readonly number[]): Variable {
    const [n, ...rest] = this.shape;
    const width = rest.reduce((a, b) => a * b, 1);
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= n) {
        throw new Error(`rows: id ${id}, expected a whole number from 0 to ${n - 1}`);
      }
    }
    const indices = Int32Array.from({ length: ids.length * width }, (_, i) =>
      ids[Math.floor(i / width)] * width + (i % width));
    return this.tape.apply("gather", [this], { indices, shape: [ids.length, ...rest] });
  }
  /** The sum over all axes, or over those named. */
  sum(axis?: number | readonly number[], keepdims = false): Variable {
    return this.tape.apply("sum", [this], { axis, keepdims });
  }
  /** The mean over all axes, or over those named. */
  mean(axis?: number | readonly number[], keepdims = false): Variable {
    const total = this.sum(axis, keepdims);
    return total.div(this.data.size / total.data.size);
  }

  /** The same numbers with no history: nothing flows back through them. */
  detach(): Variable { return this.tape.constant(this.data, this.label); }

  /** Adds dL/dv to `grad` of every variable v that this depends on. `seed` (shape of this) may be left out for a scalar. */
  backward(seed?: Tensor): void { this.tape.backward(this, seed); }

  toString(): string {
    const operands = this.parents.map((parent) => `v${parent.id}`).join(", ");
    const made = this.op ? `${this.op}(${operands})` : this.requiresGrad ? "variable" : "constant";
    const where = this.scope ? ` in ${this.scope}` : "";
    return `v${this.id} = ${made} ${formatShape(this.shape)}${this.label ? ` "${this.label}"` : ""}${where}`;
  }

  [Symbol.for("Jupyter.display")](): Record<string, string> {
    return { "text/plain": `${this}\n${this.data}${this.grad ? `\ngrad\n${this.grad}` : ""}` };
  }
}

export interface TapeOptions {
  /** Stop at the first NaN or infinity, forward or backward, and name the operation and layer that made it. */
  readonly anomaly?: boolean;
}

/**
 * The Wengert list (Wengert 1964; Math for LLMs, appendix C.2): every operation and its operands, in the order they
 * ran. The backward pass walks what the output depends on in reverse topological order.
 *
 * ```ts
 * const tape = new Tape();
 * const W = tape.variable(randn([2, 3], rng(1)), "W");
 * const loss = tape.constant(x).matmul(W.T).relu().mean();
 * loss.backward();
 * W.grad;         // dL/dW, [2, 3]
 * String(tape);   // the list
 * tape.graph();   // the picture
 * ```
 */
export class Tape {
  readonly variables: Variable[] = [];
  readonly anomaly: boolean;
  #scope: string[] = [];
  /** True while a backward rule runs: what goes wrong in its steps is that backward's anomaly. */
  #pulling = false;

  constructor(options: TapeOptions = {}) {
    this.anomaly = options.anomaly ?? false;
  }

  /** An input that gets a gradient. */
  variable(data: Tensor | number, label = ""): Variable { return this.#input(data, label, true); }

  /** An input that gets none: data, or a frozen parameter. */
  constant(data: Tensor | number, label = ""): Variable { return this.#input(data, label, false); }

  #input(data: Tensor | number, label: string, requiresGrad: boolean): Variable {
    const value = typeof data === "number" ? tensor(data) : data;
    if (!(value instanceof Tensor)) {
      throw new Error(`Tape: input ${label || this.variables.length + 1} is a ${typeof data}, expected a Tensor or a number`);
    }
    const variable = new Variable(this, this.variables.length + 1, value, "", [], requiresGrad, label, this.#scope.join("/"));
    if (this.anomaly && !this.#pulling) checkFinite(value, () => `${variable} came in with`);
    if (isRecording()) this.variables.push(variable);
    return variable;
  }

  /** Everything that `body` records is named after this layer: in the list, in anomalies. Scopes nest. */
  scope<T>(layer: string, body: () => T): T {
    this.#scope.push(layer);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /** Runs one registered operation and records it. */
  apply(name: string, operands: readonly Operand[], options?: unknown): Variable {
    const primitive = Tape.primitives.get(name);
    if (!primitive) {
      throw new Error(`Tape: no operation "${name}", expected one of ${[...Tape.primitives.keys()].join(", ")}`);
    }
    return this.record(name, primitive, operands, options);
  }

  /** @internal `apply` for an operation that need not be registered. */
  record(name: string, primitive: Primitive, operands: readonly Operand[], options?: unknown): Variable {
    checkInterrupt();
    const inputs = operands.map((operand, i) => {
      if (!(operand instanceof Variable)) return this.constant(operand);
      if (operand.tape !== this) throw new Error(`${name}: operand ${i + 1} is from another tape, expected one of this tape's`);
      return operand;
    });
    const cache = {};
    const data = primitive.forward(inputs.map((input) => input.data), options, cache);
    const needsGrad = isRecording() && inputs.some((input) => input.requiresGrad);
    const y = new Variable(this, this.variables.length + 1, data, name, isRecording() ? inputs : [], needsGrad, "",
      this.#scope.join("/"));
    if (this.anomaly && !this.#pulling) checkFinite(data, () => `forward of ${y} made`);
    y.options = options;
    if (needsGrad) {
      y.cache = cache;
      y.cache.primitive = primitive;
    }
    if (isRecording()) this.variables.push(y);
    return y;
  }

  /** Adds dL/dv to `grad` of each variable v that `y` depends on. */
  backward(y: Variable, seed?: Tensor): void {
    withRecording(false, () => {
      for (const [v, adjoint] of this.#adjoints(y, seed)) v.grad = v.grad ? v.grad.add(adjoint.data) : adjoint.data;
    });
  }

  /**
   * dy/dx for each x (0 where y does not depend on it), recorded on this tape: differentiate it again for second
   * derivatives. `seed` has the shape of y and may be left out for a scalar.
   */
  gradients(y: Variable, xs: readonly Variable[], seed?: Tensor): Variable[] {
    const adjoints = this.#adjoints(y, seed);
    return xs.map((x) => adjoints.get(x) ?? this.constant(x.data.mul(0)));
  }

  #adjoints(y: Variable, seed?: Tensor): Map<Variable, Variable> {
    if (!seed && y.data.size !== 1) {
      throw new Error(`backward: y has shape ${formatShape(y.shape)}, expected a scalar or a seed of that shape`);
    }
    if (seed && formatShape(seed.shape) !== formatShape(y.shape)) {
      throw new Error(`backward: the seed has shape ${formatShape(seed.shape)}, y's is ${formatShape(y.shape)}`);
    }
    const adjoints = new Map<Variable, Variable>();
    if (!y.requiresGrad) return adjoints;
    adjoints.set(y, this.constant(seed ?? y.data.map(() => 1)));
    for (const v of topologicalOrder([y], (node) => node.parents.filter((p) => p.requiresGrad)).reverse()) {
      if (v.op === "") continue;
      checkInterrupt();
      const primitive: Primitive = v.cache.primitive;
      const parts = this.#pull(() => primitive.backward(adjoints.get(v)!, v.parents, v, v.options, v.cache));
      if (parts.length !== v.parents.length) {
        throw new Error(`${v.op}: backward gave ${parts.length} adjoints, expected one for each of the ${v.parents.length} inputs`);
      }
      v.parents.forEach((parent, i) => {
        const part = parts[i];
        if (!parent.requiresGrad || !part) return;
        if (formatShape(part.shape) !== formatShape(parent.shape)) {
          throw new Error(`${v.op}: backward gave input ${i + 1} an adjoint of shape ${formatShape(part.shape)}, ` +
            `the input's is ${formatShape(parent.shape)}`);
        }
        if (this.anomaly) checkFinite(part.data, () => `backward of ${v} made, in the adjoint of v${parent.id},`);
        const before = adjoints.get(parent);
        adjoints.set(parent, before ? before.add(part) : part);
      });
    }
    return adjoints;
  }

  #pull<T>(rule: () => T): T {
    const before = this.#pulling;
    this.#pulling = true;
    try {
      return rule();
    } finally {
      this.#pulling = before;
    }
  }

  /** Drops the gradients. */
  zeroGrad(): void {
    for (const v of this.variables) v.grad = undefined;
  }

  /** Drops everything recorded; the memory goes with it. */
  clear(): void {
    this.variables.length = 0;
  }

  /** The picture: shapes in grey, adjoints in red once `backward` has run. Of `y`'s dependencies, or of everything. */
  graph(y?: Variable): Graph {
    const order = y
      ? topologicalOrder<Variable>([y], (v) => v.parents)
      : this.variables;
    const used = new Set(order.flatMap((v) => v.parents));
    return new Graph(order.map((v): GraphNode => ({
      id: v.id,
      title: v.op === "" ? v.label || brief(v.data) : v.label ? `${v.label} = ${v.op}` : v.op,
      value: v.data.size === 1 ? brief(v.data) : formatShape(v.shape),
      adjoint: v.grad && (v.grad.size === 1 ? brief(v.grad) : `${formatShape(v.grad.shape)} norm ${v.grad.norm().toPrecision(3)}`),
      kind: v.op === "" ? (v.requiresGrad ? "input" : "constant") : used.has(v) ? "operation" : "output",
      parents: v.parents.map((parent) => parent.id),
    })));
  }

  /** The list, one operation a line. */
  toString(): string { return this.variables.join("\n"); }

  [Symbol.for("Jupyter.display")](): Record<string, string> {
    return { "text/plain": this.toString() };
  }

  /** The operations known by name. */
  static readonly primitives = new Map<string, Primitive>();

  /** Adds an operation of your own; use it as `tape.apply(name, operands, options)`. */
  static define<O>(name: string, primitive: Primitive<O>): void {
    if (Tape.primitives.has(name)) throw new Error(`Tape.define: "${name}" is taken, expected a new name`);
    Tape.primitives.set(name, primitive);
  }
}

const brief = (t: Tensor): string => (t.size === 1 ? String(Number(t.data[0].toPrecision(4))) : formatShape(t.shape));
