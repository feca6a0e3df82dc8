/** Requester and providers together over memory links, with engines that compute nothing; and requesters alone with a liar. */
import { DistrEdgeError, floats, floatTensor, REQUESTER, type Tensor } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import {
  engineFailure,
  engineOf,
  type FakeEngine,
  INPUT,
  type Mischief,
  OUTPUT,
  RawEnd,
  smallProgram,
  until,
} from './fixtures.js';
import { FrameKind, type Link, type LinkHandlers, type Transport } from './link/link.js';
import { createMemoryTransport } from './link/memory.js';
import { BEGIN_CHANNEL, type Control, PROTOCOL_VERSION } from './protocol.js';
import { type Provider, startProvider } from './provider.js';
import { type Cluster, type ConnectOptions, connect } from './requester.js';

interface Scene {
  readonly transport: Transport;
  readonly providers: Provider[];
  readonly engines: FakeEngine[];
  connect(options?: Partial<ConnectOptions>): Promise<Cluster>;
  close(): Promise<void>;
}

/** As many providers as asked for, each an address `device 0`, `device 1`, …; mischief by device. */
async function scene(devices: number, mischief: Readonly<Record<number, Mischief>> = {}): Promise<Scene> {
  const program = smallProgram(devices);
  const transport = createMemoryTransport();
  const engines: FakeEngine[] = [];
  const addresses = Array.from({ length: devices }, (_, device) => `d${device}`);
  const providers = await Promise.all(
    addresses.map((listen, device) =>
      startProvider({
        transport,
        listen,
        engineName: 'fake',
        createEngine: () => {
          const engine = engineOf(program, device, mischief[device]);
          engines.push(engine);
          return engine;
        },
      }),
    ),
  );
  return {
    transport,
    providers,
    engines,
    connect: (options = {}) => connect(program, { transport, addresses, ...options }),
    async close() {
      await Promise.all(providers.map((provider) => provider.close()));
    },
  };
}

const inputs = { x: INPUT };

/** Which device computed each row of the output: its engine fills it with its number plus one. */
function rowOwners(outputs: Readonly<Record<string, Tensor>>): number[] {
  const { shape } = outputs[OUTPUT] as Tensor;
  const [, , height = 0, width = 0] = shape;
  const values = floats(outputs[OUTPUT] as Tensor);
  return Array.from({ length: height }, (_, row) => (values[row * width] ?? 0) - 1);
}

async function codeOf(promise: Promise<unknown>): Promise<DistrEdgeError> {
  const error: unknown = await promise.then(
    () => new Error('it did not reject'),
    (reason: unknown) => reason,
  );
  if (error instanceof DistrEdgeError) return error;
  throw error;
}

describe('a cluster', () => {
  it.each([1, 2, 3])('of %d puts the rows of its devices together, image after image', async (devices) => {
    const { connect: open, close, engines } = await scene(devices);
    const cluster = await open();
    const owners = rowOwners(await cluster.infer(inputs));
    expect([...new Set(owners)]).toEqual(Array.from({ length: devices }, (_, device) => device));
    expect(owners).toEqual([...owners].sort());
    expect(rowOwners(await cluster.infer(inputs))).toEqual(owners);
    const both = await Promise.all([cluster.infer(inputs), cluster.infer(inputs)]);
    for (const outputs of both) expect(rowOwners(outputs)).toEqual(owners);
    await cluster.close();
    await until(() => engines.every(({ closed }) => closed));
    await close();
  });

  it('tells when the steps of the last image ran and its messages came', async () => {
    const { connect: open, close } = await scene(2);
    const cluster = await open();
    await cluster.infer(inputs);
    const trace = await cluster.trace();
    expect(trace.steps.map(({ step }) => step).sort()).toEqual(cluster.program.steps.map((_, index) => index));
    expect(trace.messages.map(({ message }) => message).sort()).toEqual(
      cluster.program.messages.map((_, index) => index),
    );
    expect(trace.residentBytes.every((bytes) => bytes !== undefined && bytes > 0)).toBe(true);
    expect(trace.totalMs).toBeGreaterThan(0);
    await cluster.close();
    await close();
  });

  it('may have one provider for several devices', async () => {
    const program = smallProgram(3);
    const transport = createMemoryTransport();
    let device = 0;
    // Requesters greet in order of devices, so engines are asked for in that order.
    const createEngine = () => engineOf(program, device++);
    const provider = await startProvider({ transport, listen: 'one', engineName: 'fake', createEngine });
    const cluster = await connect(program, { transport, addresses: ['one', 'one', 'one'] });
    expect(new Set(rowOwners(await cluster.infer(inputs)))).toEqual(new Set([0, 1, 2]));
    await cluster.close();
    await provider.close();
  });

  it('refuses other inputs than the model was prepared for, and goes on', async () => {
    const { connect: open, close } = await scene(1);
    const cluster = await open();
    for (const wrong of [{}, { x: floatTensor([1], [1]) }, { x: { ...INPUT, dtype: 'int32' as const } }])
      expect(await codeOf(cluster.infer(wrong))).toMatchObject({ code: 'SHAPE_MISMATCH', where: "input 'x'" });
    await cluster.infer(inputs);
    await cluster.close();
    await close();
  });

  it('wants an address for each device', async () => {
    const { connect: open, close } = await scene(2);
    expect(await codeOf(open({ addresses: ['d0'] }))).toMatchObject({ code: 'USAGE' });
    await close();
  });
});

