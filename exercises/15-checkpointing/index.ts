/** Exercise 15: gradient checkpointing on a net whose live activations and forward runs are counted. */
import { randn, rng, stack, tensor, zeros, type Rng, type Tensor } from "gradbook";
import { defineExercise, part } from "../autograder/spec";
import type { Activation, Net } from "./starter";

type Inputs = { x: Tensor; W: Tensor; b: Tensor; dy: Tensor; k: number; drop: number; seed: number };

/** L layers of width n on B rows; k divides L in the second instance only. */
function draw(random: Rng, instance: number, drop: number) {
  const [L, k] = [[10, 3], [12, 4], [11, 4], [13, 5]][instance % 4];
  const n = 3 + (instance % 2);
  return {
    x: randn([2, n], random), W: randn([L, n, n], random), b: randn([L, n], random), dy: randn([2, n], random), k, drop,
    seed: random.integer(0, 1_000_000),
  };
}

/**
 * Runs `student(net, x, dy, k)` on a net that counts. It stands in the source that is sent beside the student's code, so
 * everything it needs is inside it.
 */
const call = (student: any, { x, W, b, dy, k, drop, seed }: Inputs) => {
  const L = W.shape[0];
  const live = new Map<number, Tensor>();
  const masks: Tensor[] = [];
  const dW = Array.from({ length: L }, () => zeros(W.shape.slice(1)));
  const db = Array.from({ length: L }, () => zeros(b.shape.slice(1)));
  let random = rng(seed);
  let ids = 0;
  let forwards = 0;
  let most = 0;
  const keep = (value: Tensor) => {
    live.set(ids, value);
    most = Math.max(most, live.size);
    return Object.freeze({ id: ids++ });
  };
  const valueOf = (a: { id: number }, who: string) => {
    const value = live.get(a?.id);
    if (value === undefined) throw new Error(`${who}: the activation was freed, or is no handle`);
    return value;
  };
  const layer = (l: number, who: string) => {
    if (!Number.isInteger(l) || l < 1 || l > L) throw new Error(`${who}: layer ${l} does not exist, they go from 1 to ${L}`);
    return l - 1;
  };
  const net = {
    depth: L,
    forward(l: number, a: { id: number }) {
      const at = layer(l, "net.forward");
      const value = valueOf(a, "net.forward");
      forwards++;
      masks[at] = zeros(value.shape).map(() => (drop > 0 && random.uniform() < drop ? 0 : 1 / (1 - drop)));
      return keep(value.mul(masks[at]).tanh().matmul(W.at(at).T).add(b.at(at)));
    },
    backward(l: number, da: Tensor, a: { id: number }) {
      const at = layer(l, "net.backward");
      const active = valueOf(a, "net.backward").mul(masks[at]).tanh();
      dW[at] = dW[at].add(da.T.matmul(active));
      db[at] = db[at].add(da.sum(0));
      return da.matmul(W.at(at)).mul(active.square().neg().add(1)).mul(masks[at]);
    },
    free(a: { id: number }) {
      valueOf(a, "net.free");
      live.delete(a.id);
    },
    state: () => random.state(),
    restore(state: any) {
      random = rng.from(state);
    },
  };
  const dx = student(net, keep(x), dy, k);
  return { dx, dW: stack(dW), db: stack(db), forwards, live: most };
};

type Variant =
  | "keeps-all" | "no-replay" | "replay-each" | "forward-not-freed" | "replay-not-freed" | "short-tail" | "no-restore" | "one-state" | "state-late";

