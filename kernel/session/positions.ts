/** From a line and column of the running JavaScript to the line and column the student wrote. */

interface Mapping {
  generatedLine: number;
  generatedCharacter: number;
  sourceLine?: number;
  sourceCharacter?: number;
}

export interface Position {
  /** 1-based. */
  line: number;
  column: number;
}

export class SourcePositions {
  private lines: Mapping[][] | undefined;

  /**
   * @param map makes the source map; called when an error first asks
   * @param shift how many lines stand before the code in the JavaScript and in the source that the map speaks of
   */
  constructor(private readonly ts: typeof import("typescript"), private readonly map: () => string,
    private readonly shift: { generatedLines: number; sourceLines: number }) {}

  /** undefined for code that the student did not write. */
  find({ line, column }: Position): Position | undefined {
    const candidates = this.decoded()[line - 1 - this.shift.generatedLines];
    if (!candidates) return undefined;
    let best: Mapping | undefined;
    for (const mapping of candidates) {
      if (mapping.generatedCharacter <= column - 1 || !best) best = mapping;
    }
    const sourceLine = best!.sourceLine! - this.shift.sourceLines;
    return sourceLine < 0 ? undefined : { line: sourceLine + 1, column: best!.sourceCharacter! + 1 };
  }

  private decoded(): Mapping[][] {
    if (this.lines) return this.lines;
    this.lines = [];
    const { mappings } = JSON.parse(this.map()) as { mappings: string };
    // decodeMappings is not in TypeScript's declarations; it is what its own tests and tools use.
    const decode = (this.ts as unknown as { decodeMappings(text: string): Iterable<Mapping> }).decodeMappings;
    for (const mapping of decode(mappings)) {
      if (mapping.sourceLine !== undefined) (this.lines[mapping.generatedLine] ??= []).push({ ...mapping });
    }
    return this.lines;
  }
}
