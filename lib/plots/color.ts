/** Colours that keep a contrast of about 3 or more on white and on near-black, so one picture serves both themes. */
export const PALETTE = ["#2f7fd1", "#d9730d", "#2a9d5c", "#d1495b", "#8e63ce", "#1a9aa8", "#d65fa8", "#9a6b4b"] as const;

/** Text and axis lines: readable on both backgrounds. */
export const INK = "#7a7a7a";
export const GRID = "rgba(128,128,128,0.25)";

export type Scale = readonly (readonly [position: number, color: string])[];

/** For signed values: blue below zero, red above. */
export const DIVERGING: Scale = [
  [0, "#2166ac"], [0.25, "#7fb1d6"], [0.5, "#f4f4f4"], [0.75, "#ef9b7e"], [1, "#b2182b"],
];
/** For values of one sign: dark is small, bright is large. */
export const SEQUENTIAL: Scale = [
  [0, "#440154"], [0.25, "#3b528b"], [0.5, "#21918c"], [0.75, "#5ec962"], [1, "#fde725"],
];

const channels = (hex: string): number[] => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** The colour at t (clamped to [0, 1]) of a scale, as #rrggbb. */
export function colorAt(scale: Scale, t: number): string {
  const at = Math.min(1, Math.max(0, t));
  let right = scale.findIndex(([position]) => position >= at);
  if (right <= 0) right = 1;
  const [t0, c0] = scale[right - 1]!;
  const [t1, c1] = scale[right]!;
  const share = (at - t0) / (t1 - t0);
  const [a, b] = [channels(c0), channels(c1)];
  return "#" + a.map((v, i) => Math.round(v + (b[i]! - v) * share).toString(16).padStart(2, "0")).join("");
}

/** Black or white, whichever reads better on the colour (relative luminance of WCAG 2). */
export function inkOn(hex: string): "#000000" | "#ffffff" {
  const [r, g, b] = channels(hex).map((c) => {
    const s = c / 255;
    return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