/** The reference and its wrong variants, written against the same Net as the student's. */
function checkpointedWith(made: (mistake: Variant) => boolean) {
  return (net: Net, x: Activation, dy: Tensor, k: number): Tensor => {
    const L = net.depth;
    const kept: { start: number; a: Activation; state: unknown }[] = [];
    const all = [x];
    for (let l = 1; l <= L; l++) {
      const checkpoint = (l - 1) % k === 0;
      const state = net.state();
      all.push(net.forward(l, all[l - 1]));
      if (checkpoint) kept.push({ start: l - 1, a: all[l - 1], state: made("state-late") ? net.state() : state });
      if (!checkpoint && !made("forward-not-freed") && !made("keeps-all")) net.free(all[l - 1]);
    }
    let da = dy;
    if (made("keeps-all")) {
      for (let l = L; l >= 1; l--) da = net.backward(l, da, all[l - 1]);
      return da;
    }
    if (!made("forward-not-freed")) net.free(all[L]);
    for (const { start, a, state } of kept.reverse()) {
      const end = Math.min(start + k, L);
      if (made("short-tail") && end - start < k) continue;
      if (!made("no-restore")) net.restore(made("one-state") ? kept[kept.length - 1].state : state);
      const inputs = [a];
      for (let l = start + 1; l < end && !made("no-replay"); l++) inputs.push(net.forward(l, inputs[inputs.length - 1]));
      for (let l = end; l > start; l--) {
        if (made("replay-each") && l - 1 > start && l < end) {
          let again = a;
          for (let m = start + 1; m < l; m++) {
            const next = net.forward(m, again);
            if (again !== a) net.free(again);
            again = next;
          }
          net.free(again);
        }
        da = net.backward(l, da, made("no-replay") ? a : inputs[l - 1 - start]);
      }
      if (!made("replay-not-freed")) for (const done of inputs) net.free(done);
    }
    return da;
  };
}

const budget = (L: number, k: number) => ({ forwards: 2 * L, live: Math.ceil(L / k) + k + 1 });

/** x through all layers, with the masks that the seed gives; plain loops, for finite differences call it some hundred times. */
function forward({ x, W, b, drop, seed }: Inputs): Tensor {
  const random = rng(seed);
  const [B, n] = x.shape;
  let a = x.data;
  for (let l = 0; l < W.shape[0]; l++) {
    const active = Float64Array.from(a, (value) => Math.tanh(drop > 0 && random.uniform() < drop ? 0 : value / (1 - drop)));
    const next = new Float64Array(B * n);
    for (let r = 0; r < B; r++) {
      for (let i = 0; i < n; i++) {
        let sum = b.data[l * n + i];
        for (let j = 0; j < n; j++) sum += W.data[(l * n + i) * n + j] * active[r * n + j];
        next[r * n + i] = sum;
      }
    }
    a = next;
  }
  return tensor(a, [B, n]);
}