describe('an image', () => {
  it.each([
    ['load', 0],
    ['run', 0],
    ['run', 1],
  ] as const)('whose engine fails in %s, at call %d, is an error with the name of the device', async (when, at) => {
    const mischief: Mischief = (call, what) => (what === when && call === at ? engineFailure() : undefined);
    const { connect: open, close } = await scene(2, { 1: mischief });
    const error = await codeOf(open().then((cluster) => cluster.infer(inputs)));
    expect(error).toMatchObject({ code: 'ENGINE_FAILED', message: 'the engine is tired' });
    expect(error.where).toBe('device 1 at d1: model 0');
    await close();
  });

  it('that takes too long is an error that says who is waited for; so is every later one', async () => {
    const never: Mischief = (_, what) => (what === 'run' ? new Promise<never>(() => undefined) : undefined);
    const { connect: open, close } = await scene(2, { 1: never });
    const cluster = await open({ requestMs: 60 });
    const error = await codeOf(cluster.infer(inputs));
    expect(error.code).toBe('DEADLINE');
    expect(error.where).toMatch(/device \d/);
    expect(await codeOf(cluster.infer(inputs))).toBe(error);
    await cluster.close();
    await close();
  });

  it('under way when a provider goes is an error that names it', async () => {
    let running = false;
    const never: Mischief = (_, what) => {
      if (what === 'load') return undefined;
      running = true;
      return new Promise<never>(() => undefined);
    };
    const { connect: open, providers, close } = await scene(2, { 1: never });
    const cluster = await open();
    const image = codeOf(cluster.infer(inputs));
    await until(() => running);
    void providers[1]?.close();
    expect(await image).toMatchObject({ code: 'PROVIDER_LOST', where: 'device 1 at d1' });
    await close();
  });

  it('under way when the cluster is closed is cancelled, and so are later ones', async () => {
    const never: Mischief = (_, what) => (what === 'run' ? new Promise<never>(() => undefined) : undefined);
    const { connect: open, close } = await scene(2, { 0: never });
    const cluster = await open();
    const image = codeOf(cluster.infer(inputs));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await cluster.close();
    expect(await image).toMatchObject({ code: 'CANCELLED' });
    expect(await codeOf(cluster.infer(inputs))).toMatchObject({ code: 'CANCELLED' });
    await close();
  });
});

/** A provider that a test plays itself; `script` gets every control message and every frame of rows. */
async function liar(script: (end: RawEnd, said: Control | 'weights' | 'rows') => void): Promise<Transport> {
  const transport = createMemoryTransport();
  await transport.listen('d0', (link: Link): LinkHandlers => {
    const end = new RawEnd();
    const handlers = end.handlers(link);
    return {
      ...handlers,
      frame(frame) {
        const before = end.heard.length;
        handlers.frame(frame);
        const said = end.heard[before];
        if (said !== undefined) script(end, said);
        else if (frame.kind === FrameKind.blob) script(end, 'weights');
        else if (frame.kind === FrameKind.data && frame.channel === BEGIN_CHANNEL) script(end, 'rows');
      },
    };
  });
  return transport;
}

