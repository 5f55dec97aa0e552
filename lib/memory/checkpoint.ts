import { checkInterrupt } from "../interrupt";
import type { AnyLayer } from "../layers";
import type { Tensor } from "../tensor";

/** One stage of a chain x -> y. Its cache is whatever its backward needs; `backward` returns dx and gradients by name. */
export interface Stage {
  readonly name: string;
  forward(x: Tensor): { y: Tensor; cache: unknown };
  backward(dy: Tensor, cache: any): { dx: Tensor } & Record<string, Tensor>;
}

/**
 * A layer with its parameters as a stage of a chain: `stageOf("block 0", transformerBlock, { gamma1, ... }, { heads: 2 })`.
 * The layer's input x is the chain's.
 */
export function stageOf(name: string, layer: AnyLayer, parameters: Readonly<Record<string, Tensor>> = {}, options?: object): Stage {
  if (!layer.differentiable.includes("x")) throw new Error(`stageOf: ${layer.name} has no input x with a gradient, expected a layer from x to y`);
  return {
    name,
    forward: (x) => layer.forward({ x, ...parameters }, options),
    backward: (dy, cache) => layer.backward(dy, cache),
  };
}

/**
 * What to do with a chain of L stages, as a program: the schedules differ only in it. Inputs are numbered by stage:
 * input l feeds stage l. `advance` runs stages without keeping their caches.
 */
type Action =
  | { readonly do: "save"; readonly input: number }
  | { readonly do: "advance"; readonly from: number; readonly to: number }
  | { readonly do: "restore"; readonly input: number }
  | { readonly do: "drop"; readonly input: number }
  /** Run stage with its cache kept, for a backward that follows. */
  | { readonly do: "forward"; readonly stage: number }
  | { readonly do: "backward"; readonly stage: number };

export interface CheckpointSchedule {
  readonly name: string;
  readonly actions: (L: number) => Action[];
}

/** Counted while it runs, not estimated. */
export interface CheckpointReport {
  /** Most stage inputs and caches held at once. */
  readonly peakLive: number;
  /** Forward calls of stages, the first run of each included. */
  readonly forwards: number;
  /** Forward calls beyond one for each stage. */
  readonly recomputed: number;
  readonly backwards: number;
}

/** Plain backpropagation: every cache is kept. L caches live, nothing recomputed. */
export const storeAll: CheckpointSchedule = {
  name: "store all",
  actions: (L) => [
    ...range(0, L).map((stage): Action => ({ do: "forward", stage })),
    ...range(0, L).reverse().map((stage): Action => ({ do: "backward", stage })),
  ],
};

/**
 * Keep the inputs of stages 0, k, 2k, ...; run each segment again, from its checkpoint and with caches, when the
 * backward reaches it. About L / k + k live, and every forward but the last segment's run twice.
 * Source: Math for LLMs, section 7.2.
 */
export function checkpointEvery(k: number): CheckpointSchedule {
  if (!(Number.isInteger(k) && k > 0)) throw new Error(`checkpointEvery: k is ${k}, expected a whole number above 0`);
  return {
    name: `every ${k}`,
    actions(L) {
      const starts = range(0, Math.ceil(L / k)).map((s) => s * k);
      const last = starts[starts.length - 1];
      const actions: Action[] = [];
      for (const start of starts) {
        actions.push({ do: "save", input: start });
        // The last segment's backward comes at once, so it keeps its caches in the first run.
        if (start !== last) actions.push({ do: "advance", from: start, to: start + k });
      }
      for (const start of starts.reverse()) {
        const end = Math.min(start + k, L);
        actions.push({ do: "restore", input: start }, { do: "drop", input: start });
        for (const stage of range(start, end)) actions.push({ do: "forward", stage });
        for (const stage of range(start, end).reverse()) actions.push({ do: "backward", stage });
      }
      return actions;
    },
  };
}

/** `checkpointEvery` with k = sqrt(L), which makes L / k + k least: 2 sqrt(L) live (Chen et al. 2016). */
export const checkpointSqrt: CheckpointSchedule = {
  name: "sqrt(L)",
  actions: (L) => checkpointEvery(Math.max(1, Math.round(Math.sqrt(L)))).actions(L),
};

/**
 * Griewank and Walther's Revolve (2000): at most `slots` checkpoints, placed by dynamic programming so that the
 * number of forwards is the least possible. With slots = log2(L) the recomputation grows as L log L only.
 */
