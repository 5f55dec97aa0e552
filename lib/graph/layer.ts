import type { AnyLayer } from "../layers";
import { Tensor } from "../tensor";
import { isRecording } from "./recording";
import { Tape, Variable, type Operand, type Primitive } from "./tape";

declare module "./tape" {
  interface Tape {
    /**
     * Runs a whole layer as one line of the list: its explicit backward is the rule.
     * Tensors among the inputs are constants and get no gradient. Its backward is not itself recorded, so a second
     * derivative through it is refused, not wrong.
     */
    layer(layer: AnyLayer, inputs: Record<string, Operand | readonly unknown[] | undefined>, options?: object): Variable;
  }
}

Tape.prototype.layer = function (this: Tape, layer, inputs, options = {}) {
  const names = Object.keys(inputs).filter((name) => inputs[name] !== undefined && layer.differentiable.includes(name));
  const rest = Object.fromEntries(Object.entries(inputs)
    .filter(([name]) => !names.includes(name))
    .map(([name, value]) => [name, value instanceof Variable ? value.data : value]));
  const operands = names.map((name) => inputs[name] as Operand);
  const frozen = names.filter((_, i) => !(operands[i] instanceof Variable && operands[i].requiresGrad));
  const primitive: Primitive = {
    forward(tensors, _, cache) {
      const given = Object.fromEntries(names.map((name, i) => [name, tensors[i]]));
      const { y, cache: kept } = layer.forward({ ...rest, ...given }, { ...options, frozen });
      cache.kept = kept;
      return y;
    },
    backward(g, _, y, __, cache) {
      if (isRecording()) {
        throw new Error(`${layer.name}: its backward is not recorded, so it has no second derivative on a tape; ` +
          "write the layer in the tape's own operations, or use hvp");
      }
      const gradients: Record<string, Tensor | undefined> = layer.backward(g.data, cache.kept);
      return names.map((name) => {
        const gradient = gradients[`d${name}`];
        return gradient && y.tape.constant(gradient);
      });
    },
  };
  return this.record(layer.name, primitive, operands);
};
