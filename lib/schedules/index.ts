/**
 * Learning rates over time. A schedule maps the step (0, 1, 2, ...) to a factor of the base rate:
 * `optimizer.lr = base * schedule(step)`.
 */
export type Schedule = (step: number) => number;

function checkSteps(who: string, name: string, steps: number): void {
  if (!(steps >= 1)) throw new Error(`${who}: ${name} is ${steps}, expected at least 1`);
}

/** Always 1. */
export const constantSchedule: Schedule = () => 1;

/** From 1 / steps up to 1 in `steps` steps, then 1: no big steps while Adam's moments are still unsettled. */
export function warmup(steps: number): Schedule {
  checkSteps("warmup", "steps", steps);
  return (step) => Math.min(1, (step + 1) / steps);
}

/** From 1 along half a cosine to `floor` at `total`, then flat (Loshchilov and Hutter 2017). */
export function cosine(total: number, floor = 0): Schedule {
  checkSteps("cosine", "total", total);
  return (step) => floor + ((1 - floor) * (1 + Math.cos(Math.PI * Math.min(1, step / total)))) / 2;
}

/** Linear warm-up for `steps`, then a cosine down to `floor` at `total`: the usual schedule of a language model. */
export function warmupCosine(steps: number, total: number, floor = 0): Schedule {
  checkSteps("warmupCosine", "total - steps", total - steps);
  const up = warmup(steps), down = cosine(total - steps, floor);
  return (step) => (step < steps ? up(step) : down(step - steps));
}

/** Multiplied by `factor` every `every` steps. */
export function stepDecay(every: number, factor = 0.1): Schedule {
  checkSteps("stepDecay", "every", every);
  return (step) => factor ** Math.floor(step / every);
}
