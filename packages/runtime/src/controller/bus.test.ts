/** Bus and broker together, over sockets of this machine. */
import { connect } from 'node:net';
import { DistrEdgeError } from '@distredge/core';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { type Broker, DEVICE_CLIENT, OBSERVER_CLIENT, startBroker } from './broker.js';
import { addressEndpoint, type Bus, brokerEndpoint, openBus } from './bus.js';
import { MAX_PAYLOAD } from './messages.js';
import { topicOf } from './topics.js';

const CLUSTER = 'home';
const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const action of undo.splice(0).reverse()) await action();
});

async function broker(listen = '127.0.0.1:0', log: string[] = []): Promise<Broker> {
  const started = await startBroker({ cluster: CLUSTER, listen, log: (line) => log.push(line) });
  undo.push(() => started.close());
  return started;
}

async function bus(at: Broker, clientId: string, more: Partial<Parameters<typeof openBus>[0]> = {}): Promise<Bus> {
  const opened = await openBus({ endpoint: addressEndpoint(at.address), clientId, deadlineMs: 5000, ...more });
  undo.push(() => opened.close());
  return opened;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const status = (id: string): string => topicOf(CLUSTER, { kind: 'status', id });

/** What a filter hears from now on, as `topic=payload`. */
async function hears(on: Bus, filter = `distredge/${CLUSTER}/#`): Promise<string[]> {
  const got: string[] = [];
  await on.subscribe(filter, (topic, payload) =>
    got.push(`${topic.split('/').slice(2).join('/')}=${Buffer.from(payload)}`),
  );
  return got;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof DistrEdgeError ? error.code : String(error)),
  );
}

