import type * as WorkerThreads from "node:worker_threads";

/** One worker's place in the ring: it can send to its right neighbour and receive from its left one. */
export interface Ring {
  readonly rank: number;
  readonly size: number;
  /** Bytes sent so far. */
  readonly sent: number;
  /** Chunk i of an array of n numbers: [from, to). Worker i owns it. */
  chunk(i: number, n: number): [number, number];
  /** Sums x over all workers; afterwards this worker's own chunk of x holds the sum. Sends (N - 1) / N of x. */
  reduceScatter(x: Float64Array): Promise<void>;
  /** Gives every worker every other's own chunk of x. Sends (N - 1) / N of x. */
  allGather(x: Float64Array): Promise<void>;
  /** Both: x becomes the sum everywhere. Sends 2 (N - 1) / N of x, whatever N: hardly more than twice x. */
  allReduce(x: Float64Array): Promise<void>;
}

/** What a worker gave back, and how many bytes it sent. */
export interface RingReport<R> {
  readonly result: R;
  readonly sent: number;
}

/**
 * Runs `body` in one thread for each entry of `data`, the threads joined in a ring. `body` is sent to the threads as
 * source text: it must use nothing but its arguments.
 *
 * Needs Node's worker threads, which are loaded here and not before.
 * @throws the first error of a worker; all threads are stopped then.
 */
export async function runRing<D, R>(
  data: readonly D[], body: (ring: Ring, data: D) => Promise<R>,
): Promise<RingReport<R>[]> {
  if (data.length === 0) throw new Error("runRing: data is empty, expected one entry for each worker");
  if (typeof process === "undefined" || !process.versions?.node) {
    throw new Error("runRing: worker threads are not available here, expected Node");
  }
  // Without "node:", so that package.json can say that a browser has none.
  const { MessageChannel, Worker } = require("worker_threads") as typeof WorkerThreads;
  const links = data.map(() => new MessageChannel());
  const size = data.length;
  const source = `(${worker.toString()})(require("node:worker_threads"), ${body.toString()});`;
  const workers = data.map((own, rank) => {
    const left = links[(rank + size - 1) % size].port2, right = links[rank].port1;
    return new Worker(source, { eval: true, workerData: { rank, size, left, right, data: own }, transferList: [left, right] });
  });
  try {
    return await Promise.all(workers.map((thread, rank) => new Promise<RingReport<R>>((resolve, reject) => {
      thread.on("message", resolve);
      thread.on("error", reject);
      thread.on("exit", () => reject(new Error(`runRing: worker ${rank} ended without a result`)));
    })));
  } finally {
    await Promise.all(workers.map((thread) => thread.terminate()));
  }
}

/** The main program of a thread; sent as source text, so it uses nothing from this module. */
function worker(
  { parentPort, workerData }: typeof WorkerThreads, body: (ring: Ring, data: unknown) => Promise<unknown>,
): void {
  const { rank, size, left, right, data } = workerData as {
    rank: number; size: number; left: WorkerThreads.MessagePort; right: WorkerThreads.MessagePort; data: unknown;
  };
  const arrived: Float64Array[] = [];
  const waiting: ((x: Float64Array) => void)[] = [];
  left.on("message", (x: Float64Array) => {
    const next = waiting.shift();
    if (next) next(x);
    else arrived.push(x);
  });
  const receive = (): Promise<Float64Array> =>
    (arrived.length ? Promise.resolve(arrived.shift()!) : new Promise((resolve) => waiting.push(resolve)));
  let sent = 0;
  const send = (x: Float64Array): void => {
    sent += x.byteLength;
    right.postMessage(x);
  };
  const wrap = (i: number): number => ((i % size) + size) % size;
  const ring: Ring = {
    rank,
    size,
    get sent() { return sent; },
    chunk: (i, n) => [Math.floor((i * n) / size), Math.floor(((i + 1) * n) / size)],
    async reduceScatter(x) {
      // Step s passes on the chunk that came in at step s - 1, own share added; the last to come in is complete.
      for (let s = 0; s < size - 1; s++) {
        send(x.slice(...ring.chunk(wrap(rank - s - 1), x.length)));
        const [from] = ring.chunk(wrap(rank - s - 2), x.length);
        const part = await receive();
        for (let i = 0; i < part.length; i++) x[from + i] += part[i];
      }
    },
    async allGather(x) {
      for (let s = 0; s < size - 1; s++) {
        send(x.slice(...ring.chunk(wrap(rank - s), x.length)));
        x.set(await receive(), ring.chunk(wrap(rank - s - 1), x.length)[0]);
      }
    },
    async allReduce(x) {
      await ring.reduceScatter(x);
      await ring.allGather(x);
    },
  };
  body(ring, data).then(
    (result) => parentPort!.postMessage({ result, sent }),
    (error) => setImmediate(() => { throw error; }),
  );
}

/**
 * Ring all-reduce between real threads: every worker ends with the sum of all vectors.
 *
 * Each sends 2 (N - 1) / N of a vector, the least possible; all together 2 (N - 1), the O(N |theta|) of Math for LLMs,
 * section 9.4, which is the ring's total and not one worker's share.
 * @param vectors one for each worker, of one length.
 */
export async function ringAllReduce(vectors: readonly Float64Array[]): Promise<RingReport<Float64Array>[]> {
  const odd = vectors.find((v) => v.length !== vectors[0].length);
  if (odd) throw new Error(`ringAllReduce: vectors of ${vectors[0].length} and ${odd.length} numbers, expected one length`);
  return runRing([...vectors], async (ring, x: Float64Array) => {
    await ring.allReduce(x);
    return x;
  });
}
