export interface Tokenizer {
  /** Token numbers run from 0 to size - 1. */
  readonly size: number;
  encode(text: string): Int32Array;
  decode(ids: ArrayLike<number>): string;
}

/** One token for each character that occurs in `texts`, numbered in alphabetical order. */
export function characters(...texts: string[]): Tokenizer & { readonly vocabulary: readonly string[] } {
  const vocabulary = [...new Set(texts.join(""))].sort();
  const ids = new Map(vocabulary.map((c, i) => [c, i]));
  return {
    size: vocabulary.length,
    vocabulary,
    encode(text) {
      return Int32Array.from([...text], (c) => {
        const id = ids.get(c);
        if (id === undefined) throw new Error(`characters: ${JSON.stringify(c)} is not in the vocabulary of ${vocabulary.length}`);
        return id;
      });
    },
    decode(tokens) {
      return Array.from(tokens, (id) => {
        if (vocabulary[id] === undefined) throw new Error(`characters: token ${id}, expected a whole number from 0 to ${vocabulary.length - 1}`);
        return vocabulary[id];
      }).join("");
    },
  };
}

/** GPT-2's byte pairs, 50,257 tokens (the gpt-tokenizer package). Its tables are read when this is first called. */
export function bytePairs(): Tokenizer {
  const { encode, decode } = require("gpt-tokenizer/encoding/r50k_base") as {
    encode(text: string): number[];
    decode(ids: number[]): string;
  };
  return {
    size: 50257,
    encode: (text) => Int32Array.from(encode(text)),
    decode: (ids) => decode(Array.from(ids)),
  };
}
