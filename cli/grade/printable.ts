/** Control characters, and those that turn the direction of what follows: a terminal or a page would obey them. */
const commands = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text of a student's as text only; lines and tabs stay. */
export const printable = (text: string): string => text.replace(commands, "?");

/** The same in one line, for a name or a sentence that has its place in a table. */
export const oneLine = (text: string): string => printable(text).replace(/[\n\t]/g, " ");
