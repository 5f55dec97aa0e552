/**
 * `defineLayer`: what every layer has in common, in one place. It checks inputs and options before any arithmetic,
 * names the gradients, leaves out those of frozen inputs, and chooses the device that runs the layer.
 */

import { formatShape, onesLike, sameShape, Tensor, zerosLike } from "../tensor";
import { checkInterrupt } from "../interrupt";
import { checkDevice, device, implementationOn, withDevice, type DeviceName, type Implementation, type Lazy } from "./device";
import {
  parseSpec,
  readInputs,
  type InputsOf,
  type InputSpecs,
  type OptionalName,
  type ReadInputs,
  type SmoothName,
} from "./inputs";
import { tell } from "./observe";
import type { Option, OptionSpecs } from "./options";

type Simplify<T> = { [K in keyof T]: T[K] };
type Value<T> = T extends Option<infer V> ? V : never;
type RequiredOption<O> = { [K in keyof O & string]: O[K] extends Option<any, true> ? K : never }[keyof O & string];

/** The options a layer's code receives: all of them. */
export type ReadOptions<O> = { readonly [K in keyof O]: Value<O[K]> };

/** The options a caller passes: the layer's own, and two that every layer has. */
export type OptionsOf<O, Z extends string> = Simplify<
  { readonly [K in RequiredOption<O>]: Value<O[K & keyof O]> } &
  { readonly [K in Exclude<keyof O & string, RequiredOption<O>>]?: Value<O[K & keyof O]> | undefined } & {
    /** Inputs that get no gradient. Replaces the layer's own list where it has one (a loss's target). */
    readonly frozen?: readonly Z[];
    /** Where to run; the default is what `device()` says. */
    readonly device?: DeviceName;
  }
>;

type OptionArguments<O, Z extends string> =
  [RequiredOption<O>] extends [never] ? [options?: OptionsOf<O, Z>] : [options: OptionsOf<O, Z>];

/** `d` + name for each input that was given, has gradients and is not frozen. */
export type GradientsOf<S, I, Z extends string> = {
  [K in Exclude<keyof I & SmoothName<S>, Z> as `d${K}`]: undefined extends I[K] ? Tensor | undefined : Tensor;
};

/** A name that the layer has no input for is a compile error. */
type NoOther<S, I> = { readonly [K in Exclude<keyof I, keyof S>]: never };

/** What a forward keeps for its backward. Each layer's is a type of its own. */
export interface Cache<N extends string = string, G = Record<string, Tensor>, V = unknown> {
  readonly layer: N;
  readonly inputs: Readonly<Record<string, Tensor | undefined>>;
  readonly options: Readonly<Record<string, unknown>>;
  /** What the forward worked out and the backward uses again. */
  readonly saved: V;
  readonly y: Tensor;
  readonly frozen: readonly string[];
  readonly device: DeviceName;
  /** Only a type: what `backward` will return. */
  readonly gradients?: G;
}

class LayerCache implements Cache {
  declare readonly gradients?: Record<string, Tensor>;

  constructor(
    readonly layer: string,
    readonly inputs: Readonly<Record<string, Tensor | undefined>>,
    readonly options: Readonly<Record<string, unknown>>,
    readonly saved: unknown,
    readonly y: Tensor,
    readonly frozen: readonly string[],
    readonly device: DeviceName,
    readonly ran: Implementation,
  ) {}
}

export interface Layer<
  N extends string, S extends InputSpecs, O extends OptionSpecs, V, F extends string,
> {
  readonly name: N;
  /** The shape of each input, as declared. */
  readonly inputs: S;
  /** The shape of y, as declared. */
  readonly output: string;
  readonly options: O;
  /** Inputs that have gradients, in order. */
  readonly differentiable: readonly SmoothName<S>[];

  /** Works out y, and keeps in `cache` what the backward needs. */
  forward<I extends InputsOf<S>, const Z extends SmoothName<S> = Extract<F, SmoothName<S>>>(
    inputs: I & NoOther<S, I>, ...options: OptionArguments<O, Z>
  ): { y: Tensor; cache: Cache<N, GradientsOf<S, I, Z>, V> };

  /**
   * The vector-Jacobian product: from dy = dL/dy (y's shape) the gradients dL/dinput, each named d + the input's name
   * and of its shape. dy may be left out when y is a scalar; it is then 1.
   */
  backward<G>(dy: Tensor | number | undefined, cache: Cache<N, G, V>): G;
  backward<G>(cache: Cache<N, G, V>): G;

  /**
   * The Jacobian-vector product: y, and how it moves (dy) when the inputs move along `tangents`.
   * Inputs without a tangent stand still.
   */
  jvp<I extends InputsOf<S>>(
    inputs: I & NoOther<S, I>,
    tangents: { readonly [K in SmoothName<S>]?: Tensor | undefined },
    ...options: OptionArguments<O, SmoothName<S>>
  ): { y: Tensor; dy: Tensor };
}

