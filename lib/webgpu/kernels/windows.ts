/** What kernels of sliding windows have in common: one invocation for each number of the result. */

export const WINDOW_SIZE = 64;

/**
 * [numbers of the result, H, W, OH, OW, kernel's height and width, stride down and right, padding above and left]
 */
export const PARAMS = /* wgsl */ `
struct Params { n: u32, H: u32, W: u32, OH: u32, OW: u32, kh: u32, kw: u32, sh: u32, sw: u32, ph: u32, pw: u32 }`;

export const MAIN = /* wgsl */ `
@compute @workgroup_size(${WINDOW_SIZE})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let o = (group.x + group.y * groups.x) * ${WINDOW_SIZE}u + local;
  if (o >= p.n) { return; }`;

/**
 * The place of the result as a pixel of x, counted with the padding, and the first windows that reach it: the smallest i
 * with i sh + kh > row. The last are those with i sh <= row.
 */
export const PIXEL = /* wgsl */ `
  let image = o / (p.H * p.W);
  let row = (o / p.W) % p.H + p.ph;
  let column = o % p.W + p.pw;
  let firstRow = select(0u, (row - p.kh) / p.sh + 1u, row >= p.kh);
  let firstColumn = select(0u, (column - p.kw) / p.sw + 1u, column >= p.kw);`;
