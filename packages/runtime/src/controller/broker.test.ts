/** What a broker refuses of clients that no library would make: packets by the byte, over loopback. */
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { parseAddress } from '../link/address.js';
import { type Broker, startBroker } from './broker.js';

let broker: Broker;
let lines: string[] = [];
const clients: Client[] = [];

beforeEach(async () => {
  lines = [];
  broker = await startBroker({ cluster: 'home', listen: '127.0.0.1:0', log: (line) => lines.push(line) });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await broker.close();
});

function text(value: string): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(value.length);
  return Buffer.concat([head, Buffer.from(value)]);
}

function packet(head: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  for (let left = body.length; ; left = Math.floor(left / 128)) {
    length.push((left % 128) | (left < 128 ? 0 : 128));
    if (left < 128) break;
  }
  return Buffer.concat([Buffer.from([head, ...length]), body]);
}

const hello = (id: string, clean = true): Buffer =>
  packet(0x10, text('MQTT'), Buffer.from([4, clean ? 2 : 0, 0, 60]), text(id));
const publish = (topic: string, payload: string | Buffer, { qos = 0, retain = false, id = 1 } = {}): Buffer =>
  packet(
    0x30 | (qos << 1) | (retain ? 1 : 0),
    text(topic),
    qos === 0 ? Buffer.alloc(0) : Buffer.from([0, id]),
    Buffer.from(payload as string),
  );
const subscribe = (filters: readonly string[]): Buffer =>
  packet(0x82, Buffer.from([0, 1]), ...filters.flatMap((filter) => [text(filter), Buffer.from([0])]));
const PING = Buffer.from([0xc0, 0]);

class Client {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  closed = false;

  constructor(...packets: Buffer[]) {
    this.socket = connect(parseAddress(broker.address));
    this.socket.on('error', () => undefined);
    this.socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.socket.once('close', () => {
      this.closed = true;
    });
    clients.push(this);
    for (const bytes of packets) this.socket.write(bytes);
  }

  get heard(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  /** Whether the broker answers this one's ping, rather than hanging up. */
  async stays(): Promise<boolean> {
    const from = this.heard.length;
    this.socket.write(PING);
    await until(() => this.closed || this.heard.includes(Buffer.from([0xd0, 0]), from));
    return !this.closed;
  }
}

const own = 'distredge/home/devices/a';

describe('a broker', () => {
  it('lets a device in that speaks of itself', async () => {
    const client = new Client(hello('device-a'), publish(`${own}/status`, '{}', { retain: true }));
    expect(await client.stays()).toBe(true);
    expect(lines).toEqual([]);
  });

  it('takes nothing from a client before it is let in, or after it was not', async () => {
    for (const id of ['nobody', 'device-controller']) {
      const client = new Client(Buffer.concat([hello(id), publish('distredge/home/ask', '{}'), PING]));
      await until(() => client.closed);
    }
    const before = new Client(Buffer.concat([publish(`${own}/status`, '{}'), hello('device-a'), PING]));
    await until(() => before.closed);
    // All at once, so that it speaks while the broker still looks at who it is.
    const hasty = new Client(Buffer.concat([hello('device-a'), publish(`${own}/status`, '{}'), PING]));
    await until(() => hasty.closed || hasty.heard.length >= 6);
    expect(await new Client(hello('device-b')).stays()).toBe(true);
  });

  it('keeps nothing for clients that are away', async () => {
    const client = new Client(hello('device-a', false));
    await until(() => client.closed);
    expect(lines.join()).toMatch(/not authorized/i);
  });

  it('keeps few unfinished messages of one client', async () => {
    const packets = Array.from({ length: 9 }, (_, id) => publish(`${own}/status`, '{}', { qos: 2, id: id + 1 }));
    const client = new Client(hello('device-a'), ...packets);
    await until(() => client.closed);
    expect(lines.join()).toContain('maxInflightInbound');
  });

  it('keeps few filters of one client', async () => {
    const filters = (from: number): string[] =>
      Array.from({ length: 100 }, (_, at) => `distredge/home/events/${from + at}`);
    const client = new Client(hello('observer-a'));
    for (const from of [0, 100, 200, 300]) {
      client.socket.write(subscribe(filters(from)));
      expect(await client.stays()).toBe(true);
    }
    // A granted filter is answered by its QoS, a refused one by 128.
    expect([...client.heard].filter((byte) => byte === 128).length).toBeGreaterThanOrEqual(100);
  });

  it('keeps as much of one device as it may, and leaves room for the others', async () => {
    const greedy = new Client(hello('device-a'));
    const payload = Buffer.alloc(2 ** 21, 0x20);
    for (let count = 0; count < 30 && !greedy.closed; count++) {
      greedy.socket.write(publish(`${own}/profile/h${count}`, payload, { retain: true }));
      if (!(await greedy.stays())) break;
    }
    await until(() => greedy.closed);
    expect(lines.join()).toContain('as much of one device');
    const other = new Client(
      hello('device-b'),
      publish('distredge/home/devices/b/profile/h', payload, { retain: true }),
    );
    expect(await other.stays()).toBe(true);
    // What it takes back makes room again.
    const again = new Client(hello('device-a'), publish(`${own}/profile/h0`, '', { retain: true }));
    again.socket.write(publish(`${own}/profile/h0`, payload, { retain: true }));
    expect(await again.stays()).toBe(true);
  });

  it('keeps of what it reads only what is retained', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const outside = async (): Promise<number> => {
      for (let times = 0; times < 3; times++) {
        collect();
        await new Promise((resolve) => setImmediate(resolve));
      }
      return process.memoryUsage().arrayBuffers;
    };
    const client = new Client(hello('device-a'));
    const before = await outside();
    for (let count = 0; count < 400; count++) {
      const long = publish(`${own}/answer`, Buffer.alloc(2 ** 14, 0x20));
      client.socket.write(Buffer.concat([long, publish(`${own}/link/p${count}`, '{"mbps":1}', { retain: true })]));
      if (count % 20 === 19) expect(await client.stays()).toBe(true);
    }
    expect((await outside()) - before).toBeLessThan(2 * 2 ** 20);
  });

  it('goes on while one of its clients does not read', async () => {
    const deaf = new Client(hello('observer-deaf'), subscribe(['distredge/home/#']));
    expect(await deaf.stays()).toBe(true);
    deaf.socket.pause();
    const loud = new Client(hello('device-a'));
    const payload = Buffer.alloc(2 ** 18, 0x20);
    for (let count = 0; count < 180; count++) {
      loud.socket.write(publish(`${own}/profile/h`, payload));
      expect(await loud.stays()).toBe(true);
    }
    await until(() => lines.some((line) => line.startsWith('observer-deaf')));
  });
});
