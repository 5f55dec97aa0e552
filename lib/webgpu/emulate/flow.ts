/** Statements ready to run: each says how the control flow goes on, and where a barrier may be inside, yields its place. */

import { WgslError, type Place } from "./lexer";
import type { Code, Frame } from "./values";

/** Loops that run longer than this, in one invocation, are taken for endless. */
const MAX_ROUNDS = 1_000_000;

export enum Signal {
  next,
  break,
  continue,
  return,
}

/** A checked statement. `steps` exists where a barrier may be inside: it yields the barrier's place. */
export interface Step {
  run(f: Frame): Signal;
  steps?(f: Frame): Generator<Place, Signal>;
}

export function sequence(list: Step[]): Step {
  const run = (f: Frame): Signal => {
    for (const s of list) {
      const signal = s.run(f);
      if (signal !== Signal.next) return signal;
    }
    return Signal.next;
  };
  if (!list.some((s) => s.steps)) return { run };
  return {
    run,
    *steps(f) {
      for (const s of list) {
        const signal = s.steps ? yield* s.steps(f) : s.run(f);
        if (signal !== Signal.next) return signal;
      }
      return Signal.next;
    },
  };
}

/** Any loop: `before` is asked at the top, `after` runs between rounds and may ask to stop. */
export function repeat(before: Code | undefined, inside: Step, after: Step | undefined, until: Code | undefined, place: Place): Step {
  const count = (f: Frame): void => {
    if (++f.invocation.rounds > MAX_ROUNDS) throw new WgslError(`this loop does not end: ${MAX_ROUNDS} rounds in one invocation`, place);
  };
  const run = (f: Frame): Signal => {
    while (!before || before.get(f)) {
      count(f);
      const signal = inside.run(f);
      if (signal === Signal.break) break;
      if (signal === Signal.return) return signal;
      after?.run(f);
      if (until?.get(f)) break;
    }
    return Signal.next;
  };
  if (!inside.steps && !after?.steps) return { run };
  return {
    run,
    *steps(f) {
      while (!before || before.get(f)) {
        count(f);
        const signal = inside.steps ? yield* inside.steps(f) : inside.run(f);
        if (signal === Signal.break) break;
        if (signal === Signal.return) return signal;
        if (after) {
          if (after.steps) yield* after.steps(f);
          else after.run(f);
        }
        if (until?.get(f)) break;
      }
      return Signal.next;
    },
  };
}
