/** onnxruntime-node's matmul on one thread: a model of one MatMul, written as the protobuf that it is. */
import ort from "onnxruntime-node";
import { best, print } from "./time.mjs";

const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const field = (number, bytes) => [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes];
const number = (id, value) => [...varint(id << 3), ...varint(value)];
const text = (s) => [...Buffer.from(s)];
const float = 1;
const value = (name) => [...field(1, text(name)), ...field(2, field(1, [...number(1, float), ...field(2, [...field(1, field(2, text("m"))), ...field(1, field(2, text("n")))])]))];
const node = [...field(1, text("a")), ...field(1, text("b")), ...field(2, text("c")), ...field(4, text("MatMul"))];
const graph = [...field(1, node), ...field(2, text("g")), ...field(11, value("a")), ...field(11, value("b")), ...field(12, value("c"))];
const model = Uint8Array.from([...number(1, 8), ...field(7, graph), ...field(8, [...field(1, []), ...number(2, 13)])]);

const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
const times = {};
for (const n of [256, 512, 1024]) {
  const draw = () => new ort.Tensor("float32", Float32Array.from({ length: n * n }, () => Math.random() - 0.5), [n, n]);
  const [a, b] = [draw(), draw()];
  times[`matmul ${n}`] = await best(() => session.run({ a, b }));
}
print(times);
