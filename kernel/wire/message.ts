/** Jupyter messages as ZeroMQ frames: identities, delimiter, signature, four JSON parts, raw buffers. */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

export const PROTOCOL_VERSION = "5.4";

const DELIMITER = Buffer.from("<IDS|MSG>");

/** JSON objects as they come off the wire: nothing about their fields is known yet. */
export type Json = Record<string, any>;

export interface Header {
  msg_id: string;
  session: string;
  username: string;
  date: string;
  msg_type: string;
  version: string;
}

export interface Message {
  /** The routing prefix a ROUTER socket needs to answer. */
  identities: Uint8Array[];
  header: Header;
  parent_header: Partial<Header>;
  metadata: Json;
  content: Json;
  buffers: Uint8Array[];
}

/** What is to be sent; `parent` is the header of the message that is being answered. */
export interface Outgoing {
  identities: (Uint8Array | string)[];
  type: string;
  parent?: Partial<Header>;
  metadata?: Json;
  content: Json;
  buffers?: Uint8Array[];
}

/** A message that cannot be read; the text says in one sentence what is wrong with it. */
export class MessageError extends Error {}

function sign(key: string, parts: readonly (Uint8Array | string)[]): Buffer {
  const hmac = createHmac("sha256", key);
  for (const part of parts) hmac.update(part);
  return Buffer.from(hmac.digest("hex"));
}

function parseObject(name: string, frame: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(frame).toString());
  } catch {
    throw new MessageError(`the message's ${name} is not JSON`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MessageError(`the message's ${name} is not a JSON object`);
  }
  return value;
}

/**
 * Reads the frames of one message and verifies its signature.
 * @param key the connection's key; an empty key means that messages are not signed
 * @throws MessageError when a frame is missing, unsigned or not JSON
 */
export function decode(key: string, frames: readonly Uint8Array[]): Message {
  const delimiter = frames.findIndex((frame) => DELIMITER.equals(frame));
  if (delimiter < 0) throw new MessageError("the message has no <IDS|MSG> delimiter");
  if (frames.length < delimiter + 6) {
    throw new MessageError(`the message has ${frames.length - delimiter - 1} frames after the delimiter, not at least 5`);
  }
  const parts = frames.slice(delimiter + 2, delimiter + 6);
  if (key !== "") {
    const expected = sign(key, parts);
    const given = frames[delimiter + 1];
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new MessageError(given.length === 0 ? "the message is not signed" : "the message's signature is wrong");
    }
  }
  const [header, parent_header, metadata, content] = ["header", "parent header", "metadata", "content"].map((name, i) =>
    parseObject(name, parts[i]));
  if (typeof header.msg_type !== "string" || typeof header.msg_id !== "string") {
    throw new MessageError("the message's header has no msg_type or no msg_id");
  }
  return {
    identities: frames.slice(0, delimiter),
    header: header as Header,
    parent_header,
    metadata,
    content,
    buffers: frames.slice(delimiter + 6),
  };
}

const session = randomUUID();

/** Turns a message into signed frames. */
export function encode(key: string, message: Outgoing): (Uint8Array | string)[] {
  const header: Header = {
    msg_id: randomUUID(),
    session,
    username: message.parent?.username ?? "kernel",
    date: new Date().toISOString(),
    msg_type: message.type,
    version: PROTOCOL_VERSION,
  };
  const parts = [header, message.parent ?? {}, message.metadata ?? {}, message.content].map((part) => JSON.stringify(part));
  const signature = key === "" ? "" : sign(key, parts);
  return [...message.identities, DELIMITER, signature, ...parts, ...(message.buffers ?? [])];
}
