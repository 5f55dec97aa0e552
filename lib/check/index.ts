export {
  countedJacobian, gradient, hessian, hvp, jacobian, jvp, vjp, type CountedJacobian, type JacobianOptions,
} from "./derivatives";
export { Dual } from "./dual";
export {
  gradcheck, GradcheckResult, type Checkable, type GradcheckOptions, type InputCheck, type WithGradients,
} from "./gradcheck";
export { central, numericalGradient, richardson, type NumericalOptions, type Slope } from "./numerical";
export { Complex, complexStep, dualDerivative, DualNumber } from "./scalar";
