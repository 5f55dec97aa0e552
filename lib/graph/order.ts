/**
 * Topological order of everything that `outputs` depend on: parents before children.
 *
 * Kahn (1962): count each node's unread children, start from the outputs, and release a node when its last child
 * has been read. That yields children before parents, the order in which a backward pass runs; the result is reversed.
 * No recursion, so a chain of a million nodes does not overflow the stack.
 *
 * Source: Math for LLMs, section 3.1.
 * @throws if the graph has a cycle.
 */
export function topologicalOrder<N>(outputs: readonly N[], parents: (node: N) => readonly N[]): N[] {
  const unread = new Map<N, number>(outputs.map((node) => [node, 0]));
  const found = [...new Set(outputs)];
  for (let i = 0; i < found.length; i++) {
    for (const parent of parents(found[i])) {
      if (!unread.has(parent)) {
        unread.set(parent, 0);
        found.push(parent);
      }
      unread.set(parent, unread.get(parent)! + 1);
    }
  }
  const order = found.filter((node) => unread.get(node) === 0);
  for (let i = 0; i < order.length; i++) {
    for (const parent of parents(order[i])) {
      const left = unread.get(parent)! - 1;
      unread.set(parent, left);
      if (left === 0) order.push(parent);
    }
  }
  if (order.length < found.length) {
    throw new Error(`topologicalOrder: ${found.length - order.length} nodes lie on a cycle, expected an acyclic graph`);
  }
  return order.reverse();
}
