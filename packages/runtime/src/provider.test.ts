/** The provider against raw ends of links: what it answers, what it refuses and why, and that it goes on afterwards. */
import { deviceProgram } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import {
  engineFailure,
  HELLO,
  type Mischief,
  prepareMessage,
  type RawEnd,
  sendBlobs,
  smallProgram,
  TOKEN,
  until,
} from './fixtures.js';
import { FrameKind } from './link/link.js';
import { BEGIN_CHANNEL, type Control, PROTOCOL_VERSION } from './protocol.js';
import type { ProviderOptions } from './provider.js';
import { begin, given, scene } from './provider-scene.js';

const single = smallProgram(1);
const pair = smallProgram(2);

describe('a good requester', () => {
  it('is served image after image, and told of the last one', async () => {
    const { provider, engines, prepared } = await scene(single);
    const end = await prepared();
    await end.hears('ready');
    const weights = new Map(
      engines[0]?.loaded.flatMap((model) => [...model.weights.values()]).map((data) => [data[0], data.length]),
    );
    expect(weights).toEqual(
      new Map([
        [1, 4608],
        [2, 4608],
      ]),
    );
    const results = single.messages.filter(({ to }) => to === -1).length;
    for (const request of [1, 2, 3]) {
      await begin(end, single, request);
      await until(() => end.rows.length === request * results);
    }
    expect(new Float32Array(end.rows[0]?.payload.slice().buffer as ArrayBuffer)[0]).toBe(1);
    await end.say({ type: 'trace' });
    const traced = await end.hears('traced');
    expect(traced).toMatchObject({ request: 3, steps: single.steps.map((_, step) => ({ step, start: 1, end: 2 })) });
    end.link.close();
    await until(() => engines[0]?.closed === true);
    await provider.close();
  });

  it('is answered when it asks whether one is there, and hears signs of life while a model loads', async () => {
    let load: (() => void) | undefined;
    const mischief: Mischief = (_, what) =>
      what === 'run'
        ? undefined
        : new Promise((resolve) => {
            load = resolve;
          });
    const { provider, prepared } = await scene(single, { mischief });
    const end = await prepared();
    await until(() => end.pongs >= 2);
    const before = end.pongs;
    while (!end.heard.some(({ type }) => type === 'ready')) {
      load?.();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await end.send(FrameKind.ping, 9, 0, 0);
    await until(() => end.pongs > before);
    await provider.close();
  });

  it('loses nothing to another one on the same provider', async () => {
    const { provider, prepared } = await scene(single);
    const ends = [await prepared(), await prepared()];
    for (const end of ends) await end.hears('ready');
    ends[0]?.link.close();
    const [, other] = ends;
    if (other === undefined) throw new Error('impossible');
    await begin(other, single, 1);
    await until(() => other.rows.length > 0);
    await provider.close();
  });
});

/** What is said, in order, and how the provider ends it. */
const VIOLATIONS: readonly (readonly [string, readonly Control[], RegExp])[] = [
  ['another version', [{ type: 'hello', version: 99 }], /^PROTOCOL: .*version/],
  ['a second hello', [HELLO, HELLO], /^PROTOCOL/],
  ['a program before a hello', [prepareMessage(single, 0, ['p'])], /^PROTOCOL/],
  ['a second program', [HELLO, prepareMessage(single, 0, ['p']), prepareMessage(single, 0, ['p'])], /^PROTOCOL/],
  ['a program for another number of addresses', [HELLO, prepareMessage(single, 0, ['p', 'q'])], /^PROTOCOL/],
  [
    'a program that is none',
    [HELLO, { type: 'prepare', token: TOKEN, peers: [], requestMs: 1, hashes: [] }],
    /^PROTOCOL/,
  ],
  [
    'models of 0 bytes',
    [
      HELLO,
      prepareMessage(single, 0, ['p'], {
        models: deviceProgram(single, 0).program.models.map((model) => ({ ...model, bytes: 0 })),
      }),
    ],
    /^PROTOCOL: .*0 bytes/,
  ],
  ['a question before a program', [HELLO, { type: 'trace' }], /^PROTOCOL/],
  ['words of a provider', [HELLO, { type: 'ready', residentBytes: 1 }], /^PROTOCOL/],
  [
    'rows for a program that is not there',
    [{ type: 'peer', version: PROTOCOL_VERSION, token: TOKEN, to: 0, device: 1 }],
    /^PROTOCOL/,
  ],
  ['a device that speaks another version', [{ type: 'peer', version: 7, token: TOKEN, to: 0, device: 1 }], /^PROTOCOL/],
];

describe('a requester that breaks the protocol', () => {
  it.each(VIOLATIONS)('%s: is told so, and the next one is served', async (_, words, refusal) => {
    const { provider, dial, prepared } = await scene(single);
    const end = await dial();
    for (const message of words) await end.say(message);
    expect(await end.refusal()).toMatch(refusal);
    await (await prepared()).hears('ready');
    await provider.close();
  });

  it.each<[string, (end: RawEnd) => Promise<void>]>([
    ['rows before a program', (end) => end.send(FrameKind.data, 1, 0, 8)],
    ['weights before a program', (end) => end.send(FrameKind.blob, 0, 0, 8)],
  ])('%s: its link is closed', async (_, misbehave) => {
    const { provider, log, dial } = await scene(single);
    const end = await dial();
    await misbehave(end).catch(() => undefined);
    await until(() => end.closed !== undefined);
    expect(log.join()).toContain('does not belong here');
    await provider.close();
  });

  const [channel = 0, bytes = 0] = given(single)[0] ?? [];

  it.each<[string, (end: RawEnd) => Promise<void>]>([
    ['rows of no message', (end) => end.send(FrameKind.data, 1, 999, 8)],
    ['rows of another size', (end) => end.send(FrameKind.data, 1, channel, bytes - 8)],
    ['rows of a request far ahead', (end) => end.send(FrameKind.data, 7, channel, bytes)],
    ['a request far ahead', (end) => end.send(FrameKind.data, 2 ** 32 - 1, BEGIN_CHANNEL, 0)],
    ['a beginning with content', (end) => end.send(FrameKind.data, 1, BEGIN_CHANNEL, 8)],
    ['weights after the last', (end) => end.send(FrameKind.blob, 0, 99, 8)],
    [
      'the same rows twice',
      async (end) => {
        await end.send(FrameKind.data, 1, channel, bytes);
        await end.send(FrameKind.data, 1, channel, bytes);
      },
    ],
  ])('%s, when it is ready: its job ends', async (_, misbehave) => {
    const { provider, engines, prepared } = await scene(single);
    const end = await prepared();
    await end.hears('ready');
    await misbehave(end).catch(() => undefined);
    await until(() => end.closed !== undefined);
    await until(() => engines[0]?.closed === true);
    await (await prepared()).hears('ready');
    await provider.close();
  });

  it.each<[string, Partial<ProviderOptions>, readonly Control[], string]>([
    ['says nothing', { helloMs: 20 }, [], 'what it is'],
    ['wants nothing', { helloMs: 20 }, [HELLO], 'what it wants'],
    [
      'announces weights and sends none',
      { weightsMs: 20 },
      [HELLO, prepareMessage(single, 0, ['p'])],
      'what its weights are',
    ],
  ])('%s: is given up after a while', async (_, options, words, missing) => {
    const { provider, dial } = await scene(single, options);
    const end = await dial();
    for (const message of words) await end.say(message);
    expect(await end.refusal()).toBe(`DEADLINE: a link did not say ${missing} within 20 ms`);
    await provider.close();
  });
});

describe('limits', () => {
  it('of jobs: one more is refused, and has room when another ends', async () => {
    const { provider, dial, prepared } = await scene(single, { maxJobs: 2 });
    const ends = [await prepared(), await prepared()];
    for (const end of ends) await end.hears('ready');
    const third = await dial();
    await third.say(HELLO);
    await third.say(prepareMessage(single, 0, ['p']));
    expect(await third.refusal()).toBe('PROVIDER_FAILED: the provider serves as many requesters as it may');
    ends[0]?.link.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await (await prepared()).hears('ready');
    await provider.close();
  });

  it('of bytes: a program that announces more is refused before its weights come', async () => {
    const { provider, dial } = await scene(single, { maxModelBytes: 1000 });
    const end = await dial();
    await end.say(HELLO);
    await end.say(prepareMessage(single, 0, ['p']));
    expect(await end.refusal()).toBe('PROVIDER_FAILED: the models are larger than this provider takes');
    await provider.close();
  });
});

describe('an engine that fails', () => {
  it.each(['load', 'run'] as const)('in %s is told with its own words', async (when) => {
    const { provider, prepared, engines } = await scene(single, {
      mischief: (call, what) => (what === when && call === 0 ? engineFailure() : undefined),
    });
    const end = await prepared();
    if (when === 'run') {
      await end.hears('ready');
      await begin(end, single, 1);
    }
    expect(await end.refusal()).toBe('ENGINE_FAILED: the engine is tired');
    await until(() => engines[0]?.closed === true);
    await provider.close();
  });

  it('to make what its program says is a broken promise of the program', async () => {
    const { provider, dial } = await scene(single);
    const end = await dial();
    await end.say(HELLO);
    // The program says the rows that leave are half as wide as the engine makes them.
    const { steps } = deviceProgram(single, 0).program;
    const lying = steps.map((step) => ({
      ...step,
      outputs: step.outputs.map((output) => ({
        ...output,
        shape: output.fetch ? [...output.shape.slice(0, -1), 2] : output.shape,
      })),
    }));
    await end.say(prepareMessage(single, 0, ['p'], { steps: lying }));
    await sendBlobs(end, single, 0);
    await end.hears('ready');
    await begin(end, single, 1);
    expect(await end.refusal()).toBe('PROTOCOL: a model makes something else than its program says');
    await provider.close();
  });
});

describe('another device', () => {
  it('that is needed and never connects does not keep the requester from ending the job', async () => {
    const { provider, engines, prepared } = await scene(pair, { device: 1 });
    const end = await prepared();
    await until(() => (engines[0]?.loaded.length ?? 0) > 0);
    end.link.close();
    await until(() => engines[0]?.closed === true);
    await provider.close();
  });

  it('is welcomed once, and its end is told with its number', async () => {
    const { provider, dial, prepared } = await scene(pair, { device: 1 });
    const end = await prepared();
    const peer = await dial();
    const words: Control = { type: 'peer', version: PROTOCOL_VERSION, token: TOKEN, to: 1, device: 0 };
    await peer.say(words);
    await peer.hears('peer-welcome');
    await end.hears('ready');
    const second = await dial();
    await second.say(words);
    expect(await second.refusal()).toBe('PROTOCOL: a member has a link already');
    peer.link.close();
    expect(await end.refusal()).toBe('PROVIDER_LOST: the link to another device broke');
    expect(end.heard.find(({ type }) => type === 'failed')).toMatchObject({ peer: 0 });
    await provider.close();
  });
});

it('as many requests may be open as were asked for, and no more', async () => {
  const { provider, dial } = await scene(single);
  const end = await dial();
  await end.say(HELLO);
  await end.say({ ...(prepareMessage(single, 0, ['p']) as Control & { type: 'prepare' }), inFlight: 3 });
  await sendBlobs(end, single, 0);
  await end.hears('ready');
  for (const request of [1, 2, 3]) await end.send(FrameKind.data, request, BEGIN_CHANNEL, 0);
  for (const request of [1, 2, 3])
    for (const [channel, bytes] of given(single)) await end.send(FrameKind.data, request, channel, bytes);
  const results = single.messages.filter(({ to }) => to === -1).length;
  await until(() => end.rows.length === 3 * results);
  expect(end.rows.map(({ request }) => request)).toEqual([1, 2, 3].flatMap((item) => new Array(results).fill(item)));
  for (const request of [4, 5, 6]) await end.send(FrameKind.data, request, BEGIN_CHANNEL, 0);
  await end.send(FrameKind.ping, 0, 0, 0);
  await until(() => end.pongs > 0);
  expect(end.closed).toBeUndefined();
  await end.send(FrameKind.data, 7, BEGIN_CHANNEL, 0).catch(() => undefined);
  await until(() => end.closed !== undefined);
  await provider.close();
});

it('a request out of turn ends the job', async () => {
  const { provider, prepared, dial } = await scene(single);
  const end = await dial();
  await end.say(HELLO);
  await end.say({ ...(prepareMessage(single, 0, ['p']) as Control & { type: 'prepare' }), inFlight: 3 });
  await sendBlobs(end, single, 0);
  await end.hears('ready');
  await end.send(FrameKind.data, 2, BEGIN_CHANNEL, 0).catch(() => undefined);
  await until(() => end.closed !== undefined);
  await (await prepared()).hears('ready');
  await provider.close();
});

it('a request that is not done in time ends the job, and says what was missing', async () => {
  const { provider, dial } = await scene(single);
  const end = await dial();
  await end.say(HELLO);
  await end.say({ ...(prepareMessage(single, 0, ['p']) as Control & { type: 'prepare' }), requestMs: 20 });
  await sendBlobs(end, single, 0);
  await end.hears('ready');
  await end.send(FrameKind.data, 1, BEGIN_CHANNEL, 0);
  expect(await end.refusal()).toBe('DEADLINE: a request was not done within 20 ms');
  expect(end.heard.find(({ type }) => type === 'failed')).toMatchObject({
    error: { got: 'no rows yet from the requester' },
  });
  await provider.close();
});

it('close ends all jobs and frees their engines', async () => {
  const { provider, engines, prepared } = await scene(single);
  const end = await prepared();
  await end.hears('ready');
  await provider.close();
  expect(engines.map(({ closed }) => closed)).toEqual([true]);
  await until(() => end.closed !== undefined);
});
