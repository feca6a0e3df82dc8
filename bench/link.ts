/**
 * What the link layer adds to a bare socket: one message and a 4-byte answer between two processes.
 *
 * A is a plain node:net socket, B our TCP link, C our TCP link with the receiver's buffers kept, as a runner keeps them. The
 * three take turns, so that a busy machine is busy for all; the table shows medians in ms, and what B and C add to A.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { createTcpTransport, FrameKind, type Link, type LinkHandlers } from '@distredge/runtime';

const SIZES: readonly (readonly [label: string, bytes: number, rounds: number])[] = [
  ['1 KiB', 2 ** 10, 4000],
  ['64 KiB', 2 ** 16, 2000],
  ['1 MiB', 2 ** 20, 600],
  ['8 MiB', 2 ** 23, 120],
];
const ANSWER = new Uint8Array(4);
/** Rounds before the first that counts. */
const WARM_UP = 50;

interface Addresses {
  readonly plain: number;
  readonly fresh: string;
  readonly kept: string;
}

/** Sends one message and resolves when its answer is there. */
type Exchange = (payload: Uint8Array) => Promise<void>;

/** The answering process: a plain socket server, and two link listeners. */
async function serve(): Promise<void> {
  const server = createServer({ noDelay: true }, (socket) => {
    // A plain peer has to be told the size: the first four bytes of each connection announce it.
    let size = 0;
    let got = 0;
    socket.on('data', (chunk) => {
      got += chunk.length;
      if (size === 0) {
        size = chunk.readUInt32LE(0);
        got -= 4;
      }
      if (got === size) {
        got = 0;
        socket.write(ANSWER);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const kept = new Uint8Array(Math.max(...SIZES.map(([, bytes]) => bytes)));
  const answering = (link: Link): LinkHandlers => ({
    frame: ({ request, channel }) => {
      void link.send({ kind: FrameKind.data, request, channel }, [ANSWER]);
    },
    closed: () => {},
  });
  const transport = createTcpTransport();
  const first = await transport.listen('127.0.0.1:0', answering);
  const second = await transport.listen('127.0.0.1:0', (link) => ({
    ...answering(link),
    allocate: (header) => kept.subarray(0, header.length),
  }));
  const plain = (server.address() as AddressInfo).port;
  process.send?.({ plain, fresh: first.address, kept: second.address } satisfies Addresses);
  process.once('disconnect', () => process.exit());
}

async function dialPlain(port: number, size: number): Promise<{ exchange: Exchange; close: () => void }> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const announced = new Uint8Array(4);
  new DataView(announced.buffer).setUint32(0, size, true);
  socket.write(announced);
  let answered = (): void => {};
  socket.on('data', () => answered());
  const exchange: Exchange = (payload) =>
    new Promise((resolve) => {
      answered = resolve;
      socket.write(payload);
    });
  return { exchange, close: () => socket.destroy() };
}

async function dialLink(address: string): Promise<{ exchange: Exchange; close: () => void }> {
  let answered = (): void => {};
  const link = await createTcpTransport().dial(address, () => ({ frame: () => answered(), closed: () => {} }));
  const exchange: Exchange = (payload) =>
    new Promise((resolve, reject) => {
      answered = resolve;
      link.send({ kind: FrameKind.data, request: 1, channel: 1 }, [payload]).catch(reject);
    });
  return { exchange, close: () => link.close() };
}

async function timed(exchange: Exchange, payload: Uint8Array): Promise<number> {
  const start = performance.now();
  await exchange(payload);
  return performance.now() - start;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

async function measure(): Promise<void> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['serve']);
  const [addresses] = (await once(child, 'message')) as [Addresses];
  console.log(
    'One message + a 4-byte answer between two processes, median ms (A: node:net, B: link, C: link, kept buffers)',
  );
  console.log(['message', 'A', 'B', 'B - A', 'B / A', 'C', 'C - A', 'C / A'].map((cell) => cell.padStart(9)).join(''));
  for (const [label, bytes, rounds] of SIZES) {
    const payload = new Uint8Array(bytes);
    const ways = [
      await dialPlain(addresses.plain, bytes),
      await dialLink(addresses.fresh),
      await dialLink(addresses.kept),
    ];
    const times: number[][] = ways.map(() => []);
    for (let round = -WARM_UP; round < rounds; round++) {
      for (const [way, { exchange }] of ways.entries()) {
        const ms = await timed(exchange, payload);
        if (round >= 0) times[way]?.push(ms);
      }
    }
    const [a = 0, b = 0, c = 0] = times.map(median);
    const cells = [a, b, b - a, b / a, c, c - a, c / a].map((value) => value.toFixed(3).padStart(9));
    console.log(label.padStart(9) + cells.join(''));
    for (const { close } of ways) close();
  }
  child.disconnect();
}

await (process.argv[2] === 'serve' ? serve() : measure());
