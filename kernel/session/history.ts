/** What was run, for history requests. */

export interface Entry {
  line: number;
  input: string;
  output?: string;
}

/** [session, line, input] or, with outputs, [session, line, [input, output]]. */
export type Row = [number, number, string | [string, string | null]];

export interface HistoryQuery {
  hist_access_type?: string;
  output?: boolean;
  n?: number;
  /** 0 is this session; of others nothing is known. */
  session?: number;
  start?: number;
  stop?: number;
  pattern?: string;
  unique?: boolean;
}

/** A glob as the protocol means it: `*` for any text, `?` for one character, everything else literally. */
function glob(pattern: string): RegExp {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  return new RegExp(`^${source}$`, "s");
}

export class History {
  private readonly entries: Entry[] = [];

  /** @param limit how many entries are kept */
  constructor(private readonly limit = 10_000) {}

  add(line: number, input: string): Entry {
    const entry: Entry = { line, input };
    this.entries.push(entry);
    if (this.entries.length > this.limit) this.entries.shift();
    return entry;
  }

  find(query: HistoryQuery): Row[] {
    let found = this.entries;
    if (query.hist_access_type === "range") {
      const start = query.start ?? 0;
      const stop = query.stop ?? Infinity;
      found = (query.session ?? 0) === 0 ? found.filter(({ line }) => line >= start && line < stop) : [];
    } else {
      if (query.hist_access_type === "search") {
        const matches = glob(query.pattern ?? "*");
        found = found.filter(({ input }) => matches.test(input));
        // Of equal inputs the latest stands for all.
        if (query.unique) found = [...new Map(found.map((entry) => [entry.input, entry])).values()].sort((a, b) => a.line - b.line);
      }
      if (query.n !== undefined && query.n !== null) found = query.n > 0 ? found.slice(-query.n) : [];
    }
    return found.map(({ line, input, output }) => [0, line, query.output ? [input, output ?? null] : input]);
  }
}
