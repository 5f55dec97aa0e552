import fc from "fast-check";
import {
  arange, broadcastShapes, concat, eye, full, linspace, oneHot, ones, randn, rng, SparseRows, stack, Tensor, tensor,
  unbroadcast, uniform, zeros, type Shape,
} from "../../../lib";

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });

/** Every index of a shape, in order. */
function indices(shape: Shape): number[][] {
  return shape.reduce<number[][]>((all, d) => all.flatMap((i) => Array.from({ length: d }, (_, k) => [...i, k])), [[]]);
}

/** The element NumPy would read at an index of the broadcast shape. */
function broadcastAt(t: Tensor, index: readonly number[]): number {
  const own = index.slice(index.length - t.rank).map((i, axis) => (t.shape[axis] === 1 ? 0 : i));
  return t.get(...own);
}

/** Two shapes that broadcast: one shape with some axes set to 1 or dropped, twice over. */
const pairs = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }).chain((shape) => {
  const side = fc.tuple(fc.nat(shape.length), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }))
    .map(([drop, flat]) => shape.map((d, i) => (flat[i] ? 1 : d)).slice(drop));
  return fc.tuple(side, side);
});

describe("making tensors", () => {
  it("reads nested arrays", () => {
    const t = tensor([[1, 2, 3], [4, 5, 6]]);
    expect(t.shape).toEqual([2, 3]);
    expect(t.dtype).toBe("float64");
    expect(t.toArray()).toEqual([[1, 2, 3], [4, 5, 6]]);
    expect(tensor(7).shape).toEqual([]);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
    expect(tensor(new Float32Array([1, 2, 3, 4]), [2, 2]).dtype).toBe("float32");
    expect(tensor([1, 2, 3, 4], [2, 2], "int32").toArray()).toEqual([[1, 2], [3, 4]]);
  });

  it.each([
    [() => tensor([[1, 2], [3]]), "tensor: the lists are ragged, a list of 1 stands where a list of 2 should be"],
    [() => tensor([1, [2]] as any), "tensor: a list stands where a number of shape [2] should be"],
    [() => tensor([[1], 2] as any), "tensor: the lists are ragged, a number stands where a list of 1 should be"],
    [() => tensor(["a"] as any), "tensor: a string stands where a number of shape [1] should be"],
    [() => tensor(null as any), "tensor: null stands where a number of shape [] should be"],
    [() => tensor([1, 2, 3], [2, 2]), "reshape: 3 numbers of shape [3] do not fill [2, 2]"],
    [() => new Tensor(new Float64Array(3), [2]), "Tensor: 3 numbers do not fill the shape [2]"],
    [() => zeros(2, -1), "zeros: the shape is [2,-1], it should be a list of whole numbers"],
    [() => full([1.5], 0), "full: the shape is [1.5], it should be a list of whole numbers"],
    [() => randn([2], undefined as any), "randn: no generator was given, it should be rng(seed)"],
    [() => oneHot([0, 3], 3), "oneHot: the id 3 is not a whole number below 3"],
    [() => arange(0, 1, 0), "arange: the step 0 never leads from 0 to 1"],
    [() => rng(0.5), "rng: the seed is 0.5, it should be a whole number"],
    [() => rng(1).integer(3, 3), "rng.integer: the range is [3, 3], it should be two whole numbers, lo < hi"],
    [() => rng(1).choice([0, 0]), "rng.choice: the weights sum to 0, they should sum to a positive number"],
  ])("says what is wrong (%#)", (make, message) => {
    expect(make).toThrow(new Error(message));
  });

  it("fills and counts", () => {
    expect(zeros(2, 2).toArray()).toEqual([[0, 0], [0, 0]]);
    expect(ones([2], "float32").dtype).toBe("float32");
    expect(full([2], 7).toArray()).toEqual([7, 7]);
    expect(arange(3).toArray()).toEqual([0, 1, 2]);
    expect(arange(1, 2, 0.25).toArray()).toEqual([1, 1.25, 1.5, 1.75]);
    expect(linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(eye(2).toArray()).toEqual([[1, 0], [0, 1]]);
    expect(oneHot([[2], [0]], 3).toArray()).toEqual([[[0, 0, 1]], [[1, 0, 0]]]);
  });
});

describe("the seeded generator", () => {
  it("gives the same numbers for the same seed, others for another", () => {
    expect(randn([5], rng(1)).toArray()).toEqual(randn([5], rng(1)).toArray());
    expect(randn([5], rng(1)).toArray()).not.toEqual(randn([5], rng(2)).toArray());
    // The stream is part of the public surface: graded exercises and golden losses are drawn from it.
    expect([...uniform([2], rng(1)).data]).toMatchInlineSnapshot(`
[
  0.09156953175513294,
  0.8881928137485323,
]
`);
  });

  it("has the moments it should", () => {
    const n = 100_000;
    const u = uniform([n], rng(3));
    const z = randn([n], rng(3));
    expect(u.mean().item()).toBeCloseTo(0.5, 2);
    expect(u.sub(0.5).square().mean().item()).toBeCloseTo(1 / 12, 3);
    expect(Math.abs(z.mean().item())).toBeLessThan(0.01);
    expect(Math.abs(z.square().mean().item() - 1)).toBeLessThan(0.02);
    expect(Math.abs(z.pow(4).mean().item() - 3)).toBeLessThan(0.1);
  });

  it("goes on from a saved state, forks, shuffles and chooses", () => {
    const generator = rng(5);
    generator.normal();
    const state = generator.state();
    const next = [generator.normal(), generator.uniform(), generator.integer(0, 10)];
    const again = rng.from(state);
    expect([again.normal(), again.uniform(), again.integer(0, 10)]).toEqual(next);
    expect(rng(5).fork().uniform()).not.toBe(rng(5).uniform());
    expect(rng(1).shuffle([1, 2, 3, 4, 5]).sort()).toEqual([1, 2, 3, 4, 5]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 3000; i++) counts[generator.choice([1, 0, 2])]++;
    expect(counts[1]).toBe(0);
    expect(counts[2] / counts[0]).toBeGreaterThan(1.7);
    expect(counts[2] / counts[0]).toBeLessThan(2.4);
  });
});

describe("elementwise operations", () => {
  it("broadcast as NumPy does", () => {
    fc.assert(fc.property(pairs, ([sa, sb]) => {
      const a = randn(sa, rng(1));
      const b = randn(sb, rng(2));
      const out = broadcastShapes("test", sa, sb);
      const operations: [Tensor, (x: number, y: number) => number][] = [
        [a.add(b), (x, y) => x + y], [a.sub(b), (x, y) => x - y], [a.mul(b), (x, y) => x * y], [a.div(b), (x, y) => x / y],
        [a.gt(b), (x, y) => Number(x > y)], [a.maximum(b), Math.max], [a.minimum(b), Math.min],
      ];
      for (const [found, f] of operations) {
        expect(found.shape).toEqual(out);
        for (const i of indices(out)) expect(found.get(...i)).toBe(f(broadcastAt(a, i), broadcastAt(b, i)));
      }
    }), { numRuns: 60 });
  });

  it("have an adjoint of broadcasting that sums what was stretched", () => {
    fc.assert(fc.property(pairs, ([sa, sb]) => {
      const out = broadcastShapes("test", sa, sb);
      const a = randn(sa, rng(1));
      const g = randn(out, rng(2));
      expect(unbroadcast(g, sa).shape).toEqual(sa);
      expect(unbroadcast(g, sa).dot(a)).toBeCloseTo(g.dot(a.broadcastTo(out)), 9);
    }), { numRuns: 60 });
  });

  it("refuse shapes that do not fit, and operands that are none", () => {
    expect(() => zeros(2, 3).add(zeros(2))).toThrow(new Error("add: shapes [2, 3] and [2] do not broadcast"));
    expect(() => zeros(2).mul("3" as any)).toThrow(new Error("mul: the operand is string, it should be a Tensor or a number"));
    expect(() => zeros(2, 3).broadcastTo([2, 1])).toThrow(new Error("broadcastTo: shape [2, 3] does not stretch to [2, 1]"));
  });

  it("keep NaN", () => {
    const x = tensor([NaN, 1]);
    expect(x.maximum(0).toArray()).toEqual([NaN, 1]);
    expect(x.minimum(0).toArray()).toEqual([NaN, 0]);
    expect(x.gt(0).toArray()).toEqual([NaN, 1]);
    expect(x.max().item()).toBeNaN();
    expect(x.min().item()).toBeNaN();
    expect(tensor([1, NaN, 2]).max().item()).toBeNaN();
    expect(tensor([[1, NaN], [2, 3]]).max(0).toArray()).toEqual([2, NaN]);
    expect(x.select(tensor([1, NaN]), 0).toArray()).toEqual([NaN, NaN]);
    expect(tensor([Infinity, 2]).select(tensor([0, 1]), 5).toArray()).toEqual([5, 2]);
    for (const f of ["exp", "log", "sqrt", "abs", "sign", "tanh", "sigmoid", "erf", "floor", "round"] as const) {
      expect(x[f]().get(0)).toBeNaN();
    }
  });

  it("choose dtypes: float64 over float32 over int32, and plain numbers follow the tensor", () => {
    const [f64, f32, i32] = (["float64", "float32", "int32"] as const).map((dtype) => ones([2], dtype));
    expect(f32.add(f64).dtype).toBe("float64");
    expect(f32.add(f32).dtype).toBe("float32");
    expect(f32.mul(0.1).dtype).toBe("float32");
    expect(f32.add(i32).dtype).toBe("float32");
    expect(i32.add(1).dtype).toBe("int32");
    expect(i32.add(0.5).toArray()).toEqual([1.5, 1.5]);
    expect(i32.div(i32).dtype).toBe("float64");
    expect(i32.exp().dtype).toBe("float64");
    expect(() => tensor([1.5]).astype("int32")).toThrow(new Error("astype: 1.5 does not fit int32"));
    expect(() => tensor([NaN]).astype("int32")).toThrow("NaN does not fit int32");
  });

  it("know the error function to double precision", () => {
    // Python's math.erf at the same points.
    const known: [number, number][] = [[0, 0], [1e-10, 1.1283791670955127e-10], [0.5, 0.5204998778130465], [1, 0.8427007929497149],
      [2.4999, 0.9995928300996666], [2.5, 0.999593047982555], [3, 0.9999779095030014], [-1, -0.8427007929497149], [7, 1], [-Infinity, -1]];
    for (const [x, y] of known) expect(Math.abs(tensor(x).erf().item() - y)).toBeLessThanOrEqual(4e-16 * Math.max(Math.abs(y), 1e-10));
    expect(tensor([0.5, 1.5, 2.5, -0.5, -1.5]).round().toArray().map((x: number) => x + 0)).toEqual([0, 2, 2, 0, -2]);
  });
});

describe("matmul", () => {
  const naive = (a: Tensor, b: Tensor): number[][] =>
    Array.from({ length: a.shape[0] }, (_, i) => Array.from({ length: b.shape[1] }, (_, j) =>
      Array.from({ length: a.shape[1] }, (_, k) => a.get(i, k) * b.get(k, j)).reduce((x, y) => x + y, 0)));

  it("equals the definition for every small size", () => {
    const size = fc.integer({ min: 0, max: 9 });
    fc.assert(fc.property(size, size, size, (M, K, N) => {
      const [a, b] = [randn([M, K], rng(1)), randn([K, N], rng(2))];
      expect(a.matmul(b).shape).toEqual([M, N]);
      naive(a, b).flat().forEach((x, i) => expect(a.matmul(b).data[i]).toBeCloseTo(x, 12));
    }), { numRuns: 60 });
  });

  it.each([[16, 16, 16], [17, 19, 23], [4, 128, 5], [65, 3, 70], [1, 50, 90], [33, 64, 1], [13, 200, 67]])(
    "equals the definition in tiles: %i x %i x %i", (M, K, N) => {
      for (const dtype of ["float64", "float32"] as const) {
        const [a, b] = [randn([M, K], rng(1), dtype), randn([K, N], rng(2), dtype)];
        const found = a.matmul(b);
        const expected = naive(a, b).flat();
        const worst = expected.reduce((w, x, i) => Math.max(w, Math.abs(x - found.data[i])), 0);
        expect(worst).toBeLessThan(dtype === "float64" ? 1e-12 : 1e-4);
      }
    });

  it("broadcasts batches and takes vectors", () => {
    const [a, b] = [randn([2, 1, 3, 4], rng(1)), randn([5, 4, 2], rng(2))];
    const y = a.matmul(b);
    expect(y.shape).toEqual([2, 5, 3, 2]);
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 5; j++) {
        expect(y.at(i).at(j).sub(a.at(i).at(0).matmul(b.at(j))).norm()).toBeLessThan(1e-13);
      }
    }
    const v = tensor([1, 2]);
    const M = tensor([[1, 2], [3, 4]]);
    expect(M.matmul(v).toArray()).toEqual([5, 11]);
    expect(v.matmul(M).toArray()).toEqual([7, 10]);
    expect(v.matmul(v).toArray()).toBe(5);
    expect(zeros(3, 0).matmul(zeros(0, 2)).toArray()).toEqual([[0, 0], [0, 0], [0, 0]]);
  });

  it("lets NaN and infinity through the tiles' padding", () => {
    const a = ones([17, 17]);
    a.data[0] = NaN;
    a.data[17] = Infinity;
    const y = a.matmul(ones([17, 17]));
    expect(y.row(0).toArray().every(Number.isNaN)).toBe(true);
    expect(y.get(1, 3)).toBe(Infinity);
    expect(y.get(2, 16)).toBe(17);
  });

  it("says which dimensions differ", () => {
    expect(() => zeros(2, 3).matmul(zeros(4, 5))).toThrow(new Error("matmul: [2, 3] x [4, 5], the inner dimensions 3 and 4 differ"));
    expect(() => zeros(2, 2, 3).matmul(zeros(3, 3, 5))).toThrow("matmul: shapes [2] and [3] do not broadcast");
    expect(() => zeros(2).matmul(tensor(1))).toThrow("neither may be a scalar");
  });
});

