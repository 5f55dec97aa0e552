/** One invocation a row: dx = y (dy - Σ y dy). */
export const rowKernel = `
struct Dims { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> dims: Dims;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= dims.rows) {
    return;
  }
  let start = id.x * dims.columns;
  var s = 0.0;
  for (var j = 0u; j < dims.columns; j++) {
    s += y[start + j] * dy[start + j];
  }
  for (var j = 0u; j < dims.columns; j++) {
    dx[start + j] = y[start + j] * (dy[start + j] - s);
  }
}
`;

/** One workgroup of 64 a row, the sum in shared memory. */
export const groupKernel = `
struct Dims { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> dims: Dims;

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let start = group.x * dims.columns;
  var s = 0.0;
  for (var j = lane; j < dims.columns; j += 64u) {
    s += y[start + j] * dy[start + j];
  }
  partial[lane] = s;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  let total = partial[0];
  for (var j = lane; j < dims.columns; j += 64u) {
    dx[start + j] = y[start + j] * (dy[start + j] - total);
  }
}
`;