export default defineExercise({
  id: "checkpointing",
  number: 15,
  title: "Checkpointing: recompute instead of remember",
  source: "math-for-llms, section 7.2 and exercise 5; handbook, section 4",
  minutes: 30,
  goal: "You can trade memory for compute in a backward pass, replay dropout correctly, and choose the interval.",
  withholds: ["checkpointedBackward", "checkpointEvery", "checkpointSqrt", "checkpointRevolve", "revolveForwards", "storeAll"],
  hints: [
    "plain: an array `inputs` with inputs[l - 1] the input of layer l. Fill it going up, read it going down.",
    "checkpointed, forward: layer l reads a_{l-1}. If l - 1 is a multiple of k keep that handle, else free it once a_l exists. a_L itself is needed by nobody.",
    "checkpointed, backward: go over the checkpoints from the last to the first. From a_start run layers start + 1 to end - 1 again (end = min(start + k, L)); their outputs are the inputs of layers start + 2 to end. Then backward from end down to start + 1, then free them.",
    "Dropout: push net.state() with the checkpoint before the segment's first forward, and net.restore it before the replay.",
    "bestInterval: a loop over k from 1 to L that keeps the smallest product; compare with <, so that the first of equals stays.",
  ],
  parts: [
    part({
      name: "plain",
      points: 2,
      entry: "plain",
      draw: (random, instance) => draw(random, instance, 0),
      call,
      attempt: (args, made) => {
        const L = args.W.shape[0];
        const run = (net: Net, x: Activation, dy: Tensor): Tensor => {
          const inputs = [x];
          for (let l = 1; l <= L; l++) inputs.push(net.forward(l, inputs[l - 1]));
          let da = dy;
          for (let l = L; l >= 1; l--) {
            const input = inputs[made("outputs") ? l : l - 1];
            const before = net.backward(l, made("upstream") ? dy : da, input);
            da = before;
          }
          if (made("again")) for (let l = 1; l <= L; l++) net.forward(l, inputs[l - 1]);
          return made("returns-dy") ? dy : da;
        };
        const out = call(run, args);
        return made("again") ? out : { ...out, forwards: L, live: L + 1 };
      },
      mistakes: [
        { id: "outputs", says: "You gave net.backward the layer's output; it wants the input.", hint: "Layer l read a_{l-1}." },
        { id: "upstream", says: "Every layer got dy: the gradient is not handed down from layer to layer.", hint: "What net.backward returns is the next layer's da." },
        { id: "again", says: "You ran the forward twice; with everything kept once is enough.", hint: "L forwards and L + 1 activations suffice." },
        { id: "returns-dy", says: "You returned dy; wanted is the gradient with respect to x.", hint: "The last net.backward, that of layer 1, returns it." },
      ],
      atMost: ["forwards", "live"],
      cotangent: "dy",
      forward,
    }),
    part({
      name: "checkpointed",
      points: 4,
      entry: "checkpointed",
      draw: (random, instance) => draw(random, instance, 0),
      call,
      attempt: (args, made) => {
        const out = call(checkpointedWith(made as (m: Variant) => boolean), args);
        const within = budget(args.W.shape[0], args.k);
        const over = made("keeps-all") || made("forward-not-freed") || made("replay-not-freed") || made("replay-each");
        return over ? out : { ...out, ...within };
      },
      mistakes: [
        {
          id: "keeps-all",
          says: "You kept every activation and recomputed none: the gradient is right, the memory is that of `plain`.",
          hint: "Free each activation that is no checkpoint as soon as its successor exists.",
          hides: ["*"],
        },
        {
          id: "forward-not-freed",
          says: "You recompute, but the first pass never frees what it does not keep.",
          hint: "After net.forward(l, a), a is needed again only if it is a checkpoint. a_L is not needed either.",
        },
        {
          id: "replay-not-freed",
          says: "The replayed activations of each segment stay alive.",
          hint: "When the backward leaves a segment nobody reads its activations any more.",
        },
        {
          id: "replay-each",
          says: "You replay a segment again for each of its layers, which is more than 2L forwards.",
          hint: "One replay a segment gives the inputs of all its layers.",
        },
        {
          id: "no-replay",
          says: "Every layer of a segment got the checkpoint as its input.",
          hint: "Only the segment's first layer read the checkpoint. Replay the forward to get the others' inputs.",
        },
        {
          id: "short-tail",
          says: "The last segment is left out where k does not divide L.",
          hint: "The last segment ends at L, whatever its length: end = min(start + k, L).",
        },
      ],
      atMost: ["forwards", "live"],
      cotangent: "dy",
      forward,
    }),
    part({
      name: "with dropout",
      points: 2,
      entry: "checkpointed",
      draw: (random, instance) => draw(random, instance, 0.3),
      call,
      attempt: (args, made) => {
        const out = call(checkpointedWith(made as (m: Variant) => boolean), args);
        return { ...out, ...budget(args.W.shape[0], args.k) };
      },
      mistakes: [
        {
          id: "no-restore",
          says: "The replay drew fresh dropout masks, so you differentiated another function than the one that ran.",
          hint: "Keep net.state() with each checkpoint and net.restore it before the replay.",
          hides: ["one-state", "state-late"],
        },
        {
          id: "one-state",
          says: "You restored the same state for every segment: that of the first.",
          hint: "Each checkpoint has a state of its own, taken just before its segment's first forward.",
        },
        {
          id: "state-late",
          says: "You took each segment's state after its first forward had drawn its mask.",
          hint: "The replay begins with that very forward: take the state before it.",
        },
      ],
      atMost: ["forwards", "live"],
      cotangent: "dy",
      forward,
    }),
    part({
      name: "best interval",
      points: 2,
      entry: "bestInterval",
      draw: (random, instance) => ({ L: [9, random.integer(43, 48), random.integer(63, 67), random.integer(90, 97)][instance % 4] }),
      call: (student, { L }) => ({ k: student(L) }),
      attempt: ({ L }, made) => {
        if (made("root")) return { k: Math.round(Math.sqrt(L)) };
        const segments = (k: number): number => (made("floor") ? Math.floor(L / k) : made("fraction") ? L / k : Math.ceil(L / k));
        const cost = (k: number): number => {
          const [memory, compute] = [segments(k) + k, 3 * L + (L - segments(k))];
          return made("sum") ? memory + compute : memory * compute;
        };
        let best = 1;
        for (let k = 2; k <= L; k++) if (cost(k) < cost(best)) best = k;
        return { k: best };
      },
      mistakes: [
        {
          id: "root",
          says: "You returned √L, the rule of thumb; asked is the smallest product, for whole numbers.",
          hint: "Try every k from 1 to L.",
          hides: ["*"],
        },
        { id: "sum", says: "You minimised memory + compute; asked is the product.", hint: "The two have different units: a sum of them means nothing.", hides: ["floor", "fraction"] },
        { id: "floor", says: "You rounded the number of segments down.", hint: "The last, shorter segment needs a checkpoint too: Math.ceil(L / k).", hides: ["fraction"] },
        { id: "fraction", says: "You used L / k segments; there are only whole ones.", hint: "The last, shorter segment counts as one: Math.ceil(L / k)." },
      ],
      noDifferences: "A whole number has no derivative.",
    }),
  ],
  after: [
    {
      type: "markdown",
      source:
        "Exercise 5 of the document, measured: ten layers, your two functions, and a net that counts. The gradients agree to the last digit. Every third layer costs " +
        "6 forwards more, which is 20 % of the 30 units of a step (10 forwards and 10 backwards of 2 each). The document's +33 % is the limit of long segments, in " +
        "which every layer runs again.",
    },
    {
      type: "code",
      source: [
        "function countingNet(L: number, width: number) {",
        "  const random = rng(15);",
        "  const Ws = Array.from({ length: L }, () => randn([width, width], random).div(Math.sqrt(width)));",
        "  const live = new Map<Activation, Tensor>();",
        "  const counts = { live: 0, forwards: 0 };",
        "  const keep = (value: Tensor): Activation => {",
        "    const handle = { id: counts.forwards };",
        "    live.set(handle, value);",
        "    counts.live = Math.max(counts.live, live.size);",
        "    return handle;",
        "  };",
        "  const net: Net = {",
        "    depth: L,",
        "    forward(l, a) {",
        "      counts.forwards++;",
        "      return keep(live.get(a)!.tanh().matmul(Ws[l - 1].T));",
        "    },",
        "    backward: (l, da, a) => da.matmul(Ws[l - 1]).mul(live.get(a)!.tanh().square().neg().add(1)),",
        "    free: (a) => { live.delete(a); },",
        "    state: () => random.state(),",
        "    restore: () => undefined, // nothing is random in this net",
        "  };",
        "  return { net, counts, x: keep(randn([1, width], random)) };",
        "}",
        "const dy = randn([1, 8], rng(1));",
        "const measure = (backward: (net: Net, x: Activation) => Tensor) => {",
        "  const { net, counts, x } = countingNet(10, 8);",
        "  return { dx: backward(net, x), counts };",
        "};",
        "const whole = measure((net, x) => plain(net, x, dy));",
        "const row = (kept: string, { dx, counts }: typeof whole) => ({",
        '  kept, "live activations": counts.live, "layer forwards": counts.forwards,',
        '  "extra compute, %": (100 * (counts.forwards - 10)) / 30, "dx differs by": dx.sub(whole.dx).norm(),',
        "});",
        'const every = [1, 2, 3, 4, 5, 10].map((k) => row(`every ${k}`, measure((net, x) => checkpointed(net, x, dy, k))));',
        'table([row("all", whole), ...every]);',
      ].join("\n"),
    },
    {
      type: "markdown",
      source:
        "The formulas for a hundred layers. Memory falls like $L/k$ until the segments themselves weigh more, with the least near $k = \\sqrt L$; the extra forwards cost less than a third " +
        "of a step, whatever $k$ is, so the product is least where the memory is.",
    },
    {
      type: "code",
      source: [
        "const L = 100;",
        "const ks = Array.from({ length: L }, (_, i) => i + 1);",
        "const segments = ks.map((k) => Math.ceil(L / k));",
        "lines(ks, {",
        '  "memory, % of all activations": ks.map((k, i) => (100 * (segments[i] + k)) / L),',
        '  "extra compute, % of a step": ks.map((k, i) => (100 * (L - segments[i])) / (3 * L)),',
        '}, { x: "checkpoint interval k", y: "%", title: `Least memory × compute at k = ${bestInterval(L)}` });',
      ].join("\n"),
    },
  ],
});