describe("shapes", () => {
  it("reductions equal the definition over any axes", () => {
    fc.assert(fc.property(shapes, fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }), fc.boolean(), (shape, chosen, keepdims) => {
      const t = randn(shape, rng(1));
      const axes = shape.map((_, i) => i).filter((i) => chosen[i]);
      const sums = new Map<string, number[]>();
      for (const i of indices(shape)) {
        const key = i.map((at, axis) => (axes.includes(axis) ? (keepdims ? 0 : -1) : at)).filter((at) => at >= 0).join();
        sums.set(key, [...(sums.get(key) ?? []), t.get(...i)]);
      }
      const out = shape.map((d, i) => (axes.includes(i) ? 1 : d)).filter((_, i) => keepdims || !axes.includes(i));
      const [sum, max, min] = [t.sum(axes, keepdims), t.max(axes, keepdims), t.min(axes, keepdims)];
      expect(sum.shape).toEqual(out);
      for (const i of indices(out)) {
        const group = sums.get(i.join()) ?? [];
        expect(sum.get(...i)).toBeCloseTo(group.reduce((a, b) => a + b, 0), 12);
        expect(max.get(...i)).toBe(Math.max(...group));
        expect(min.get(...i)).toBe(Math.min(...group));
      }
    }), { numRuns: 100 });
  });

  it("sums nothing away without sharing numbers", () => {
    const t = tensor([1, 2]);
    const same = t.sum([]);
    expect(same.toArray()).toEqual([1, 2]);
    expect(same.data).not.toBe(t.data);
  });

  it("finds positions of extremes", () => {
    const t = tensor([[3, 1, 3], [0, 5, -1]]);
    expect(t.argmax(1).toArray()).toEqual([0, 1]);
    expect(t.argmax(0).toArray()).toEqual([0, 1, 0]);
    expect(t.argmin(-1).toArray()).toEqual([1, 2]);
    expect(t.argmax().item()).toBe(4);
    expect(t.argmax(1).dtype).toBe("int32");
    expect(() => zeros(2, 0).argmax(1)).toThrow(new Error("argmax: shape [2, 0] has nothing to choose from"));
  });

  it("transposes, slices, joins and reads", () => {
    fc.assert(fc.property(shapes, fc.nat(1000), (shape, seed) => {
      const t = randn(shape, rng(1));
      const axes = rng(seed).shuffle(shape.map((_, i) => i));
      const turned = t.transpose(axes);
      for (const i of indices(shape)) expect(turned.get(...axes.map((axis) => i[axis]))).toBe(t.get(...i));
      if (shape.length === 0) return;
      const axis = seed % shape.length;
      const cut = Math.floor(shape[axis] / 2);
      const joined = t.slice(0, cut, axis).concat(t.slice(cut, undefined, axis), axis);
      expect(joined.shape).toEqual(shape);
      expect([...joined.data]).toEqual([...t.data]);
    }), { numRuns: 60 });
    const t = arange(6).reshape(2, -1);
    expect(t.shape).toEqual([2, 3]);
    expect(t.T.toArray()).toEqual([[0, 3], [1, 4], [2, 5]]);
    expect(t.row(-1).toArray()).toEqual([3, 4, 5]);
    expect(t.column(1).toArray()).toEqual([1, 4]);
    expect(t.slice(-2, undefined, 1).toArray()).toEqual([[1, 2], [4, 5]]);
    expect(stack([t, t], -1).shape).toEqual([2, 3, 2]);
    expect(concat([t, t]).shape).toEqual([4, 3]);
    expect(t.get(-1, -1)).toBe(5);
  });

  it.each<[() => unknown, string]>([
    [() => zeros(2, 3).sum(2), "sum: the axis is 2, it should be between -2 and 1"],
    [() => zeros(2, 3).sum([0, 0]), "sum: the axes [0, 0] name one axis twice"],
    [() => tensor(1).sum(0), "sum: the axis is 0, a scalar has no axes"],
    [() => zeros(2, 3).transpose([0]), "transpose: the axes are [0], they should name each of 2 axes once"],
    [() => zeros(2, 3).reshape(4, -1), "reshape: 6 numbers of shape [2, 3] do not fill [4, -1]"],
    [() => zeros(2, 3).at(2), "at: the index is 2, axis 0 has 2 entries"],
    [() => zeros(2, 3).get(0), "get: 1 indices were given, shape [2, 3] has 2 axes"],
    [() => zeros(2, 3).get(0, 3), "get: the index is 3, axis 1 has 3 entries"],
    [() => zeros(2).item(), "item: shape [2] holds 2 numbers, not one"],
    [() => zeros(2).dot(zeros(3)), "dot: shapes [2] and [3] differ"],
    [() => zeros(2, 3).concat(zeros(2, 2)), "concat: shapes [2, 3] and [2, 2] differ outside axis 0"],
    [() => concat([]), "concat: no tensors were given"],
  ])("says what is wrong (%#)", (run, message) => {
    expect(run).toThrow(new Error(message));
  });

  it("gathers and scatters as adjoints of each other", () => {
    const at = Int32Array.from([3, 0, -1, 3]);
    const x = tensor([1, 2, 3, 4]);
    expect(x.gather(at, [2, 2]).toArray()).toEqual([[4, 1], [0, 4]]);
    expect(tensor([[10, 20], [30, 40]]).scatter(at, [4]).toArray()).toEqual([20, 0, 0, 50]);
  });

  it("measures without overflow", () => {
    expect([tensor([2, 3, 6]), tensor([3, 4]), tensor([-2])].map((t) => t.norm())).toEqual([7, 5, 2]);
    expect(tensor([3e200, 4e200]).norm()).toBeCloseTo(5e200, -190);
    expect(tensor([3e-200, 4e-200]).norm() / 5e-200).toBeCloseTo(1, 12);
    expect(tensor([NaN, 1]).norm()).toBeNaN();
    expect(tensor([Infinity, NaN]).norm()).toBeNaN();
    expect(tensor([Infinity]).norm()).toBe(Infinity);
    expect(zeros(0).norm()).toBe(0);
    expect(zeros(0).mean().item()).toBeNaN();
    expect(zeros(0).max().item()).toBe(-Infinity);
  });

  it("prints itself", () => {
    expect(String(tensor(2.5))).toBe("2.5");
    expect(String(tensor([1, 0.5]))).toBe("Tensor [2]\n[1, 0.5]");
    expect(String(tensor([[1, 2], [3, 0.5]]))).toBe("Tensor [2, 2]\n[[1, 2  ],\n [3, 0.5]]");
    expect(String(tensor([[-1, 2.5], [10, 100.25], [NaN, 1e-7]]))).toBe("Tensor [3, 2]\n[[ -1,      2.5 ],\n [ 10,    100.25],\n [NaN, 1.0000e-7]]");
    expect(String(zeros(8, 7))).toMatch(/^Tensor \[8, 7\]\n(\[| )\[0, 0, 0, \.\.\., 0, 0, 0\],\n/);
    expect(String(arange(10).astype("int32"))).toBe("Tensor [10] int32\n[0, 1, 2, ..., 7, 8, 9]");
    expect(String(zeros(0, 3))).toBe("Tensor [0, 3]\n[]");
    expect(String(tensor([[[1], [2]], [[3], [4]]]))).toBe("Tensor [2, 2, 1]\n[[[1],\n  [2]],\n\n [[3],\n  [4]]]");
  });
});

describe("SparseRows", () => {
  it("is a tensor whose dense numbers are made when read", () => {
    const sparse = new SparseRows(Int32Array.from([1, 3]), tensor([[1, 2], [3, 4]]), [5, 2]);
    expect(sparse.stored).toBe(4);
    expect(sparse.toArray()).toEqual([[0, 0], [1, 2], [0, 0], [3, 4], [0, 0]]);
    expect(sparse.add(1).get(3, 1)).toBe(5);
    expect(() => new SparseRows(Int32Array.from([1]), tensor([[1, 2], [3, 4]]), [5, 2])).toThrow("SparseRows: 1 rows");
  });
});
