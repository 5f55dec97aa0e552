/** Counts matrix products, for exercises that ask how large a matrix was formed. */
import { Tensor } from "gradbook";

const { matmul } = Tensor.prototype;
let largest = 0;

function counted(this: Tensor, other: Tensor): Tensor {
  const product = matmul.call(this, other);
  if (product.size > largest) largest = product.size;
  return product;
}

/** For a process that is about to freeze the library: from then on nothing can be put in the place of `matmul`. */
export function countProductsForGood(): void {
  Tensor.prototype.matmul = counted;
}

/** What `run` returned, and the elements of the largest product that it formed. */
export function largestProduct<T>(run: () => T): { value: T; largest: number } {
  const before = Tensor.prototype.matmul;
  const watched = before === counted;
  if (!watched) Tensor.prototype.matmul = counted;
  largest = 0;
  try {
    const value = run();
    return { value, largest };
  } finally {
    if (!watched) Tensor.prototype.matmul = before;
  }
}
