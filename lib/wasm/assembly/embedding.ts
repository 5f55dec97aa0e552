/** Rows of a table [V, d], looked up by number: ids [n]. */

@inline function at(p: usize, j: i32): usize {
  return p + (<usize>j << 2);
}

/** y[t] = E[ids[t]] */
export function embedding(n: i32, d: i32, E: usize, ids: usize, y: usize): void {
  for (let t = 0; t < n; t++) memory.copy(at(y, t * d), at(E, load<i32>(at(ids, t)) * d), <usize>d << 2);
}

/** dE[i] = the sum of dy[t] over all t with ids[t] = i; dE [V, d]. */
export function embeddingBackward(n: i32, V: i32, d: i32, dy: usize, ids: usize, dE: usize): void {
  memory.fill(dE, 0, <usize>(V * d) << 2);
  for (let t = 0; t < n; t++) {
    const from = at(dy, t * d);
    const to = at(dE, load<i32>(at(ids, t)) * d);
    let j = 0;
    for (; j + 4 <= d; j += 4) v128.store(at(to, j), f32x4.add(v128.load(at(to, j)), v128.load(at(from, j))));
    for (; j < d; j++) store<f32>(at(to, j), load<f32>(at(to, j)) + load<f32>(at(from, j)));
  }
}
