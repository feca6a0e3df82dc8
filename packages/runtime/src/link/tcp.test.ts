/** What only sockets can do to a link: strangers, cut streams, resets, standstill, ports. The far end is a plain socket. */
import dns from 'node:dns';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseAddress } from './address.js';
import { describeLinkCompliance } from './compliance.js';
import { encodeHeader } from './frame.js';
import { FrameKind, type LinkHandlers, type LinkOptions } from './link.js';
import { expectCode, Gate, Recorder, rejection, turns } from './recorder.js';
import { createTcpTransport } from './tcp.js';

describeLinkCompliance('tcp', createTcpTransport);

const transport = createTcpTransport();
const header = (length: number) => encodeHeader({ kind: FrameKind.data, request: 1, channel: 2, length });

describe('a tcp link facing a plain socket', () => {
  const cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  });

  /** A recorded link end, and the plain socket that dialled it. */
  async function stranger(
    options: LinkOptions = {},
    extra: Partial<LinkHandlers> = {},
  ): Promise<{ end: Recorder; socket: Socket }> {
    const end = new Recorder();
    const listener = await transport.listen('127.0.0.1:0', end.handlers(extra), options);
    const socket = connect({ ...parseAddress(listener.address), allowHalfOpen: true });
    // The link may reset the connection; what the stranger sees of it is not the point.
    socket.on('error', () => {});
    cleanUps.push(() => {
      socket.destroy();
      return listener.close();
    });
    await Promise.all([once(socket, 'connect'), end.linked()]);
    return { end, socket };
  }

  it.each([
    ['text', 'GET / HTTP/1.1\r\nHost: example\r\n\r\n', 'magic'],
    ['a single wrong byte', 'x', 'magic'],
    ['one right byte and a wrong one', 'Dx', 'magic'],
    ['another version', 'DE\x02\x03', 'version'],
    ['an unknown kind', 'DE\x01\x63', 'kind'],
  ])('closes with FRAME_INVALID on %s', async (_, bytes, where) => {
    const { end, socket } = await stranger();
    socket.write(bytes);
    expect(expectCode(await end.closed(), 'FRAME_INVALID').where).toBe(where);
    expect(end.closings).toHaveLength(1);
    expect(end.frames).toHaveLength(0);
  });

  it('closes on garbage after good frames, which it delivers', async () => {
    const { end, socket } = await stranger();
    socket.write(Buffer.concat([header(3), Buffer.from('abc'), header(0), Buffer.from('rubbish')]));
    expectCode(await end.closed(), 'FRAME_INVALID');
    expect(end.frames.map((frame) => frame.length)).toEqual([3, 0]);
  });

  it('refuses a header that announces 4 GiB, without allocating', async () => {
    const before = process.memoryUsage().arrayBuffers;
    const { end, socket } = await stranger();
    socket.write(header(0xffff_ffff));
    expect(expectCode(await end.closed(), 'FRAME_INVALID')).toMatchObject({ where: 'length', got: '4294967295 bytes' });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20);
  });

  it('takes bytes one by one', async () => {
    const { end, socket } = await stranger();
    socket.setNoDelay(true);
    for (const byte of [...header(3), 1, 2, 3, ...header(0)]) {
      socket.write(Uint8Array.of(byte));
      await turns(1);
    }
    await end.received(2);
    expect(end.frames[0]?.payload).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('closes without an error when the stream ends between frames', async () => {
    const { end, socket } = await stranger();
    socket.end(Buffer.concat([header(1), Buffer.from('a')]));
    expect(await end.closed()).toBeUndefined();
    expect(end.frames).toHaveLength(1);
  });

  it.each([
    ['header', header(5).subarray(0, 9)],
    ['payload', Buffer.concat([header(5), Buffer.from('abcd')])],
    ['frame, before its payload', header(5)],
  ])('closes with LINK_CLOSED when the stream ends in the middle of a %s', async (_, bytes) => {
    const { end, socket } = await stranger();
    socket.end(bytes);
    expect(expectCode(await end.closed(), 'LINK_CLOSED').message).toContain('in the middle of a frame');
  });

  it('hears of an end only after the frames before it have been handled', async () => {
    const gate = new Gate();
    const { end, socket } = await stranger({}, { frame: () => gate.opened });
    socket.end(Buffer.concat([header(1), Buffer.from('a'), header(1), Buffer.from('b')]));
    await end.received(1);
    await turns(10);
    expect([end.frames.length, end.closings.length]).toEqual([1, 0]);
    gate.open();
    expect(await end.closed()).toBeUndefined();
    expect(end.frames).toHaveLength(2);
  });

  it('closes with LINK_CLOSED and the cause when the other end resets', async () => {
    const { end, socket } = await stranger();
    const sending = end.link.send({ kind: FrameKind.blob, request: 0, channel: 0 }, [new Uint8Array(50 * 2 ** 20)]);
    socket.resetAndDestroy();
    await rejection(sending, 'LINK_CLOSED');
    expect(expectCode(await end.closed(), 'LINK_CLOSED').cause).toBeInstanceOf(Error);
    expect(end.closings).toHaveLength(1);
  });

  it.each([
    ['header', header(5).subarray(0, 9)],
    ['payload', Buffer.concat([header(5), Buffer.from('abcd')])],
  ])('closes with DEADLINE when a %s stands still', async (_, bytes) => {
    const { end, socket } = await stranger({ stallMs: 20 });
    socket.write(bytes);
    expectCode(await end.closed(), 'DEADLINE');
    expect(end.closings).toHaveLength(1);
  });

  it('counts neither idleness nor a busy handler as standstill', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    cleanUps.push(() => vi.useRealTimers());
    const gate = new Gate();
    const { end, socket } = await stranger({ stallMs: 20 }, { frame: () => gate.opened });
    vi.advanceTimersByTime(1000);
    socket.write(Buffer.concat([header(1), Buffer.from('a'), header(3), Buffer.from('ab')]));
    await end.received(1);
    vi.advanceTimersByTime(1000);
    gate.open();
    await turns(5);
    vi.advanceTimersByTime(15);
    expect(end.closings).toHaveLength(0);
    socket.write('c');
    await end.received(2);
  });

  it('lets go of a closed link although the other end stays open', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    cleanUps.push(() => vi.useRealTimers());
    const { end, socket } = await stranger();
    let closed = false;
    socket.once('close', () => {
      closed = true;
    });
    socket.resume();
    end.link.close();
    await once(socket, 'end');
    expect(closed).toBe(false);
    vi.advanceTimersByTime(1000);
    // What the stranger writes now is answered with a reset.
    while (!closed) {
      socket.write('x');
      await turns(1);
    }
  });
});

