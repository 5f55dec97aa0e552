/** A part's `call` as text, for the process that holds the student's code and must not hold the reference. */
import * as gradbook from "gradbook";
import type { Entry } from "./probe";
import type { Exercise, Part } from "./spec";

export type EntryText = Omit<Entry, "call"> & { call: string };

/** What the student's process is told of an exercise. */
export function entryTexts(exercise: Exercise): EntryText[] {
  return exercise.parts.map((part: Part) => ({
    entry: part.entry,
    kind: part.kind ?? "function",
    also: part.also ?? [],
    call: part.call.toString(),
  }));
}

/** The call again, with nothing in reach but the library. Methods and arrow functions print themselves differently. */
export function readEntries(texts: readonly EntryText[], library: Record<string, unknown> = gradbook): Entry[] {
  return texts.map((text) => {
    const method = /^(async\s+)?call\s*\(/.test(text.call);
    const expression = method ? `({ ${text.call} }).call` : `(${text.call})`;
    return { ...text, call: new Function("gradbook_1", `"use strict"; return ${expression};`)(library) as Entry["call"] };
  });
}