/** Any layer, for code that treats them alike. */
export interface AnyLayer {
  readonly name: string;
  readonly inputs: InputSpecs;
  readonly output: string;
  readonly differentiable: readonly string[];
  forward(inputs: any, options?: any): { y: Tensor; cache: any };
  backward(dy: any, cache?: any): any;
  jvp(inputs: any, tangents: any, options?: any): { y: Tensor; dy: Tensor };
}

export interface LayerDefinition<
  N extends string, S extends InputSpecs, O extends OptionSpecs, V, F extends string,
> {
  readonly name: N;
  readonly inputs: S;
  /** The shape of y in the names of the inputs' dimensions; for people. */
  readonly output: string;
  readonly options?: O;
  /** Inputs that get no gradient unless a caller's `frozen` says otherwise. */
  readonly frozen?: readonly F[];
  /** What shapes alone cannot say (a head count that divides, a class that exists): what is wrong, or nothing. */
  check?(inputs: ReadInputs<S>, options: ReadOptions<O>): string | undefined;
  forward(inputs: ReadInputs<S>, options: ReadOptions<O>): { y: Tensor; saved: V };
  backward(dy: Tensor, inputs: ReadInputs<S>, saved: V, options: ReadOptions<O>):
    { [K in SmoothName<S> as `d${K}`]: Lazy<Tensor> | (K extends OptionalName<S> ? undefined : never) };
  jvp(tangents: Simplify<{ readonly [K in Exclude<SmoothName<S>, OptionalName<S>>]: Tensor } &
      { readonly [K in SmoothName<S> & OptionalName<S>]?: Tensor }>,
    inputs: ReadInputs<S>, saved: V, options: ReadOptions<O>): Tensor;
}

/** Makes a layer from its forward, backward and jvp. */
export function defineLayer<
  const N extends string, const S extends InputSpecs, V = undefined, O extends OptionSpecs = {}, const F extends string = never,
>(definition: LayerDefinition<N, S, O, V, F>): Layer<N, S, O, V, F> {
  const { name } = definition;
  const cpu = definition as unknown as Implementation;
  const specs = new Map(Object.entries(definition.inputs).map(([input, spec]) => [input, parseSpec(spec)]));
  const options: OptionSpecs = definition.options ?? {};
  const differentiable = [...specs].filter(([, spec]) => !spec.integer).map(([input]) => input);

  const read = (given: unknown, chosen: unknown) => {
    const inputs = readInputs(name, specs, given);
    const own = readOptions(name, options, differentiable, chosen);
    const wrong = definition.check?.(inputs as any, own.values as any);
    if (wrong) throw new Error(`${name}: ${wrong}`);
    return { inputs, own: own.values, frozen: own.frozen ?? definition.frozen ?? [], on: own.device ?? device() };
  };

  const collect = ({ inputs, ran, saved, options: own, frozen }: LayerCache, dy: Tensor): Record<string, Tensor> => {
    const found = ran.backward(dy, inputs, saved, own);
    const wanted = differentiable.filter((input) => inputs[input] && !frozen.includes(input));
    // The last first: the backward pass goes on with that of x, and a device may do what follows along with it.
    const worked = [...wanted].reverse().map((input) => {
      const lazy = found[`d${input}`];
      const gradient = typeof lazy === "function" ? lazy() : lazy;
      const { shape } = inputs[input]!;
      if (!gradient || !sameShape(gradient.shape, shape)) {
        const got = gradient ? `has shape ${formatShape(gradient.shape)}` : "is missing";
        throw new Error(`${name}: the backward's d${input} ${got}, ${input} has shape ${formatShape(shape)}`);
      }
      return [`d${input}`, gradient] as const;
    });
    return Object.fromEntries(worked.reverse());
  };

  const layer = {
    name,
    inputs: definition.inputs,
    output: definition.output,
    options,
    differentiable,

    forward(given: unknown, chosen?: unknown) {
      checkInterrupt();
      const { inputs, own, frozen, on } = read(given, chosen);
      const ran = implementationOn(on, name, cpu, inputs, own);
      const { y, saved } = withDevice(on, () => ran.forward(inputs, own));
      tell(() => ({ layer: name, pass: "forward", device: on, given: inputs, made: { y } }));
      return { y, cache: new LayerCache(name, inputs, own, saved, y, frozen, on, ran) };
    },

    backward(first: unknown, second?: unknown) {
      checkInterrupt();
      const [dy, cache] = first instanceof LayerCache ? [undefined, first] : [first, second];
      if (!(cache instanceof LayerCache)) throw new Error(`${name}: backward needs the cache that forward returned`);
      if (cache.layer !== name) throw new Error(`${name}: backward was given the cache of ${cache.layer}`);
      const upstream = readUpstream(name, dy, cache.y);
      const gradients = withDevice(cache.device, () => collect(cache, upstream));
      tell(() => ({ layer: name, pass: "backward", device: cache.device, given: { dy: upstream }, made: gradients }));
      return gradients;
    },

    jvp(given: unknown, moving: Record<string, Tensor | undefined>, chosen?: unknown) {
      checkInterrupt();
      const { inputs, own, on } = read(given, chosen);
      const tangents = readTangents(name, differentiable, inputs, moving);
      const ran = implementationOn(on, name, cpu, inputs, own, "jvp");
      return withDevice(on, () => {
        const { y, saved } = ran.forward(inputs, own);
        return { y, dy: ran.jvp!(tangents, inputs, saved, own) };
      });
    },
  };
  return layer as unknown as Layer<N, S, O, V, F>;
}