describe('the control plane', () => {
  it('tells late comers what holds', async () => {
    const at = await broker();
    const device = await bus(at, `${DEVICE_CLIENT}a`);
    device.state(status('a'), bytes('1'));
    device.state(status('a'), bytes('2'));
    const inside = await openBus({ endpoint: { name: 'inside', open: () => at.connect() }, clientId: 'controller-1' });
    undo.push(() => inside.close());
    const got = await hears(inside);
    await until(() => got.includes('devices/a/status=2'));
  });

  it('says the last will of one that is gone without a word, not of one that left', async () => {
    const at = await broker();
    const watcher = await bus(at, `${OBSERVER_CLIENT}1`);
    const got = await hears(watcher);
    const sockets: ReturnType<typeof connect>[] = [];
    const { host, port } = { host: '127.0.0.1', port: Number(at.address.split(':')[1]) };
    const endpoint = {
      name: 'cut',
      open: () => {
        const socket = connect({ host, port });
        sockets.push(socket);
        return socket;
      },
    };
    const will = (id: string) => ({
      clientId: `${DEVICE_CLIENT}${id}`,
      will: { topic: status(id), payload: bytes('lost') },
    });
    await bus(at, '', { ...will('a'), endpoint });
    const leaver = await bus(at, '', will('b'));
    await leaver.close();
    sockets[0]?.destroy();
    await until(() => got.includes('devices/a/status=lost'));
    expect(got).not.toContain('devices/b/status=lost');
  });

  it('comes back after the broker was gone, and says everything again', async () => {
    const first = await broker();
    const states: boolean[] = [];
    const device = await bus(first, `${DEVICE_CLIENT}a`, { onState: (connected) => states.push(connected) });
    device.state(status('a'), bytes('here'));
    const orders = await hears(device, topicOf(CLUSTER, { kind: 'orders', id: 'a' }));
    await first.close();
    await until(() => !device.connected);
    expect(await codeOf(device.publish(status('a'), bytes('x')))).toBe('LINK_CLOSED');
    const second = await broker(first.address);
    await until(() => device.connected);
    const inside = await openBus({
      endpoint: { name: 'inside', open: () => second.connect() },
      clientId: 'controller-1',
    });
    undo.push(() => inside.close());
    const got = await hears(inside);
    await until(() => got.includes('devices/a/status=here'));
    await inside.publish(topicOf(CLUSTER, { kind: 'orders', id: 'a' }), bytes('go'));
    await until(() => orders.includes('devices/a/orders=go'));
    expect(states).toEqual([true, false, true]);
  });

  it.each([
    ['speaks of another device', `${DEVICE_CLIENT}a`, status('b'), 5],
    ['gives orders', `${DEVICE_CLIENT}a`, topicOf(CLUSTER, { kind: 'orders', id: 'a' }), 5],
    ['makes plans', `${DEVICE_CLIENT}a`, topicOf(CLUSTER, { kind: 'plan' }), 5],
    ['only watches and speaks', `${OBSERVER_CLIENT}1`, status('a'), 5],
    ['leaves the cluster', `${DEVICE_CLIENT}a`, 'distredge/away/devices/a/status', 5],
    ['says something without a topic', `${DEVICE_CLIENT}a`, 'nonsense', 5],
    ['says too much', `${DEVICE_CLIENT}a`, status('a'), MAX_PAYLOAD.status + 1],
    ['says more than a packet may hold', `${DEVICE_CLIENT}a`, status('a'), 8 * 2 ** 20],
  ])('cuts off one that %s', async (_what, clientId, topic, length) => {
    const log: string[] = [];
    const at = await broker('127.0.0.1:0', log);
    const inside = await openBus({ endpoint: { name: 'inside', open: () => at.connect() }, clientId: 'controller-1' });
    undo.push(() => inside.close());
    const got = await hears(inside, '#');
    const liar = await bus(at, clientId, { deadlineMs: 1000 });
    const sent = codeOf(liar.publish(topic, new Uint8Array(length)));
    await until(() => log.length > 0);
    await liar.close();
    expect(await sent).not.toBe('none');
    expect(got).toEqual([]);
    // Others are served as before.
    const good = await bus(at, `${DEVICE_CLIENT}c`);
    good.state(status('c'), bytes('here'));
    await hears(inside, `distredge/${CLUSTER}/+/+/+`).then((later) =>
      until(() => later.includes('devices/c/status=here')),
    );
  });

  it.each(['', 'controller-1', 'a', `${DEVICE_CLIENT}controller`, `${DEVICE_CLIENT}a/b`])(
    'lets no client %j in',
    async (clientId) => {
      const at = await broker();
      expect(await codeOf(openBus({ endpoint: addressEndpoint(at.address), clientId, deadlineMs: 3000 }))).toBe(
        'LINK_FAILED',
      );
    },
  );

  it('closes connections that say nothing, or no MQTT', async () => {
    const at = await broker();
    const port = Number(at.address.split(':')[1]);
    const noise = connect({ port, host: '127.0.0.1' });
    noise.on('error', () => undefined);
    noise.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => noise.once('close', resolve));
    const device = await bus(at, `${DEVICE_CLIENT}a`);
    expect(device.connected).toBe(true);
  });

  it('outlives whatever bytes come, and serves others meanwhile', async () => {
    const at = await broker();
    const port = Number(at.address.split(':')[1]);
    const device = await bus(at, `${DEVICE_CLIENT}good`);
    const topic = Buffer.from(status('evil'));
    const text = (value: Buffer | string): Buffer =>
      Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
    const packet = (type: number, ...parts: Buffer[]): Buffer => {
      const body = Buffer.concat(parts);
      return Buffer.concat([Buffer.from([type, body.length]), body]);
    };
    const hello = packet(0x10, text('MQTT'), Buffer.from([4, 2, 0, 60]), text(`${DEVICE_CLIENT}evil`));
    const said = packet(0x30, text(topic), Buffer.from('{"version":1}'));
    const asked = packet(0x82, Buffer.from([0, 1]), text('distredge/home/#'), Buffer.from([1]));
    const whole = Buffer.concat([hello, said, asked]);
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(whole);
      for (let change = random(6); change >= 0; change--) bytes[random(bytes.length)] = random(256);
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      socket.end(bytes.subarray(0, 1 + random(bytes.length)));
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await device.publish(status('good'), bytes('still here'));
    expect(device.connected).toBe(true);
  });

  it('does not wait for ever for a broker that is not there', async () => {
    const at = await broker();
    await at.close();
    expect(
      await codeOf(openBus({ endpoint: addressEndpoint(at.address), clientId: 'device-a', deadlineMs: 1000 })),
    ).toBe('LINK_FAILED');
  });

  it('does not leave this machine unprotected', async () => {
    expect(() => addressEndpoint('192.0.2.1:7400')).toThrow('only encrypted');
    expect(() => brokerEndpoint('mqtt://192.0.2.1')).toThrow('only encrypted');
    expect(await codeOf(startBroker({ cluster: CLUSTER, listen: '0.0.0.0:0' }))).toBe('ADDRESS_NOT_LOOPBACK');
  });

  it.each(['http://127.0.0.1', 'mqtt://', 'mqtt://127.0.0.1/path', '127.0.0.1:1883', 'mqtts://user:secret@host/x'])(
    'takes %j for no broker, and tells no password',
    (url) => {
      expect(() => brokerEndpoint(url)).toThrow('not the address of a broker');
      try {
        brokerEndpoint(url);
      } catch (error) {
        expect(JSON.stringify(error)).not.toContain('secret');
      }
    },
  );

  it('reads user names and passwords', () => {
    expect(brokerEndpoint('mqtts://a%40b:p%3Aw@broker.example')).toMatchObject({
      username: 'a@b',
      password: 'p:w',
      name: 'mqtts://broker.example',
    });
  });
});
