/**
 * The access point's word on who may send. The rules of simulation say that every link carries one message at a time, in the
 * order of issue, and a shared medium one in all; sockets by themselves would share a link among all that is being sent.
 * So a member announces a message, sends it when it is told to, and its receiver tells when the last byte is there.
 *
 * Announcements go over a Unix socket, not over the shaped links: they are some ten bytes, which no medium would notice.
 */
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { DistrEdgeError } from '@distredge/core';

/** `fair`: nobody is asked, sockets share the links. `sender`: each sender's own order only. `ordered`: the rules of simulation. */
export type Access = 'fair' | 'sender' | 'ordered';

interface Announced {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly socket: Socket;
  sending: boolean;
}

const MAX_LINE = 256;

/** Grants links to messages; lives in the testbed's own process. */
export class AccessPoint {
  readonly #access: Access;
  readonly #shared: boolean;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** In the order of issue. */
  #queue: Announced[] = [];

  private constructor(access: Access, shared: boolean) {
    this.#access = access;
    this.#shared = shared;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static open(path: string, access: Access, shared: boolean): Promise<AccessPoint> {
    const point = new AccessPoint(access, shared);
    return new Promise((resolve, reject) => {
      point.#server.once('error', reject);
      point.#server.listen(path, () => resolve(point));
    });
  }

  /** Messages announced and not arrived. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Forgets what was announced: between programs. */
  reset(): void {
    this.#queue = [];
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#queue = this.#queue.filter((message) => message.socket !== socket);
      this.#grant();
    });
    onLines(socket, ([word, key = '']) => {
      const [from, to] = key.split(':').map(Number);
      if (word === 'send') this.#queue.push({ key, from: from ?? 0, to: to ?? 0, socket, sending: false });
      if (word === 'done') this.#queue = this.#queue.filter((message) => message.key !== key);
      this.#grant();
    });
  }

  /** A message may be sent when all that were issued before it have left the links that it needs. */
  #grant(): void {
    const uplinks = new Set<number>();
    const downlinks = new Set<number>();
    for (const message of this.#queue) {
      const { from, to, key, socket, sending } = message;
      const waits = uplinks.has(from) || (this.#access === 'ordered' && downlinks.has(to));
      if (!sending && !waits) {
        message.sending = true;
        socket.write(`go ${key}\n`);
      }
      uplinks.add(from);
      downlinks.add(to);
      if (this.#shared) return;
    }
  }
}

/** A member's end. */
export class Station {
  readonly #socket: Socket;
  readonly #waiting = new Map<string, () => void>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    onLines(socket, ([, key = '']) => {
      this.#waiting.get(key)?.();
      this.#waiting.delete(key);
    });
  }

  static async open(path: string): Promise<Station> {
    const socket = netConnect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.on('error', () => undefined);
    return new Station(socket);
  }

  /** Announces a message; resolves when it may be sent. Waits as long as the links are taken: images have deadlines. */
  turn(key: string): Promise<void> {
    if (this.#waiting.has(key)) {
      throw new DistrEdgeError('INTERNAL', 'a message is announced twice', { where: `message ${key}` });
    }
    return new Promise((resolve) => {
      this.#waiting.set(key, resolve);
      this.#socket.write(`send ${key}\n`);
    });
  }

  /** Tells that a message's last byte is here. */
  arrived(key: string): void {
    this.#socket.write(`done ${key}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Reads lines of words; ends a socket that sends none. */
function onLines(socket: Socket, line: (words: string[]) => void): void {
  let rest = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const one of lines) line(one.split(' '));
    if (rest.length > MAX_LINE) socket.destroy();
  });
}