function readOptions(layer: string, specs: OptionSpecs, differentiable: readonly string[], given: unknown): {
  values: Record<string, unknown>;
  frozen?: readonly string[];
  device?: DeviceName;
} {
  if (given !== undefined && (typeof given !== "object" || given === null)) {
    throw new Error(`${layer}: the options should be an object`);
  }
  const { frozen, device: on, ...rest } = (given ?? {}) as Record<string, unknown>;
  for (const name in rest) {
    if (!(name in specs)) throw new Error(`${layer}: there is no option ${name}, the options are ${[...Object.keys(specs), "frozen", "device"].join(", ")}`);
  }
  const values: Record<string, unknown> = {};
  for (const name in specs) {
    const spec = specs[name];
    const value = rest[name] === undefined ? spec.fallback : rest[name];
    if (value === undefined && spec.required) throw new Error(`${layer}: the option ${name} is missing, it should be ${spec.expected}`);
    if (!spec.valid(value)) throw new Error(`${layer}: the option ${name} is ${show(value)}, it should be ${spec.expected}`);
    values[name] = value;
  }
  if (frozen !== undefined) {
    const odd = Array.isArray(frozen) ? frozen.find((name) => !differentiable.includes(name)) : frozen;
    if (odd !== undefined) {
      throw new Error(`${layer}: frozen names ${show(odd)}, it should be a list of inputs with gradients: ${differentiable.join(", ")}`);
    }
  }
  if (on !== undefined) checkDevice(layer, on as DeviceName);
  return { values, frozen: frozen as readonly string[] | undefined, device: on as DeviceName | undefined };
}

function show(value: unknown): string {
  return typeof value === "number" ? String(value) : (JSON.stringify(value) ?? typeof value);
}

function readUpstream(layer: string, dy: unknown, y: Tensor): Tensor {
  if (dy === undefined) {
    if (y.size !== 1) throw new Error(`${layer}: dy is missing, it may be left out only for a scalar y, y has shape ${formatShape(y.shape)}`);
    return onesLike(y);
  }
  if (typeof dy === "number" && y.size === 1) return onesLike(y).mul(dy);
  if (!(dy instanceof Tensor)) throw new Error(`${layer}: dy should be a Tensor of y's shape ${formatShape(y.shape)}`);
  if (!sameShape(dy.shape, y.shape)) {
    throw new Error(`${layer}: dy has shape ${formatShape(dy.shape)}, y has shape ${formatShape(y.shape)}`);
  }
  if (dy.dtype !== y.dtype) throw new Error(`${layer}: dy is ${dy.dtype}, y is ${y.dtype}`);
  return dy;
}

function readTangents(
  layer: string, differentiable: readonly string[], inputs: Record<string, Tensor | undefined>,
  given: Record<string, Tensor | undefined>,
): Record<string, Tensor | undefined> {
  for (const [name, tangent] of Object.entries(given ?? {})) {
    if (tangent === undefined) continue;
    if (!differentiable.includes(name)) {
      throw new Error(`${layer}: there is no tangent of ${name}, the inputs with tangents are ${differentiable.join(", ")}`);
    }
    const of = inputs[name];
    if (!of) throw new Error(`${layer}: a tangent of ${name} was given, but not ${name} itself`);
    if (!(tangent instanceof Tensor)) throw new Error(`${layer}: the tangent of ${name} should be a Tensor`);
    if (!sameShape(of.shape, tangent.shape)) {
      throw new Error(`${layer}: the tangent of ${name} has shape ${formatShape(tangent.shape)}, ${name} has shape ${formatShape(of.shape)}`);
    }
    if (of.dtype !== tangent.dtype) throw new Error(`${layer}: the tangent of ${name} is ${tangent.dtype}, ${name} is ${of.dtype}`);
  }
  return Object.fromEntries(differentiable.map((name) => {
    const of = inputs[name];
    return [name, of && (given?.[name] ?? zerosLike(of))];
  }));
}
