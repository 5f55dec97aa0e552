/** Text to learn from, and the ways to cut it into tokens. */
import { prideAndPrejudice } from "./austen";
import { usConstitution } from "./constitution";

export { bytePairs, characters, type Tokenizer } from "./tokenizer";

/** The texts that ship with the library; both are in the public domain, each file says why. */
export const texts = {
  /** Jane Austen, 1813, chapters 1 to 21: 211,000 characters of narration and talk. */
  austen: prideAndPrejudice,
  /** The Constitution of the United States and its amendments: 44,000 characters of law. */
  constitution: usConstitution,
} as const;
