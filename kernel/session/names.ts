/** Names that Node itself uses: a student's `let Map` is renamed instead of breaking the process. */

/** What was global before anything of a student's ran. */
const native = new Set([
  ...Object.getOwnPropertyNames(globalThis), "exports", "require", "module", "window", "self", "document", "define", "importScripts",
]);

/** Names that cannot be replaced globally. */
export function isNative(name: string): boolean {
  return native.has(name);
}

/** What a top-level name is called at run time. */
export function globalName(name: string): string {
  return native.has(name) ? `$cell_${name}` : name;
}
