/** How a loss over many elements becomes one number, and how that number's gradient goes back to them. */

import { sizeOf, type Shape, type Tensor } from "../tensor";

export type Reduction = "mean" | "sum" | "none";

/** All elements as one number, or as they are. `count` is what a mean divides by. */
export function reduced(each: Tensor, reduction: Reduction, count = each.size): Tensor {
  return reduction === "none" ? each : reduction === "sum" ? each.sum() : each.sum().div(count);
}

/** The adjoint of `reduced`: each element's share of dy. */
export function spread(dy: Tensor, shape: Shape, reduction: Reduction, count = sizeOf(shape)): Tensor {
  return reduction === "none" ? dy : (reduction === "sum" ? dy : dy.div(count)).broadcastTo(shape);
}
