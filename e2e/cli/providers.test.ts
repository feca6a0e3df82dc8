/** `distredge run` and the providers it meets: good ones, dying ones, frozen ones, and things that are none. */

import { FrameKind } from '@distredge/runtime';
import { describe, expect, test } from 'vitest';
import { distredge, endWithTests, failing, folder, json, sleep, start, startProvider } from '../support/cli.js';
import {
  control,
  endFakesWithTests,
  fakeProvider,
  frame,
  PROTOCOL_VERSION,
  READY,
  stranger,
  WELCOME,
} from '../support/fake-ends.js';
import { slowCnn, smallCnn } from '../support/models.js';

endWithTests();
endFakesWithTests();

const dir = folder();
const small = dir.file('small.onnx', smallCnn());
/** Hundreds of billions of operations: whatever happens a second after the weights came happens in mid-run. */
const slow = dir.file('slow.onnx', slowCnn(160));
const shorter = dir.file('shorter.onnx', slowCnn(25));

describe.concurrent('providers', () => {
  test('serve two requesters after one another, and two at once', async () => {
    const providers = await Promise.all([startProvider(), startProvider()]);
    const run = async () => {
      const devices = providers.map(({ address }) => address).join(',');
      return json(await distredge(['run', small, '--devices', devices, '--no-fallback', '--json']));
    };
    const first = await run();
    expect(first).toMatchObject({ ok: true, fallback: null });
    const again = await Promise.all([run(), run()]);
    for (const report of again) expect(report['outputs']).toEqual(first['outputs']);
    expect(providers.every(({ over }) => !over)).toBe(true);
    await providers[0]?.prints(/(done.*){3}/s);
  });

  test('may be one and the same under two names', async () => {
    const { address } = await startProvider();
    const devices = `${address},localhost:${address.split(':')[1]}`;
    const { code, stderr } = await distredge(['run', small, '--devices', devices, '--no-fallback']);
    expect([code, stderr]).toEqual([0, '']);
  });

  test('write outputs, and say where they cannot', async () => {
    const { address } = await startProvider();
    const out = `${dir.path}/out`;
    const args = ['run', small, '--devices', address, '--output'];
    expect(await distredge([...args, out])).toMatchObject({ code: 0, stderr: '' });
    const { error } = await failing([...args, small]);
    expect(error).toMatchObject({ code: 'FILE', where: small });
  });

  test('do not share a port', async () => {
    const { address } = await startProvider();
    const { code, stderr } = await distredge(['provider', '--listen', address]);
    expect(code).toBe(1);
    expect(stderr).toContain('error ADDRESS_IN_USE');
    expect(stderr).toContain('another process listens there');
  });
});

describe.concurrent('a provider that is lost', () => {
  test('in mid-run is an error that names it, with --no-fallback', async () => {
    const [good, bad] = await Promise.all([startProvider(), startProvider()]);
    const devices = `${good.address},${bad.address}`;
    const requester = start(['run', slow, '--devices', devices, '--no-fallback', '--json']);
    await bad.prints('preparing');
    await sleep(1500);
    bad.signal('SIGKILL');
    const outcome = await requester.done;
    expect(outcome.code).toBe(1);
    const { error } = json(outcome) as { error: Record<string, string> };
    expect(error['code']).toBe('PROVIDER_LOST');
    expect(error['where']).toContain(`device 1 at ${bad.address}`);
    expect(good.over, 'the other one lives on').toBe(false);
    await good.prints('done');
  });

  test('in mid-run is made up for here, which is said', async () => {
    const [good, bad] = await Promise.all([startProvider(), startProvider()]);
    const devices = `${good.address},${bad.address}`;
    const requester = start(['run', shorter, '--devices', devices, '--json']);
    await bad.prints('preparing');
    await sleep(300);
    bad.signal('SIGKILL');
    const outcome = await requester.done;
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toContain('finishing the image on this machine, unsplit');
    expect(json(outcome)).toMatchObject({ ok: true, fallback: { code: 'PROVIDER_LOST' } });
  });

  test.each([
    ['before it is asked', 0],
    ['in mid-run', 1500],
  ])('frozen %s, is noticed by its silence', async (_, ms) => {
    const [good, frozen] = await Promise.all([startProvider(), startProvider()]);
    if (ms === 0) frozen.signal('SIGSTOP');
    const requester = start(['run', slow, '--devices', `${good.address},${frozen.address}`, '--no-fallback', '--json']);
    if (ms > 0) {
      await frozen.prints('preparing');
      await sleep(ms);
      frozen.signal('SIGSTOP');
    }
    const outcome = await requester.done;
    expect(outcome.code).toBe(1);
    const { error } = json(outcome) as { error: Record<string, string> };
    expect(error['code']).toBe('PROVIDER_LOST');
    expect(error['where']).toContain(frozen.address);
    frozen.signal('SIGCONT');
    await frozen.prints(ms === 0 ? 'provider on' : 'done');
  });

  test('because nothing listens there', async () => {
    const { code, error } = await failing(['run', small, '--devices', '127.0.0.1:9', '--no-fallback']);
    expect([code, error['code'], error['where']]).toEqual([1, 'LINK_FAILED', '127.0.0.1:9']);
    const fallback = await distredge(['run', small, '--devices', '127.0.0.1:9', '--json']);
    expect(json(fallback)).toMatchObject({ ok: true, fallback: { code: 'LINK_FAILED' } });
  });

  test('because the deadline for the image is over', async () => {
    const { address } = await startProvider();
    const { error } = await failing(['run', slow, '--devices', address, '--deadline', '50', '--no-fallback']);
    expect(error['code']).toBe('DEADLINE');
    expect(error['message']).toContain('50 ms');
  });
});

