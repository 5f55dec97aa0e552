import { compile, type EntryPoint, type Module } from "./compile";
import { WgslError, type Place } from "./lexer";
import { parse } from "./syntax";
import { memory, words, type Memory } from "./types";
import type { Invocation } from "./values";

export { WgslError };

/** What a kernel may be given: storage and uniform buffers, as 32-bit words. */
export type Words = Float32Array | Uint32Array | Int32Array;

export interface ShaderDispatch {
  /** Number of workgroups in x, y and z. */
  groups: [number, number?, number?];
  /** Buffers of group 0 by binding number; those declared read_write are written. */
  bindings: Record<number, Words>;
  /** Needed only where the module has several entry points. */
  entryPoint?: string;
}

/** A compute shader that runs on the CPU. */
export interface EmulatedShader {
  readonly entryPoints: { name: string; size: [number, number, number] }[];
  readonly bindings: { name: string; binding: number; writable: boolean; uniform: boolean }[];
  /** Runs the kernel; its results are then in the buffers. Returns how often its busiest invocation read from storage. */
  dispatch(run: ShaderDispatch): { loads: number };
}

/** More than this would take the CPU minutes. */
const MAX_INVOCATIONS = 1 << 20;

/**
 * Reads a WGSL compute shader and makes it runnable on the CPU, in float32 arithmetic, barrier by barrier. For machines
 * without a GPU and for tests: it interprets the very text that a GPU would get.
 *
 * What it holds a kernel to beyond a GPU: an index outside its array is an error (a GPU would clamp it), a barrier that
 * only some of a workgroup reach is an error, and each dispatch is run with the invocations in two opposite orders: when
 * the results differ, two invocations race for the same memory. Uniform control flow is checked as it runs, not before.
 *
 * @param source WGSL; the subset is stated at `compile`.
 * @throws WgslError with line and column for anything that is not valid, or outside the subset.
 */
export function emulate(source: string): EmulatedShader {
  const module = compile(parse(source));
  return {
    entryPoints: module.entries.map(({ name, size }) => ({ name, size })),
    bindings: module.bindings.map(({ name, binding, writable, uniform }) => ({ name, binding, writable, uniform })),
    dispatch(run) {
      const entry = run.entryPoint === undefined ? module.entries[0] : module.entries.find((e) => e.name === run.entryPoint);
      if (!entry) throw new WgslError(run.entryPoint ? `there is no @compute function ${run.entryPoint}` : "there is no @compute function");
      if (run.entryPoint === undefined && module.entries.length > 1) {
        throw new WgslError(`there are several @compute functions: name one of ${module.entries.map((e) => e.name).join(", ")}`);
      }
      const buffers = module.bindings.map((b) => {
        if (b.group !== 0) throw new WgslError(`${b.name} is in group ${b.group}; only group 0 is bound`);
        const given = run.bindings[b.binding];
        if (given === undefined) throw new WgslError(`nothing is bound to ${b.name} (binding ${b.binding})`);
        if (given.length < words(b.type)) {
          throw new WgslError(`${b.name} needs ${words(b.type) * 4} bytes, its buffer has ${given.byteLength}`);
        }
        return given;
      });
      const groups: [number, number, number] = [run.groups[0], run.groups[1] ?? 1, run.groups[2] ?? 1];
      const invocations = groups.concat(entry.size).reduce((a, b) => a * b, 1);
      if (!(invocations <= MAX_INVOCATIONS)) throw new WgslError(`${invocations} invocations are too many for the CPU`);

      const backwards = buffers.map((b) => b.slice());
      pass(module, entry, groups, backwards, true);
      const loads = pass(module, entry, groups, buffers, false);
      module.bindings.forEach((b, i) => {
        if (!b.writable) return;
        const at = bits(buffers[i]).findIndex((word, j) => word !== bits(backwards[i])[j]);
        if (at >= 0) {
          throw new WgslError(
            `${b.name}[${at}] depends on the order in which the invocations run: two of them race for the same memory (a barrier is missing, or both write one place)`,
          );
        }
      });
      return { loads };
    },
  };
}

const bits = (a: Words): Uint32Array => new Uint32Array(a.buffer, a.byteOffset, a.length);

const view = (name: string, a: Words): Memory => ({
  name,
  f32: new Float32Array(a.buffer, a.byteOffset, a.length),
  i32: new Int32Array(a.buffer, a.byteOffset, a.length),
  u32: bits(a),
});

/** One dispatch: every workgroup in turn, its invocations in turn from barrier to barrier. Returns the most loads of an invocation. */
function pass(module: Module, entry: EntryPoint, groups: [number, number, number], buffers: Words[], reverse: boolean): number {
  let most = 0;
  const memories = buffers.map((b, i) => view(module.bindings[i].name, b));
  const [sx, sy, sz] = entry.size;
  const total = groups[0] * groups[1] * groups[2];
  for (let n = 0; n < total; n++) {
    const g = reverse ? total - 1 - n : n;
    const id = [g % groups[0], Math.floor(g / groups[0]) % groups[1], Math.floor(g / (groups[0] * groups[1]))];
    const workgroup = memory("workgroup memory", module.workgroupWords);
    const invocations: Invocation[] = [];
    const running = Array.from({ length: sx * sy * sz }, (_, k) => {
      const i = reverse ? sx * sy * sz - 1 - k : k;
      const local = [i % sx, Math.floor(i / sx) % sy, Math.floor(i / (sx * sy))];
      const invocation: Invocation = {
        loads: 0,
        rounds: 0,
        workgroup,
        private: memory("private memory", module.privateWords),
        buffers: memories,
        builtins: {
          global_invocation_id: local.map((l, axis) => id[axis] * entry.size[axis] + l),
          local_invocation_id: local,
          local_invocation_index: i,
          workgroup_id: id,
          num_workgroups: [...groups],
        },
      };
      module.initialisePrivate(invocation);
      invocations.push(invocation);
      return entry.start(invocation);
    });
    for (;;) {
      const stops = running.map((r) => r.next());
      const waiting = stops.filter((s) => !s.done).map((s) => s.value as Place);
      if (waiting.length === 0) break;
      if (waiting.length < running.length || waiting.some((p) => p.line !== waiting[0].line || p.column !== waiting[0].column)) {
        throw new WgslError("only some invocations of the workgroup reach this barrier", waiting[0]);
      }
    }
    for (const { loads } of invocations) most = Math.max(most, loads);
  }
  return most;
}