const program = smallProgram(1);
const WELCOME: Control = { type: 'welcome', version: PROTOCOL_VERSION, engine: 'liar', pid: 1 };
const READY: Control = { type: 'ready', residentBytes: 1 };
const wanted = (blob: number, from: number): Control => ({ type: 'wanted', blobs: [{ blob, from }] });
const tell = (end: RawEnd, ...messages: readonly Control[]): void => {
  for (const message of messages) void end.say(message).catch(() => undefined);
};
/** Plays a good provider up to the first image. */
const goodUntilRows =
  (then: (end: RawEnd) => void) =>
  (end: RawEnd, said: Control | 'weights' | 'rows'): void => {
    if (said === 'rows') then(end);
    else if (said !== 'weights' && said.type === 'hello') tell(end, WELCOME);
    else if (said !== 'weights' && said.type === 'prepare') tell(end, READY);
  };
/** Plays a good provider up to the first weights. */
function goodUntilWeights(then: (end: RawEnd) => void): Parameters<typeof liar>[0] {
  return (end, said) => {
    if (said === 'weights') then(end);
    else if (said !== 'rows' && said.type === 'hello') tell(end, WELCOME);
    else if (said !== 'rows' && said.type === 'prepare') tell(end, wanted(0, 0));
  };
}
/** Plays a provider that asks for weights, in its own way. */
function asksFor(...questions: readonly Control[]): Parameters<typeof liar>[0] {
  return (end, said) => {
    if (said === 'weights' || said === 'rows') return;
    if (said.type === 'hello') tell(end, WELCOME);
    else if (said.type === 'prepare') tell(end, ...questions);
  };
}
const rows = (request: number, channel: number, bytes: number) => (end: RawEnd) => {
  void end.send(FrameKind.data, request, channel, bytes).catch(() => undefined);
};
const [result = 0] = program.messages.flatMap(({ to }, index) => (to === REQUESTER ? [index] : []));
const resultBytes = program.messages[result]?.bytes ?? 0;

