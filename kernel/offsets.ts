/** The protocol counts Unicode code points, JavaScript UTF-16 units. */

/** Index of a UTF-16 unit for a count of code points. */
export function fromCodePoints(text: string, count: number): number {
  let index = 0;
  for (const character of text) {
    if (count-- <= 0) break;
    index += character.length;
  }
  return index;
}

/** How many code points stand before a UTF-16 index. */
export function toCodePoints(text: string, index: number): number {
  let count = 0;
  for (const _ of text.slice(0, index)) count++;
  return count;
}