export function checkpointRevolve(slots: number): CheckpointSchedule {
  if (!(Number.isInteger(slots) && slots > 0)) throw new Error(`checkpointRevolve: slots is ${slots}, expected a whole number above 0`);
  return {
    name: `revolve, ${slots} slots`,
    actions(L) {
      const table = revolveTable(L, slots);
      const actions: Action[] = [{ do: "save", input: 0 }];
      /** Reverses stages a..b-1; input a is checkpointed and is current; s more slots are free. */
      const reverse = (a: number, b: number, s: number): void => {
        if (b - a === 1) {
          actions.push({ do: "forward", stage: a }, { do: "backward", stage: a });
          return;
        }
        if (s === 0) {
          for (let stage = b - 1; stage >= a; stage--) {
            if (stage < b - 1) actions.push({ do: "restore", input: a });
            if (stage > a) actions.push({ do: "advance", from: a, to: stage });
            actions.push({ do: "forward", stage }, { do: "backward", stage });
          }
          return;
        }
        const m = table[s][b - a].split;
        actions.push({ do: "advance", from: a, to: a + m }, { do: "save", input: a + m });
        reverse(a + m, b, s - 1);
        actions.push({ do: "drop", input: a + m }, { do: "restore", input: a });
        reverse(a, a + m, s);
      };
      reverse(0, L, slots - 1);
      actions.push({ do: "drop", input: 0 });
      return actions;
    },
  };
}

/** The least number of stage forwards that reverses L stages with `slots` checkpoints, the input's own among them. */
export function revolveForwards(L: number, slots: number): number {
  return revolveTable(L, slots)[slots - 1][L].cost;
}

/**
 * cost[s][n]: forwards to reverse n stages whose input is kept, with s slots free.
 *
 *     cost[s][1] = 1;   cost[0][n] = n (n + 1) / 2
 *     cost[s][n] = min over m of  m + cost[s-1][n-m] + cost[s][m]
 */
function revolveTable(L: number, slots: number): { cost: number; split: number }[][] {
  const table: { cost: number; split: number }[][] = [];
  for (let s = 0; s < slots; s++) {
    table.push([{ cost: 0, split: 0 }]);
    for (let n = 1; n <= L; n++) {
      let best = { cost: (n * (n + 1)) / 2, split: 0 };
      if (s > 0) {
        best = { cost: n === 1 ? 1 : Infinity, split: 0 };
        for (let m = 1; m < n; m++) {
          const cost = m + table[s - 1][n - m].cost + table[s][m].cost;
          if (cost < best.cost) best = { cost, split: m };
        }
      }
      table[s].push(best);
    }
  }
  return table;
}

/**
 * Forward and backward through a chain of stages under a schedule. The gradients are those of plain backpropagation,
 * bit for bit: recomputation repeats the same arithmetic. A stage that draws random numbers must draw the same ones
 * again (keep its generator's state in the stage).
 *
 * @param loss gives the loss and dL/dy for the chain's output.
 * @returns gradients by stage name and gradient name ("block 3.dW"), dx, the loss, and what was counted.
 */
export function checkpointedBackward(
  stages: readonly Stage[],
  x: Tensor,
  loss: (y: Tensor) => { loss: number; dy: Tensor },
  schedule: CheckpointSchedule = storeAll,
): { loss: number; dx: Tensor; gradients: Record<string, Tensor>; report: CheckpointReport } {
  const L = stages.length;
  if (L === 0) throw new Error("checkpointedBackward: stages is empty, expected at least one stage");
  const saved = new Map<number, Tensor>();
  const caches = new Map<number, unknown>();
  const gradients: Record<string, Tensor> = {};
  let current = x, at = 0, dy: Tensor | undefined, value = 0;
  let forwards = 0, backwards = 0, peakLive = 0;
  const run = (stage: number): unknown => {
    checkInterrupt();
    const { y, cache } = stages[stage].forward(current);
    forwards++;
    current = y;
    at = stage + 1;
    return cache;
  };
  for (const action of schedule.actions(L)) {
    switch (action.do) {
      case "save":
        saved.set(action.input, current);
        break;
      case "restore":
        current = saved.get(action.input)!;
        at = action.input;
        break;
      case "drop":
        saved.delete(action.input);
        break;
      case "advance":
        for (let stage = action.from; stage < action.to; stage++) run(stage);
        break;
      case "forward":
        caches.set(action.stage, run(action.stage));
        if (at === L && !dy) {
          const end = loss(current);
          value = end.loss;
          dy = end.dy;
        }
        break;
      case "backward": {
        checkInterrupt();
        const { dx, ...own } = stages[action.stage].backward(dy!, caches.get(action.stage));
        caches.delete(action.stage);
        backwards++;
        for (const [name, g] of Object.entries(own)) gradients[`${stages[action.stage].name}.${name}`] = g;
        dy = dx;
      }
    }
    peakLive = Math.max(peakLive, saved.size + caches.size);
  }
  return { loss: value, dx: dy!, gradients, report: { peakLive, forwards, recomputed: forwards - L, backwards } };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
