/** Which calls a check makes: fresh instances from a seed, and the same again to see what must not change. */
import { rng, Tensor, type Rng } from "gradbook";
import { copy } from "./data";
import type { Args, Exercise, Part } from "./spec";

export interface Call {
  part: number;
  /**
   * instance: compared with the reference; again: instance 0 once more; combined: instance 0 with another cotangent,
   * a third one, and a combination of both; large: timed.
   */
  purpose: "instance" | "again" | "combined" | "large";
  args: Args;
}

export interface Plan {
  seed: string;
  calls: Call[];
}

/** The weights of the linear combination that the linearity check makes. */
export const combination = [2, -3] as const;

/** A whole number from a text, by FNV-1a. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/** A fresh instance; drawn again where it lies on a kink, at most 200 times. */
function draw(part: Part, random: Rng, instance: number): Args {
  let args = part.draw(random, instance);
  for (let tries = 0; part.kink && part.kink(args) < 1e-3 && tries < 200; tries++) args = part.draw(random, instance);
  return args;
}

function shapedLike(value: unknown, random: Rng): Tensor | number {
  if (!(value instanceof Tensor)) return random.normal();
  const data = value.data.slice();
  for (let i = 0; i < data.length; i++) data[i] = random.normal();
  return new Tensor(data, value.shape);
}

function combine(a: unknown, b: unknown): Tensor | number {
  const [s, t] = combination;
  if (!(a instanceof Tensor)) return s * (a as number) + t * (b as number);
  const data = a.data.slice();
  for (let i = 0; i < data.length; i++) data[i] = s * data[i] + t * (b as Tensor).data[i];
  return new Tensor(data, a.shape);
}

/** Draws every call of one check of `exercise`. The same seed gives the same calls on every machine. */
export function plan(exercise: Exercise, seed: string, options: { large?: boolean; instances?: number } = {}): Plan {
  const calls: Call[] = [];
  exercise.parts.forEach((part: Part, index) => {
    const random = rng(hash(`${seed}/${exercise.id}/${part.name}`));
    const add = (purpose: Call["purpose"], args: Args): void => void calls.push({ part: index, purpose, args });
    const count = options.instances ?? Math.max(3, part.instances ?? 4);
    const drawn = Array.from({ length: count }, (_, instance) => draw(part, random, instance));
    for (const args of drawn) add("instance", args);
    const { cotangent } = part;
    if (cotangent) {
      const other = shapedLike(drawn[0][cotangent], random);
      add("combined", { ...copy(drawn[0]), [cotangent]: other });
      add("combined", { ...copy(drawn[0]), [cotangent]: combine(drawn[0][cotangent], other) });
    }
    if (!part.statistical) add("again", drawn[0]);
    // Each large instance is called once: whoever keeps results from call to call gains nothing.
    for (let i = 0; part.large && options.large !== false && i < 2; i++) add("large", part.large(random));
  });
  return { seed, calls };
}
