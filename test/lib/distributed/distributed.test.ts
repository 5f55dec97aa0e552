import { ringAllReduce, runRing, zeroTraining } from "../../../lib/distributed";

const gap = (a: Float64Array, b: Float64Array): number => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));

describe("ring all-reduce between threads", () => {
  test.each([[1, 5], [2, 7], [3, 12], [4, 3], [5, 101]])("%i workers, %i numbers: the sum everywhere, 2 (N - 1) / N sent", async (N, n) => {
    const vectors = Array.from({ length: N }, (_, w) => Float64Array.from({ length: n }, (__, i) => Math.sin(3 * w + i)));
    const want = Float64Array.from({ length: n }, (_, i) => vectors.reduce((s, v) => s + v[i], 0));
    const reports = await ringAllReduce(vectors);
    for (const { result } of reports) {
      expect(gap(result, want)).toBeLessThan(1e-14);
      expect([...result]).toEqual([...reports[0].result]);
    }
    expect(reports.reduce((s, r) => s + r.sent, 0)).toBe(2 * (N - 1) * n * 8);
    for (const { sent } of reports) expect(Math.abs(sent - (2 * (N - 1) * n * 8) / N)).toBeLessThanOrEqual(2 * 8 * N);
  });
  test("a worker's error arrives as one, and no thread is left behind", async () => {
    await expect(runRing([1, 2], async (ring) => {
      if (ring.rank === 1) throw new Error("worker 1 failed");
      await ring.allReduce(new Float64Array(4));
    })).rejects.toThrow("worker 1 failed");
    await expect(runRing([], async () => 0)).rejects.toThrow("data is empty");
    await expect(ringAllReduce([new Float64Array(2), new Float64Array(3)])).rejects.toThrow("vectors of 2 and 3 numbers");
  });
});

describe("ZeRO between threads", () => {
  const setting = { steps: 12, rows: 12, inputs: 5, hidden: 7, lr: 0.02 };
  const P = 7 * 5 + 7;
  test("every stage trains as one process with the whole batch does; held and sent bytes are counted", async () => {
    const alone = await zeroTraining({ ...setting, stage: 0, workers: 1 });
    expect(alone.losses[11]).toBeLessThan(alone.losses[0]);
    expect(alone.sent).toEqual([0]);
    for (const stage of [0, 1, 2, 3] as const) {
      const N = 3, got = await zeroTraining({ ...setting, stage, workers: N });
      expect(gap(got.parameters, alone.parameters)).toBeLessThan(1e-10);
      got.losses.forEach((loss, t) => expect(loss).toBeCloseTo(alone.losses[t], 10));
      for (const held of got.held) {
        expect(held).toEqual({
          parameters: (8 * P) / (stage >= 3 ? N : 1),
          gradients: (8 * P) / (stage >= 2 ? N : 1),
          optimizer: (16 * P) / (stage >= 1 ? N : 1),
        });
      }
      const share = ((stage === 3 ? 3 : 2) * (N - 1) * P * 8 * setting.steps) / N;
      expect(got.sent).toEqual([share, share, share]);
    }
  });
  test("errors", async () => {
    await expect(zeroTraining({ stage: 4 as never, workers: 2 })).rejects.toThrow("stage is 4");
    await expect(zeroTraining({ stage: 1, workers: 2, rows: 3 })).rejects.toThrow("rows is 3, expected a multiple of the 2 workers");
    await expect(zeroTraining({ stage: 1, workers: 0 })).rejects.toThrow("workers is 0");
  });
});