describe('tcp dialling and listening', () => {
  const recorder = new Recorder();
  afterEach(() => vi.restoreAllMocks());

  it('gives up with DEADLINE where nothing answers', async () => {
    // A name that is never resolved is silence that needs no network.
    vi.spyOn(dns, 'lookup').mockImplementation((() => {}) as unknown as typeof dns.lookup);
    const dial = transport.dial('silent.example:7000', recorder.handlers(), { deadlineMs: 10 });
    expect(await rejection(dial, 'DEADLINE')).toMatchObject({ where: 'silent.example:7000' });
  });

  it('names an unknown host', async () => {
    vi.spyOn(dns, 'lookup').mockImplementation(((_host: string, _options: unknown, done: (error: Error) => void) => {
      setImmediate(done, Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }));
    }) as unknown as typeof dns.lookup);
    const error = await rejection(transport.dial('nowhere.example:7000', recorder.handlers()), 'LINK_FAILED');
    expect(error).toMatchObject({ got: 'ENOTFOUND', hint: expect.stringContaining('no such host name') });
  });

  it('refuses bad addresses before it touches the network', async () => {
    await rejection(transport.dial('localhost', recorder.handlers()), 'ADDRESS_INVALID');
    await rejection(transport.dial('localhost:0', recorder.handlers()), 'ADDRESS_INVALID');
    await rejection(transport.listen('::1:70', recorder.handlers()), 'ADDRESS_INVALID');
  });

  it('names a port that some other program has', async () => {
    const server: Server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect((await rejection(transport.listen(address, recorder.handlers()), 'ADDRESS_IN_USE')).got).toBe('EADDRINUSE');
    server.close();
  });

  it('says so when this machine does not have the address', async () => {
    const error = await rejection(transport.listen('192.0.2.1:0', recorder.handlers()), 'LINK_FAILED');
    expect(error.hint).toContain('does not have that address');
  });

  it('dials by name', async () => {
    const far = new Recorder();
    const listener = await transport.listen('localhost:0', far.handlers());
    const { port } = parseAddress(listener.address);
    const link = await transport.dial(`localhost:${port}`, recorder.handlers());
    await link.send({ kind: FrameKind.ping, request: 0, channel: 0 }, []);
    await far.received(1);
    expect(far.frames[0]?.kind).toBe(FrameKind.ping);
    await listener.close();
  });

  it('speaks IPv6 where the machine does', async (context) => {
    const far = new Recorder();
    const listener = await transport.listen('[::1]:0', far.handlers()).catch(() => context.skip());
    expect(listener.address).toMatch(/^\[::1\]:\d+$/);
    await transport.dial(listener.address, recorder.handlers());
    await far.linked();
    await listener.close();
  });
});
