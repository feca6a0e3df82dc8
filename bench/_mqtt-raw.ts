/** MQTT 3.1.1 by the byte, right or wrong, for attacks that no client library would make; and both ends of a connection of it. */
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { HUNG_MS } from './_hostile-tools.js';

export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
} as const;

/** One packet: its fixed header, and the rest; `claimed` is the length that it says it has. */
export function packet(type: number, flags: number, parts: readonly Uint8Array[], claimed?: number): Buffer {
  const body = Buffer.concat(parts);
  const head = [(type << 4) | flags];
  let length = claimed ?? body.length;
  do {
    const digit = length % 128;
    length = Math.floor(length / 128);
    head.push(length > 0 ? digit | 128 : digit);
  } while (length > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

/** A text, or bytes in its place, with its length before it. */
export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length & 0xffff);
  return Buffer.concat([length, bytes]);
}

export function number(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value & 0xffff);
  return bytes;
}

export interface Will {
  readonly topic: string;
  readonly payload: Uint8Array;
}

export function connectPacket(id: string | Uint8Array, will?: Will, clean = true): Buffer {
  const flags = (clean ? 2 : 0) | (will === undefined ? 0 : 4 | 8 | 32);
  const last = will === undefined ? [] : [text(will.topic), text(will.payload)];
  return packet(PacketType.connect, 0, [text('MQTT'), Buffer.from([4, flags, 0, 60]), text(id), ...last]);
}

export function publishPacket(
  topic: string | Uint8Array,
  payload: Uint8Array,
  { qos = 0, retain = false, id = 1 }: { readonly qos?: number; readonly retain?: boolean; readonly id?: number } = {},
): Buffer {
  return packet(PacketType.publish, (qos << 1) | (retain ? 1 : 0), [
    text(topic),
    ...(qos === 0 ? [] : [number(id)]),
    payload,
  ]);
}

export function subscribePacket(filters: readonly string[], id = 1): Buffer {
  return packet(PacketType.subscribe, 2, [number(id), ...filters.flatMap((name) => [text(name), Buffer.from([1])])]);
}

/** Takes a stream of packets apart. */
class Reader {
  #held: Buffer = Buffer.alloc(0);

  push(chunk: Buffer, take: (type: number, flags: number, body: Buffer) => void): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (;;) {
      let [length, scale, at] = [0, 1, 1];
      for (; ; at++) {
        const byte = this.#held[at];
        if (byte === undefined) return;
        length += (byte & 127) * scale;
        scale *= 128;
        if (byte < 128) break;
      }
      const end = at + 1 + length;
      if (this.#held.length < end) return;
      const head = this.#held[0] ?? 0;
      take(head >> 4, head & 15, this.#held.subarray(at + 1, end));
      this.#held = this.#held.subarray(end);
    }
  }
}

/** An attacker's end of a connection to a broker. */
export class Talk {
  readonly #stream: Duplex;
  readonly #waiting: ((how: 'answered' | 'closed') => void)[] = [];
  /** Whether the broker let it in. */
  admitted = false;
  closed = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    const reader = new Reader();
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) =>
      reader.push(chunk, (type, _flags, body) => {
        if (type === PacketType.connack) this.admitted = body[1] === 0;
        if (type === PacketType.pingresp) this.#waiting.shift()?.('answered');
      }),
    );
    stream.once('close', () => {
      this.closed = true;
      for (const tell of this.#waiting.splice(0)) tell('closed');
    });
  }

  send(bytes: Uint8Array): void {
    if (!this.closed && this.#stream.writable) this.#stream.write(bytes);
  }

  /** Resolves when the broker has read all that was sent, or has closed the connection. */
  async settled(): Promise<'answered' | 'closed' | 'hung'> {
    if (this.closed) return 'closed';
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'hung'>((resolve) => {
      timer = setTimeout(() => resolve('hung'), HUNG_MS);
    });
    const settled = new Promise<'answered' | 'closed'>((resolve) => this.#waiting.push(resolve));
    this.send(packet(PacketType.pingreq, 0, []));
    const how = await Promise.race([settled, late]);
    clearTimeout(timer);
    return how;
  }

  /** Hangs up without a word, as one does who leaves a last will. */
  end(): void {
    this.#stream.destroy();
  }
}

type Hears = (topic: string, payload: Buffer) => void;

/** A device's connection, as a broker has it that is up to no good. */
export class Prey {
  readonly #socket: Socket;
  /** By packet number, who waits for its acknowledgement. */
  readonly #acknowledged = new Map<number, () => void>();
  readonly #hears: Hears;
  readonly #asked: (filter: string, prey: Prey) => void;
  closed = false;
  #id = 0;

  constructor(socket: Socket, asked: (filter: string, prey: Prey) => void, hears: Hears) {
    this.#socket = socket;
    this.#asked = asked;
    this.#hears = hears;
    const reader = new Reader();
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => reader.push(chunk, (type, flags, body) => this.#take(type, flags, body)));
    socket.once('close', () => {
      this.closed = true;
      for (const tell of this.#acknowledged.values()) tell();
      this.#acknowledged.clear();
    });
  }

  #take(type: number, flags: number, body: Buffer): void {
    if (type === PacketType.connect) this.send(packet(PacketType.connack, 0, [Buffer.from([0, 0])]));
    else if (type === PacketType.pingreq) this.send(packet(PacketType.pingresp, 0, []));
    else if (type === PacketType.unsubscribe) this.send(packet(PacketType.unsuback, 0, [body.subarray(0, 2)]));
    else if (type === PacketType.subscribe) {
      this.send(packet(PacketType.suback, 0, [body.subarray(0, 2), Buffer.from([1])]));
      this.#asked(body.subarray(4, 4 + body.readUInt16BE(2)).toString(), this);
    } else if (type === PacketType.publish) {
      const end = 2 + body.readUInt16BE(0);
      if ((flags & 6) !== 0) this.send(packet(PacketType.puback, 0, [body.subarray(end, end + 2)]));
      this.#hears(body.subarray(2, end).toString(), body.subarray((flags & 6) === 0 ? end : end + 2));
    } else if (type === PacketType.puback) {
      const id = body.readUInt16BE(0);
      this.#acknowledged.get(id)?.();
      this.#acknowledged.delete(id);
    }
  }

  send(bytes: Uint8Array): void {
    if (!this.closed && this.#socket.writable) this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Says something that must be acknowledged; resolves when it is, or the device has hung up. */
  async tell(topic: string, payload: Uint8Array): Promise<'answered' | 'closed' | 'hung'> {
    if (this.closed) return 'closed';
    this.#id = (this.#id % 60_000) + 1;
    const id = this.#id;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'hung'>((resolve) => {
      timer = setTimeout(() => resolve('hung'), HUNG_MS);
    });
    const heard = new Promise<'answered' | 'closed'>((resolve) => {
      this.#acknowledged.set(id, () => resolve(this.closed ? 'closed' : 'answered'));
    });
    this.send(publishPacket(topic, payload, { qos: 1, id }));
    const how = await Promise.race([heard, late]);
    clearTimeout(timer);
    return how;
  }
}

/** A broker that says anything to its clients. `asked` is called for every filter that one subscribes to. */
export async function hostileBroker(
  asked: (filter: string, prey: Prey) => void,
  hears: Hears,
): Promise<{ readonly address: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    new Prey(socket, asked, hears);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    address: `127.0.0.1:${typeof bound === 'object' ? (bound?.port ?? 0) : 0}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
