/** Comms: named channels between a cell's code and something in the front end, a widget for instance. */
import { randomUUID } from "node:crypto";
import type { Json, Message } from "./wire";

type Publish = (type: string, content: Json, buffers?: Uint8Array[]) => void;
type Listener = (data: unknown, buffers: Uint8Array[]) => void;

/** One open channel. */
export interface Comm {
  readonly id: string;
  readonly target: string;
  send(data: unknown, buffers?: Uint8Array[]): void;
  close(data?: unknown): void;
  onMessage(listener: Listener): void;
  onClose(listener: Listener): void;
}

/** What a cell finds under the name `comms`. */
export interface CommsApi {
  /** Calls `handler` whenever the front end opens a comm to `target`. */
  register(target: string, handler: (comm: Comm, data: unknown) => void): void;
  /** Opens a comm to a target that the front end knows. */
  open(target: string, data?: unknown, buffers?: Uint8Array[]): Comm;
}

class OpenComm implements Comm {
  messageListener: Listener | undefined;
  closeListener: Listener | undefined;

  constructor(readonly id: string, readonly target: string, private readonly owner: Comms) {}

  send(data: unknown, buffers?: Uint8Array[]): void {
    this.owner.publish("comm_msg", { comm_id: this.id, data }, buffers);
  }

  close(data: unknown = {}): void {
    if (this.owner.forget(this.id)) this.owner.publish("comm_close", { comm_id: this.id, data });
  }

  onMessage(listener: Listener): void {
    this.messageListener = listener;
  }

  onClose(listener: Listener): void {
    this.closeListener = listener;
  }
}

export class Comms {
  private readonly targets = new Map<string, (comm: Comm, data: unknown) => void>();
  private readonly comms = new Map<string, OpenComm>();

  constructor(readonly publish: Publish) {}

  readonly api: CommsApi = {
    register: (target, handler) => void this.targets.set(target, handler),
    open: (target, data = {}, buffers) => {
      const comm = new OpenComm(randomUUID(), target, this);
      this.comms.set(comm.id, comm);
      this.publish("comm_open", { comm_id: comm.id, target_name: target, data }, buffers);
      return comm;
    },
  };

  forget(id: string): boolean {
    return this.comms.delete(id);
  }

  list(target?: string): Record<string, { target_name: string }> {
    const open = [...this.comms.values()].filter((comm) => !target || comm.target === target);
    return Object.fromEntries(open.map((comm) => [comm.id, { target_name: comm.target }]));
  }

  /** A front end's comm_open, comm_msg or comm_close. */
  receive({ header, content, buffers }: Message): void {
    const id = String(content.comm_id);
    const comm = this.comms.get(id);
    if (header.msg_type === "comm_open") {
      const target = String(content.target_name);
      const handler = this.targets.get(target);
      if (!handler) {
        this.publish("comm_close", { comm_id: id, data: {} });
        return;
      }
      const opened = new OpenComm(id, target, this);
      this.comms.set(id, opened);
      handler(opened, content.data);
    } else if (header.msg_type === "comm_msg") comm?.messageListener?.(content.data, buffers);
    else if (header.msg_type === "comm_close" && comm) {
      this.comms.delete(id);
      comm.closeListener?.(content.data, buffers);
    }
  }
}
