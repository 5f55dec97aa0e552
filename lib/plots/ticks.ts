/** Where an axis has its ticks, and what is written there. */
export interface Tick { at: number; label: string }

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
export const superscript = (n: number): string =>
  (n < 0 ? "⁻" : "") + [...String(Math.abs(n))].map((d) => SUPERSCRIPT[Number(d)]).join("");

/** A number in at most about four significant digits, as short as it stays readable. */
export function short(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "-∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return String(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

/** About `count` round steps (1, 2 or 5 times a power of ten) that cover [lo, hi]. */
export function linearTicks(lo: number, hi: number, count = 6): Tick[] {
  const span = hi - lo;
  if (!(span > 0)) return [{ at: lo, label: short(lo) }];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999)!;
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks: Tick[] = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + step * 1e-9; i++) {
    const at = i * step;
    const small = Math.max(Math.abs(lo), Math.abs(hi)) < 1e-3 || Math.abs(at) >= 1e6;
    ticks.push({ at: at === 0 ? 0 : at, label: i === 0 ? "0" : small ? short(at, 3) : at.toFixed(decimals) });
  }
  return ticks;
}

/** Powers of ten between the two exponents; within less than one decade, 1, 2 and 5 of each. Positions are exponents. */
export function logTicks(lo: number, hi: number, count = 7): Tick[] {
  const first = Math.ceil(lo - 1e-9);
  const last = Math.floor(hi + 1e-9);
  if (last - first < 1) {
    const ticks: Tick[] = [];
    for (let e = Math.floor(lo); e <= Math.ceil(hi); e++) {
      for (const m of [1, 2, 5]) {
        const at = e + Math.log10(m);
        if (at >= lo - 1e-9 && at <= hi + 1e-9) ticks.push({ at, label: short(m * 10 ** e, 3) });
      }
    }
    return ticks;
  }
  const step = Math.max(1, Math.ceil((last - first) / count));
  const ticks: Tick[] = [];
  for (let e = last; e >= first; e -= step) ticks.push({ at: e, label: e === 0 ? "1" : e === 1 ? "10" : `10${superscript(e)}` });
  return ticks.reverse();
}
