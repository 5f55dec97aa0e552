export { availableDevices, device, registerDevice, type Device, type DeviceName, type Implementation } from "./device";
export { defineLayer, type AnyLayer, type Cache, type Layer, type LayerDefinition } from "./layer";
export { type Integers } from "./inputs";
export { linear } from "./linear";
export { relu } from "./relu";
export { mse } from "./mse";
