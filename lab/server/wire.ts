/**
 * One message of Jupyter's protocol as it passes through: on one side ZeroMQ frames with a signature, on the other a WebSocket
 * frame. The JSON parts stay the bytes that they came as; only the headers are ever read.
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

export type Channel = "shell" | "control" | "stdin" | "iopub";

export interface Message {
  channel: Channel;
  header: Buffer;
  parent: Buffer;
  metadata: Buffer;
  content: Buffer;
  buffers: Buffer[];
}

export interface Header {
  msg_id: string;
  msg_type: string;
  session: string;
  username: string;
  date: string;
  version: string;
}

const DELIMITER = Buffer.from("<IDS|MSG>");
/** The subprotocol in which every WebSocket frame is binary and the JSON parts stay apart. */
export const V1 = "v1.kernel.websocket.jupyter.org";

export function request(channel: Channel, msgType: string, content: object, msgId: string = randomUUID()): Message {
  const header: Header = { msg_id: msgId, msg_type: msgType, session: "gradbook-lab", username: "gradbook", date: new Date().toISOString(), version: "5.4" };
  const json = (value: object) => Buffer.from(JSON.stringify(value));
  return { channel, header: json(header), parent: json({}), metadata: json({}), content: json(content), buffers: [] };
}

function signature(key: string, message: Message): Buffer {
  if (key === "") return Buffer.alloc(0);
  const hmac = createHmac("sha256", key);
  for (const part of [message.header, message.parent, message.metadata, message.content]) hmac.update(part);
  return Buffer.from(hmac.digest("hex"));
}

/** Frames for a DEALER socket. */
export function toFrames(key: string, message: Message): Buffer[] {
  return [DELIMITER, signature(key, message), message.header, message.parent, message.metadata, message.content, ...message.buffers];
}

/** What a kernel sent; undefined when it is not a message or not signed with this kernel's key. */
export function fromFrames(key: string, channel: Channel, frames: Buffer[]): Message | undefined {
  const at = frames.findIndex((frame) => frame.equals(DELIMITER));
  if (at < 0 || frames.length < at + 6) return undefined;
  const [header, parent, metadata, content, ...buffers] = frames.slice(at + 2);
  const message: Message = { channel, header, parent, metadata, content, buffers };
  const expected = signature(key, message);
  const given = frames[at + 1];
  if (key !== "" && (expected.length !== given.length || !timingSafeEqual(expected, given))) return undefined;
  return message;
}

/** A header's fields, {} where there are none. */
export function readHeader(json: Buffer): Partial<Header> {
  return JSON.parse(json.toString()) as Partial<Header>;
}

/** Subprotocol v1: count and offsets as 64-bit little-endian numbers, then channel, header, parent, metadata, content, buffers. */
export function toV1(message: Message): Buffer {
  const parts = [Buffer.from(message.channel), message.header, message.parent, message.metadata, message.content, ...message.buffers];
  const count = parts.length + 1;
  const offsets = Buffer.alloc(8 * (1 + count));
  offsets.writeBigUInt64LE(BigInt(count), 0);
  let offset = offsets.length;
  for (let i = 0; i < count; i++) {
    offsets.writeBigUInt64LE(BigInt(offset), 8 * (1 + i));
    if (i < parts.length) offset += parts[i].length;
  }
  return Buffer.concat([offsets, ...parts]);
}

export function fromV1(data: Buffer): Message {
  const count = data.length >= 8 ? Number(data.readBigUInt64LE(0)) : 0;
  if (count < 6 || 8 * (1 + count) > data.length) throw new Error("not a kernel message");
  const offsets = Array.from({ length: count }, (_, i) => Number(data.readBigUInt64LE(8 * (1 + i))));
  if (offsets.some((offset, i) => offset > data.length || offset < (i === 0 ? 8 * (1 + count) : offsets[i - 1]))) throw new Error("not a kernel message");
  const [channel, header, parent, metadata, content, ...buffers] = offsets.slice(0, -1).map((offset, i) => data.subarray(offset, offsets[i + 1]));
  return checked({ channel: channel.toString() as Channel, header, parent, metadata, content, buffers });
}

/** Without a subprotocol a message is one JSON text, or, with buffers, a binary frame: count and offsets as 32-bit numbers, JSON, buffers. */
export function toDefault(message: Message): string | Buffer {
  const json = `{"channel":"${message.channel}","header":${message.header},"parent_header":${message.parent},"metadata":${message.metadata},"content":${message.content},"msg_id":${JSON.stringify(readHeader(message.header).msg_id)},"msg_type":${JSON.stringify(readHeader(message.header).msg_type)},"buffers":[]}`;
  if (message.buffers.length === 0) return json;
  const parts = [Buffer.from(json), ...message.buffers];
  const offsets = Buffer.alloc(4 * (1 + parts.length));
  offsets.writeUInt32BE(parts.length, 0);
  let offset = offsets.length;
  parts.forEach((part, i) => {
    offsets.writeUInt32BE(offset, 4 * (1 + i));
    offset += part.length;
  });
  return Buffer.concat([offsets, ...parts]);
}

export function fromDefault(data: Buffer, binary: boolean): Message {
  let json = data;
  let buffers: Buffer[] = [];
  if (binary) {
    const count = data.readUInt32BE(0);
    if (count < 1 || 4 * (1 + count) > data.length) throw new Error("not a kernel message");
    const offsets = Array.from({ length: count }, (_, i) => data.readUInt32BE(4 * (1 + i)));
    const parts = offsets.map((offset, i) => data.subarray(offset, offsets[i + 1] ?? data.length));
    json = parts[0];
    buffers = parts.slice(1);
  }
  const value = JSON.parse(json.toString()) as { channel?: Channel; header?: object; parent_header?: object; metadata?: object; content?: object };
  const part = (object: object | undefined) => Buffer.from(JSON.stringify(object ?? {}));
  return checked({ channel: value.channel ?? "shell", header: part(value.header), parent: part(value.parent_header), metadata: part(value.metadata), content: part(value.content), buffers });
}

function checked(message: Message): Message {
  if (!["shell", "control", "stdin"].includes(message.channel)) throw new Error(`no channel ${message.channel}`);
  if (typeof readHeader(message.header).msg_type !== "string") throw new Error("a message without msg_type");
  return message;
}