describe('a provider that lies', () => {
  it.each<[string, Parameters<typeof liar>[0], RegExp]>([
    ['closes at the first word', (end) => end.link.close(), /^PROVIDER_LOST/],
    ['resets at the first word', (end) => end.link.close(new Error('no')), /^PROVIDER_LOST/],
    ['speaks another version', (end) => tell(end, { ...WELCOME, version: 99 } as Control), /^PROTOCOL/],
    ['says welcome twice', (end) => tell(end, WELCOME, WELCOME), /^PROVIDER_FAILED: .*unasked/],
    ['is ready at once', (end) => tell(end, WELCOME, READY), /^PROVIDER_FAILED: .*unasked/],
    ['greets like a device', (end) => tell(end, { type: 'peer-welcome' }), /^PROVIDER_FAILED: .*unasked/],
    ['closes at the weights', goodUntilWeights((end) => end.link.close()), /^PROVIDER_LOST/],
    ['asks for weights that are not there', asksFor(wanted(99, 0)), /^PROVIDER_FAILED: .*cannot lack/],
    ['asks for weights after their end', asksFor(wanted(0, 1e9)), /^PROVIDER_FAILED: .*cannot lack/],
    ['asks again and again', asksFor(wanted(1, 0), wanted(1, 0), wanted(1, 0)), /^PROVIDER_FAILED: .*cannot lack/],
    ['asks for weights when it is ready', asksFor(READY, wanted(0, 0)), /^PROVIDER_FAILED: .*unasked/],
    ['closes at the first rows', goodUntilRows((end) => end.link.close()), /^PROVIDER_LOST/],
    ['sends rows of no message', goodUntilRows(rows(1, 999, 8)), /^PROVIDER_FAILED: .*nobody asked/],
    ['sends rows that go elsewhere', goodUntilRows(rows(1, 0, program.messages[0]?.bytes ?? 0)), /^PROVIDER_FAILED/],
    ['sends rows of another size', goodUntilRows(rows(1, result, resultBytes - 8)), /^PROVIDER_FAILED: .*nobody asked/],
    ['sends rows of another image', goodUntilRows(rows(2, result, resultBytes)), /^PROVIDER_FAILED: .*nobody asked/],
    ['tells of an image unasked', goodUntilRows((end) => tell(end, READY)), /^PROVIDER_FAILED: .*unasked/],
    [
      'fails in its own way',
      goodUntilRows((end) => tell(end, { type: 'failed', error: { code: 'ENGINE_FAILED', message: 'ow' } })),
      /^ENGINE_FAILED: ow$/,
    ],
  ])('and %s: is an error with its address', async (_, script, expected) => {
    const transport = await liar(script);
    const run = connect(program, { transport, addresses: ['d0'], deadlineMs: 5000 }).then(async (cluster) => {
      await cluster.infer(inputs);
    });
    const error = await codeOf(run);
    expect(`${error.code}: ${error.message}`).toMatch(expected);
    expect(error.where).toContain('device 0 at d0');
  });

  it.each<[string, Parameters<typeof liar>[0]]>([
    ['hello', () => undefined],
    [
      'the program',
      (end, said) => (said !== 'weights' && said !== 'rows' && said.type === 'hello' ? tell(end, WELCOME) : undefined),
    ],
    ['the image', goodUntilRows(() => undefined)],
  ])('and does not answer to %s: is lost by its silence', async (_, script) => {
    const transport = await liar(script);
    const run = connect(program, { transport, addresses: ['d0'], silenceMs: 60 }).then(async (cluster) => {
      await cluster.infer(inputs);
    });
    expect(await codeOf(run)).toMatchObject({
      code: 'PROVIDER_LOST',
      message: 'a provider does not answer',
      where: 'device 0 at d0',
    });
  });

  it('about the last image: the question fails, the answer to nobody does no harm', async () => {
    const transport = await liar((end, said) => {
      if (said !== 'weights' && said !== 'rows' && said.type === 'trace') end.link.close();
      else goodUntilRows(rows(1, result, resultBytes))(end, said);
    });
    const cluster = await connect(program, { transport, addresses: ['d0'] });
    await cluster.infer(inputs);
    expect(await codeOf(cluster.trace())).toMatchObject({ code: 'PROVIDER_LOST' });
    expect(await codeOf(cluster.trace())).toMatchObject({ code: 'PROVIDER_LOST' });
  });
});

it('a link that comes up after the cluster was given up is closed', async () => {
  const { transport, close } = await scene(2);
  const late: Link[] = [];
  const slow: Transport = {
    ...transport,
    name: 'slow',
    async dial(address, handlers, options) {
      if (address === 'nobody') throw new DistrEdgeError('LINK_FAILED', 'no link', { where: address });
      await new Promise((resolve) => setTimeout(resolve, 30));
      const link = await transport.dial(address, handlers, options);
      late.push(link);
      return link;
    },
  };
  const run = connect(smallProgram(2), { transport: slow, addresses: ['d0', 'nobody'] });
  expect(await codeOf(run)).toMatchObject({ code: 'LINK_FAILED' });
  await until(() => late.length === 1);
  await expect(late[0]?.send({ kind: FrameKind.ping, request: 0, channel: 0 }, [])).rejects.toMatchObject({
    code: 'LINK_CLOSED',
  });
  await close();
});

it('a device that another one cannot reach is an error that names both', async () => {
  const program = smallProgram(2);
  const transport = createMemoryTransport();
  const walled: Transport = {
    ...transport,
    dial: (address) => Promise.reject(new DistrEdgeError('LINK_FAILED', 'no way', { where: address })),
  };
  const providers = await Promise.all(
    ['d0', 'd1'].map((listen, device) =>
      startProvider({
        transport: { ...walled, listen: transport.listen },
        listen,
        engineName: 'fake',
        createEngine: () => engineOf(program, device),
      }),
    ),
  );
  const error = await codeOf(connect(program, { transport, addresses: ['d0', 'd1'] }));
  expect(error).toMatchObject({ code: 'PROVIDER_LOST', where: 'device 0 at d0: device 1 at d1' });
  await Promise.all(providers.map((provider) => provider.close()));
});