/** A provider up to the point where it is prepared: says welcome at once, and ready once the weights are through. */
const preparedThen =
  (then: Buffer) =>
  (socket: { write(bytes: Uint8Array): void; once(event: 'data', handler: () => void): void }): void => {
    socket.once('data', () => {
      socket.write(WELCOME);
      socket.once('data', () => socket.write(Buffer.concat([READY, then])));
    });
  };

describe.concurrent('what is no provider', () => {
  const HUGE = frame(FrameKind.control, new Uint8Array());
  HUGE.writeUInt32LE(0xffffffff, HUGE.length - 4);
  HUGE.writeUInt32BE(0xffffffff, HUGE.length - 4);

  test.each<[string, (socket: import('node:net').Socket) => void, RegExp]>([
    ['closes at once', (socket) => socket.end(), /PROVIDER_LOST/],
    ['answers in another language', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /PROVIDER_FAILED/],
    ['announces a huge frame', (socket) => socket.write(HUGE), /PROVIDER_FAILED/],
    ['is ready unasked', (socket) => socket.write(Buffer.concat([WELCOME, READY])), /PROVIDER_FAILED/],
    [
      'speaks another version',
      (socket) => socket.write(control({ type: 'welcome', version: 9, engine: '', pid: 1 })),
      /PROTOCOL/,
    ],
    [
      'fails with words that steer a terminal',
      (socket) => socket.write(control({ type: 'failed', error: { code: 'ENGINE_FAILED', message: '\u001b[2Jgone' } })),
      /ENGINE_FAILED/,
    ],
    ['sends rows before any image', preparedThen(frame(FrameKind.data, new Uint8Array(8), 1, 0)), /PROVIDER_FAILED/],
  ])('%s', async (_, behave, code) => {
    const address = await fakeProvider(behave);
    const { code: exit, error, stderr } = await failing(['run', small, '--devices', address, '--no-fallback']);
    expect(exit).toBe(1);
    expect(error['code']).toMatch(code);
    expect(error['where']).toContain(address);
    expect(stderr).not.toContain('\u001b');
  });

  test.each<[string, (socket: import('node:net').Socket) => void]>([
    ['never says anything', () => undefined],
    ['reads nothing after its welcome', (socket) => socket.once('data', () => socket.write(WELCOME) && socket.pause())],
  ])('%s', async (_, behave) => {
    const address = await fakeProvider(behave);
    const { error } = await failing(['run', small, '--devices', address, '--no-fallback']);
    expect(error['code']).toMatch(/PROVIDER_LOST|DEADLINE/);
    expect(error['where']).toContain(address);
  });
});

test('a provider survives whatever strangers send, and tells them', async () => {
  const provider = await startProvider();
  const { address } = provider;
  const garbage: Uint8Array[] = [
    Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
    Buffer.alloc(1 << 16, 0x5a),
    frame(FrameKind.control, Buffer.from('nonsense')),
    control({ type: 'hello', version: 99 }),
    control({ type: 'prepare', token: '0'.repeat(32), peers: [], requestMs: 1, hashes: [] }),
    Buffer.concat([
      control({ type: 'hello', version: PROTOCOL_VERSION }),
      control({
        type: 'prepare',
        token: '0'.repeat(32),
        peers: [address],
        requestMs: 1,
        hashes: [],
        program: { version: 1 },
      }),
    ]),
    control({ type: 'peer', version: PROTOCOL_VERSION, token: '0'.repeat(32), to: 0, device: 1 }),
    frame(FrameKind.data, new Uint8Array(100), 1, 1),
    frame(FrameKind.blob, new Uint8Array(100)),
    control({ type: 'trace' }),
  ];
  for (const bytes of garbage) {
    const { closed } = await stranger(address, bytes, 20_000);
    expect(closed, Buffer.from(bytes.subarray(0, 80)).toString('latin1')).toBe(true);
  }
  // One that breaks off in the middle of a frame, and goes.
  await stranger(address, control({ type: 'hello', version: PROTOCOL_VERSION }).subarray(0, 20), 50);
  const outcome = await distredge(['run', small, '--devices', address, '--no-fallback', '--json']);
  expect(json(outcome)).toMatchObject({ ok: true, fallback: null });
  expect(provider.stderr).toBe('');
});
