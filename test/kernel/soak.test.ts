/** Two hours of a student's cells, without the pauses: the memory after the second half is that after the first. */
import { TestKernel } from "./support/kernel";

jest.setTimeout(120_000);

const CELLS = 400;

/** What a notebook does over and over: declare, redeclare, compute, print, show, fail, mistype, wait, complete. */
function cell(i: number): string {
  switch (i % 8) {
    case 0: return `const w${i % 40} = randn([8, 8], rng(${i})); w${i % 40}.sum().item() < 1e9`;
    case 1: return `function step${i % 16}(x: number) { return x * ${i} }\nclass Layer${i % 16} { constructor(readonly n = ${i}) {} }`;
    case 2: return `for (let i = 0; i < 200; i++) console.log('epoch', i, Math.exp(-i / 50))`;
    case 3: return `display(html\`<p>${i}</p>\`, { display_id: 'same' }); [{ step: ${i}, loss: ${1 / (i + 1)} }]`;
    case 4: return `throw new Error('cell ${i}')`;
    case 5: return `const n${i}: string = ${i}`;
    case 6: return `let late${i % 8} = await new Promise<number>((r) => setTimeout(() => r(${i}), 1)); late${i % 8}`;
    default: return `Array.from({ length: 100 }, (_, k) => ({ k, square: k ** 2 })).filter(({ k }) => k % 2 === 0).length`;
  }
}

test(`memory stays flat over ${CELLS} cells`, async () => {
  const kernel = await TestKernel.start({ env: { NODE_OPTIONS: "--expose-gc" } });
  try {
    const heap = async (): Promise<number> => {
      const code = "(globalThis as any).gc(); await null; (globalThis as any).gc(); process.memoryUsage().heapUsed + process.memoryUsage().external";
      return Number((await kernel.execute(code, { store_history: false })).result) / 2 ** 20;
    };
    const run = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) {
        await kernel.execute(cell(i));
        if (i % 10 === 0) await kernel.request("complete_request", { code: "w0.", cursor_pos: 3 });
      }
    };
    await run(0, CELLS / 4);
    const early = await heap();
    await run(CELLS / 4, CELLS);
    const late = await heap();
    // Source, map and history of each cell are kept: some ten kilobytes a cell at the most.
    expect(late - early).toBeLessThan(0.75 * CELLS * 0.02);
  } finally {
    await kernel.stop();
  }
});
