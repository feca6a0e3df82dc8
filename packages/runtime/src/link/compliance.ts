/**
 * The one suite that every `Transport` has to pass. Only tests import it. Nothing here waits for time to pass; every wait is
 * for an event that must come.
 */
import { DistrEdgeError } from '@distredge/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FrameKind, type Link, type LinkHandlers, type LinkOptions, type Transport } from './link.js';
import { expectCode, Gate, pattern, Recorder, rejection, turns } from './recorder.js';

/** An address that every transport can listen on: for sockets any free port, for the in-memory twin a name. */
const ANY = '127.0.0.1:0';
const MIB = 2 ** 20;

const data = (request: number, channel = 0) => ({ kind: FrameKind.data, request, channel }) as const;

/** Holds the transports of `makeTransport` to the contract in `link.ts`. */
export function describeLinkCompliance(name: string, makeTransport: () => Transport): void {
  describe(`${name} keeps the link contract`, () => {
    let transport: Transport;
    let near: Recorder;
    let far: Recorder;
    let cleanUps: (() => unknown)[];

    beforeEach(() => {
      transport = makeTransport();
      near = new Recorder();
      far = new Recorder();
      cleanUps = [];
    });
    afterEach(async () => {
      for (const cleanUp of cleanUps) await cleanUp();
    });

    /** Links `near` (the dialler) and `far` (the listener). */
    async function connect(
      extra: { near?: Partial<LinkHandlers>; far?: Partial<LinkHandlers>; options?: LinkOptions } = {},
    ): Promise<{ near: Link; far: Link; address: string }> {
      const listener = await transport.listen(ANY, far.handlers(extra.far), extra.options);
      cleanUps.push(() => listener.close());
      const link = await transport.dial(listener.address, near.handlers(extra.near), extra.options);
      cleanUps.push(() => link.close());
      await far.linked();
      return { near: link, far: far.link, address: listener.address };
    }

    it('carries frames of every kind both ways, in order', async () => {
      const ends = await connect();
      const kinds = Object.values(FrameKind);
      for (const [i, kind] of kinds.entries()) {
        const header = { kind, request: 0xffff_ffff - i, channel: 0x8000_0000 + i };
        await ends.near.send(header, [pattern(i + 3)]);
        await ends.far.send(header, [pattern(i + 5)]);
      }
      await Promise.all([near.received(kinds.length), far.received(kinds.length)]);
      for (const [i, kind] of kinds.entries()) {
        const header = { kind, request: 0xffff_ffff - i, channel: 0x8000_0000 + i };
        expect(far.frames[i]).toEqual({ ...header, length: i + 3, payload: pattern(i + 3) });
        expect(near.frames[i]).toEqual({ ...header, length: i + 5, payload: pattern(i + 5) });
      }
    });

    it('writes pieces back to back, empty ones and whole empty payloads included', async () => {
      const ends = await connect();
      const bytes = pattern(1000);
      const empty = new Uint8Array(0);
      await ends.near.send(data(1), [
        empty,
        bytes.subarray(0, 1),
        empty,
        bytes.subarray(1, 700),
        bytes.subarray(700),
        empty,
      ]);
      await ends.near.send(data(2), []);
      await ends.near.send(data(3), [empty]);
      await ends.near.send(data(4), [Buffer.from('end')]);
      await far.received(4);
      expect(far.frames.map((frame) => frame.length)).toEqual([1000, 0, 0, 3]);
      expect(far.frames[0]?.payload).toEqual(bytes);
      expect(Buffer.from(far.frames[3]?.payload ?? empty).toString()).toBe('end');
    });

    it('gives the receiver its own bytes: the sender may reuse its buffer once a send has settled', async () => {
      const ends = await connect();
      const buffer = Buffer.alloc(300_000);
      for (let i = 0; i < 20; i++) {
        buffer.fill(i);
        await ends.near.send(data(i), [buffer]);
      }
      await far.received(20);
      for (const [i, { payload }] of far.frames.entries()) expect(payload.every((byte) => byte === i)).toBe(true);
    });

    it('carries a payload of 20 MiB', async () => {
      const ends = await connect();
      const payload = pattern(20 * MIB);
      await ends.near.send(data(1), [payload.subarray(0, 7 * MIB + 1), payload.subarray(7 * MIB + 1)]);
      await far.received(1);
      expect(Buffer.compare(far.frames[0]?.payload ?? payload.subarray(1), payload)).toBe(0);
    });

    it('keeps concurrent sends whole and in the order of the calls', async () => {
      const ends = await connect();
      const sizes = Array.from({ length: 300 }, (_, i) => (i * 7919) % 40_000);
      const payloads = sizes.map((size, i) => pattern(size, i));
      const sends = payloads.map((payload, i) => {
        const half = payload.length >> 1;
        return ends.near.send(data(i), [payload.subarray(0, half), payload.subarray(half)]);
      });
      await Promise.all([...sends, far.received(sizes.length)]);
      for (const [i, payload] of payloads.entries()) {
        expect(far.frames[i]?.request).toBe(i);
        expect(Buffer.compare(far.frames[i]?.payload ?? new Uint8Array(1), payload)).toBe(0);
      }
    });

    it('holds back the sender of a slow receiver, and buffers a bounded number of bytes', async () => {
      const gate = new Gate();
      let allocated = 0;
      const ends = await connect({
        far: {
          allocate: ({ length }) => {
            allocated += 1;
            return new Uint8Array(length);
          },
          frame: () => gate.opened,
        },
      });
      const payload = pattern(MIB);
      let settled = 0;
      const sends = Array.from({ length: 100 }, async (_, i) => {
        await ends.near.send(data(i), [payload]);
        settled += 1;
      });
      await far.received(1);
      await turns(100);
      expect(allocated).toBe(1);
      expect(far.frames).toHaveLength(1);
      expect(settled).toBeLessThan(100);
      gate.open();
      await Promise.all([...sends, far.received(100)]);
      expect(far.frames.map((frame) => frame.request)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    });

    it('runs one handler at a time: an asynchronous one holds back the next', async () => {
      let running = 0;
      let most = 0;
      const ends = await connect({
        far: {
          frame: async () => {
            running += 1;
            most = Math.max(most, running);
            await turns(1);
            running -= 1;
          },
        },
      });
      await Promise.all(Array.from({ length: 50 }, (_, i) => ends.near.send(data(i), [pattern(10)])));
      await far.received(50);
      expect(most).toBe(1);
      expect(far.frames.map((frame) => frame.request)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    });

    it('lets both ends answer from within a handler without waiting for each other', async () => {
      const echo = (end: Recorder): Partial<LinkHandlers> => ({
        frame: async ({ kind, request, payload }) => {
          if (kind === FrameKind.ping) await end.link.send({ kind: FrameKind.pong, request, channel: 0 }, [payload]);
        },
      });
      const ends = await connect({ near: echo(near), far: echo(far) });
      for (let i = 0; i < 50; i++) {
        void ends.near.send({ kind: FrameKind.ping, request: i, channel: 0 }, [pattern(9)]);
        void ends.far.send({ kind: FrameKind.ping, request: i, channel: 0 }, [pattern(9)]);
      }
      await Promise.all([near.received(100), far.received(100)]);
    });

    it('asks allocate for the buffer of every payload, by its header', async () => {
      const buffer = new Uint8Array(100);
      const ends = await connect({
        far: { allocate: (header) => buffer.subarray(header.channel, header.channel + header.length) },
      });
      await ends.near.send(data(7, 20), [pattern(30)]);
      await ends.near.send(data(8, 99), []);
      await far.received(2);
      expect(far.frames[0]?.payload.buffer).toBe(buffer.buffer);
      expect(buffer.subarray(20, 50)).toEqual(pattern(30));
      expect(far.frames[1]?.payload.byteOffset).toBe(99);
    });

    it('closes with the error of an allocate that refuses, before any payload is read', async () => {
      const refusal = new DistrEdgeError('PROTOCOL', 'not expected');
      const refuse = (): never => {
        throw refusal;
      };
      const ends = await connect({ far: { allocate: refuse } });
      void ends.near.send(data(1), [pattern(50_000)]);
      expect(await far.closed()).toBe(refusal);
      expectCode(await near.closed(), 'LINK_CLOSED');
      expect(far.frames).toHaveLength(0);
      expect([near.closings.length, far.closings.length]).toEqual([1, 1]);
    });

    it('closes when allocate returns a buffer of another size', async () => {
      const ends = await connect({ far: { allocate: ({ length }) => new Uint8Array(length + 1) } });
      void ends.near.send(data(1), [pattern(10)]);
      expectCode(await far.closed(), 'INTERNAL');
    });

    it('accepts frames of maxFrameBytes and refuses larger ones with FRAME_INVALID', async () => {
      const ends = await connect({ options: { maxFrameBytes: 1000 } });
      await ends.near.send(data(1), [pattern(1000)]);
      void ends.near.send(data(2), [pattern(1001)]);
      expect(expectCode(await far.closed(), 'FRAME_INVALID').got).toBe('1001 bytes');
      expectCode(await near.closed(), 'LINK_CLOSED');
      expect(far.frames).toHaveLength(1);
    });

    it('rejects a header that does not fit, and stays open', async () => {
      const ends = await connect();
      for (const bad of [-1, 0.5, 2 ** 32, Number.NaN]) {
        expect((await rejection(ends.near.send(data(bad), []), 'FRAME_INVALID')).where).toBe('request');
        expect((await rejection(ends.near.send(data(0, bad), []), 'FRAME_INVALID')).where).toBe('channel');
      }
      await rejection(ends.near.send({ ...data(0), kind: 9 as FrameKind }, []), 'FRAME_INVALID');
      await ends.near.send(data(1), []);
      await far.received(1);
    });

    for (const [how, fail] of [
      [
        'throws',
        (error: Error) => {
          throw error;
        },
      ],
      ['rejects', (error: Error) => Promise.reject(error)],
    ] as const) {
      it(`closes with the error, and nothing else, when a frame handler ${how}`, async () => {
        const bug = new TypeError('a bug');
        const ends = await connect({ far: { frame: () => fail(bug) } });
        for (let i = 0; i < 10; i++) void ends.near.send(data(i), [pattern(10)]);
        expect(await far.closed()).toBe(bug);
        expectCode(await near.closed(), 'LINK_CLOSED');
        expect(far.frames).toHaveLength(1);
        expect([near.closings.length, far.closings.length]).toEqual([1, 1]);
      });
    }

    it('closes both ends in good order: closed is called once, without an error', async () => {
      const ends = await connect();
      await ends.near.send(data(1), [pattern(10)]);
      ends.near.close();
      ends.near.close();
      ends.near.close(new Error('too late'));
      expect(near.closings).toHaveLength(0);
      expect(await near.closed()).toBeUndefined();
      expect(await far.closed()).toBeUndefined();
      ends.far.close();
      await turns(5);
      expect([near.closings.length, far.closings.length, far.frames.length]).toEqual([1, 1, 1]);
      await rejection(ends.near.send(data(1), []), 'LINK_CLOSED');
      await rejection(ends.far.send(data(1), []), 'LINK_CLOSED');
    });

    it('delivers every settled send before an orderly end, however slow the receiver', async () => {
      const ends = await connect({ far: { frame: () => turns(2) } });
      for (let i = 0; i < 30; i++) await ends.near.send(data(i), [pattern(5000, i)]);
      ends.near.close();
      expect(await far.closed()).toBeUndefined();
      expect(far.frames.map((frame) => frame.request)).toEqual(Array.from({ length: 30 }, (_, i) => i));
    });

    it('ends in good order even though the other end was still sending', async () => {
      const ends = await connect();
      for (let i = 0; i < 10; i++) void ends.far.send(data(i), [pattern(100_000)]);
      await near.received(1);
      ends.near.close();
      expect(await near.closed()).toBeUndefined();
      expect(await far.closed()).toBeUndefined();
    });

    it('gives an error passed to close to this end, and LINK_CLOSED to the other', async () => {
      const reason = new Error('enough');
      const ends = await connect();
      ends.far.close(reason);
      expect(await far.closed()).toBe(reason);
      expectCode(await near.closed(), 'LINK_CLOSED');
      expect([near.closings.length, far.closings.length]).toEqual([1, 1]);
    });

    it('rejects pending sends when it closes, and tells the other end that something was lost', async () => {
      const gate = new Gate();
      const ends = await connect({ far: { frame: () => gate.opened } });
      const payload = pattern(20 * MIB);
      const sends = Array.from({ length: 5 }, (_, i) => ends.near.send(data(i), [payload]));
      const outcomes = Promise.allSettled(sends);
      await far.received(1);
      ends.near.close();
      gate.open();
      const last = (await outcomes).at(-1);
      expectCode(last?.status === 'rejected' && last.reason, 'LINK_CLOSED');
      expect(await near.closed()).toBeUndefined();
      expectCode(await far.closed(), 'LINK_CLOSED');
    });

    it('gives no frame to a link after its close', async () => {
      const ends = await connect({ far: { frame: () => far.link.close() } });
      for (let i = 0; i < 10; i++) void ends.near.send(data(i), []);
      await Promise.all([near.closed(), far.closed()]);
      expect(far.frames).toHaveLength(1);
      expect(far.closings).toEqual([undefined]);
    });

    it('rejects dialling where nobody listens with LINK_FAILED and a hint', async () => {
      const listener = await transport.listen(ANY, far.handlers());
      await listener.close();
      const error = await rejection(transport.dial(listener.address, near.handlers()), 'LINK_FAILED');
      expect(error.where).toBe(listener.address);
      expect(error.hint).toContain('nothing listens there');
      expect(near.hasLink).toBe(false);
    });

    it('rejects listening where somebody does with ADDRESS_IN_USE and a hint', async () => {
      const { address } = await connect();
      const error = await rejection(transport.listen(address, far.handlers()), 'ADDRESS_IN_USE');
      expect(error.where).toBe(address);
      expect(error.hint).toBeTruthy();
    });

    it('closes accepted links with their listener, and frees the address', async () => {
      const listener = await transport.listen(ANY, far.handlers());
      await transport.dial(listener.address, near.handlers());
      await far.linked();
      await Promise.all([listener.close(), listener.close()]);
      expect(await near.closed()).toBeUndefined();
      expect(await far.closed()).toBeUndefined();
      const again = await transport.listen(listener.address, far.handlers());
      expect(again.address).toBe(listener.address);
      await again.close();
    });

    it('serves several diallers, each on a link of its own', async () => {
      const ends: Recorder[] = [];
      const listener = await transport.listen(ANY, (link) => {
        const end = new Recorder();
        ends.push(end);
        return end.handlers({ frame: ({ request }) => link.send(data(request + 1), []) })(link);
      });
      cleanUps.push(() => listener.close());
      const diallers = Array.from({ length: 4 }, () => new Recorder());
      for (const [i, dialler] of diallers.entries()) {
        const link = await transport.dial(listener.address, dialler.handlers());
        expect(link.remote).toBe(listener.address);
        await link.send(data(10 * i), []);
      }
      for (const [i, dialler] of diallers.entries()) {
        await dialler.received(1);
        expect(dialler.frames[0]?.request).toBe(10 * i + 1);
      }
      expect(new Set(ends.map((end) => end.link.remote)).size).toBe(4);
    });

    it('refuses a connection whose handlers cannot be made, and keeps listening', async () => {
      let refuse = true;
      const listener = await transport.listen(ANY, (link) => {
        if (refuse) throw new Error('not now');
        return far.handlers()(link);
      });
      cleanUps.push(() => listener.close());
      // The reset may come before the dialler knows that it was connected at all.
      const refused: unknown = await transport.dial(listener.address, near.handlers()).then(
        () => near.closed(),
        (error: unknown) => error,
      );
      expectCode(refused, near.hasLink ? 'LINK_CLOSED' : 'LINK_FAILED');
      refuse = false;
      const again = new Recorder();
      const link = await transport.dial(listener.address, again.handlers());
      await link.send(data(1), []);
      await far.received(1);
      const bug = new Error('nor here');
      const dial = transport.dial(listener.address, () => {
        throw bug;
      });
      await expect(dial).rejects.toBe(bug);
    });

    it('tells the owner of a link that was closed while its handlers were made', async () => {
      const listener = await transport.listen(ANY, far.handlers());
      cleanUps.push(() => listener.close());
      const link = await transport.dial(listener.address, (link) => {
        link.close();
        return near.handlers()(link);
      });
      expect(await near.closed()).toBeUndefined();
      await rejection(link.send(data(1), []), 'LINK_CLOSED');
    });
  });
}
