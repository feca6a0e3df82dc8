import { expect, it } from 'vitest';
import { HELLO, prepareMessage, sendBlobs, smallProgram, TOKEN, until } from './fixtures.js';
import { FrameKind } from './link/link.js';
import { BEGIN_CHANNEL, type Control, PROTOCOL_VERSION } from './protocol.js';
import { begin, given, scene } from './provider-scene.js';

const single = smallProgram(1);
const pair = smallProgram(2);

it('a requester that falls silent, its link open, is given up; one that asks on is not', async () => {
  const { provider, engines, prepared } = await scene(single, { requesterMs: 400 });
  const [silent, asking] = [await prepared(), await prepared()];
  for (const end of [silent, asking]) await end.hears('ready');
  const beat = setInterval(() => void asking.send(FrameKind.ping, 0, 0, 0), 20);
  expect(await silent.refusal()).toBe('DEADLINE: nothing was heard of a requester for 400 ms');
  await until(() => engines[0]?.closed === true);
  clearInterval(beat);
  expect(asking.closed).toBeUndefined();
  await provider.close();
});

it('a device that falls silent during an image, its link open, is lost', async () => {
  const { provider, dial, prepared } = await scene(pair, { device: 1, beatMs: 20 });
  const end = await prepared();
  const peer = await dial();
  await peer.say({ type: 'peer', version: PROTOCOL_VERSION, token: TOKEN, to: 1, device: 0 });
  await end.hears('ready');
  // It gives signs of life itself; without an image it expects none.
  await until(() => peer.pings > 12);
  expect(end.closed).toBeUndefined();
  await end.send(FrameKind.data, 1, BEGIN_CHANNEL, 0);
  expect(await end.refusal()).toBe('PROVIDER_LOST: the link to another device broke');
  expect(end.heard.find(({ type }) => type === 'failed')).toMatchObject({ peer: 0 });
  await provider.close();
});

it('a device that cannot prove to be the one that is meant is refused, and no rows are taken from it', async () => {
  const { provider, dial } = await scene(pair, { device: 1 });
  const end = await dial();
  await end.say(HELLO);
  await end.say({ ...(prepareMessage(pair, 1, ['p', 'q']) as Control & { type: 'prepare' }), ids: ['a', 'b'] });
  await sendBlobs(end, pair, 1);
  const peer = await dial();
  await peer.say({ type: 'peer', version: PROTOCOL_VERSION, token: TOKEN, to: 1, device: 0 });
  expect(await peer.refusal()).toBe('PEER_REFUSED: another device claims to be one of the program');
  expect(end.closed).toBeUndefined();
  await provider.close();
});

it('a device that is silent for long steps is not lost for it, once its silence is known', async () => {
  const { provider, dial, prepared } = await scene(pair, { device: 1, beatMs: 10 });
  const end = await prepared();
  const peer = await dial();
  await peer.say({ type: 'peer', version: PROTOCOL_VERSION, token: TOKEN, to: 1, device: 0 });
  await end.hears('ready');
  const results = pair.messages.filter(({ from, to }) => from === 1 && to === -1).length;
  const rows = async (request: number, silentBeats: number): Promise<void> => {
    await end.send(FrameKind.data, request, BEGIN_CHANNEL, 0);
    for (const [channel, bytes] of given(pair))
      if (pair.messages[channel]?.to === 1) await end.send(FrameKind.data, request, channel, bytes);
    const beats = peer.pings + silentBeats;
    await until(() => peer.pings >= beats || end.closed !== undefined);
    for (const [index, { from, to, bytes }] of pair.messages.entries())
      if (from === 0 && to === 1) await peer.send(FrameKind.data, request, index, bytes);
    await until(() => end.rows.length === request * results || end.closed !== undefined);
  };
  // Longer than a device may be silent whose steps are short.
  for (const request of [1, 2, 3]) await rows(request, 20);
  expect(end.closed).toBeUndefined();
  await provider.close();
});

it('a device that was reached and does not answer is asked anew, and not waited for', async () => {
  const { provider, prepared, transport } = await scene(pair, { device: 0, peerAnswerMs: 30 });
  let asked = 0;
  const silent = await transport.listen('q', () => ({
    frame: () => {
      asked += 1;
    },
    closed: () => undefined,
  }));
  const end = await prepared();
  await until(() => asked > 2);
  expect(end.closed).toBeUndefined();
  await silent.close();
  expect(await end.refusal()).toMatch(/^PROVIDER_LOST/);
  await provider.close();
});

it('tells how far an image is, rows that are on their way included, and answers one of several questions', async () => {
  const hold = { go: (): void => undefined };
  const gone = new Promise<void>((resolve) => {
    hold.go = resolve;
  });
  const { provider, prepared } = await scene(single, { mischief: (_, what) => (what === 'run' ? gone : undefined) });
  const end = await prepared();
  await end.hears('ready');
  await begin(end, single, 1);
  for (let count = 0; count < 5; count++) await end.say({ type: 'progress' });
  const messages = given(single).map(([message]) => expect.objectContaining({ message }));
  expect(await end.hears('progressed')).toMatchObject({ request: 1, steps: [], messages, arriving: [] });
  hold.go();
  expect(end.heard.filter(({ type }) => type === 'progressed')).toHaveLength(1);
  await provider.close();
});

it('tells nobody of images who has no program', async () => {
  const { provider, dial } = await scene(single);
  const end = await dial();
  await end.say(HELLO);
  await end.hears('welcome');
  await end.say({ type: 'progress' });
  expect(await end.refusal()).toMatch(/^PROTOCOL/);
  await provider.close();
});
