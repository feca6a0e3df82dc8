/** What an exchange of rows costs over a bare socket moving the same bytes; `npm run bench -- exchange [MODEL]`. */
import { execFileSync, fork } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const SELF = fileURLToPath(import.meta.url);
const ROUNDS = 300;

interface Report {
  readonly exchange: { readonly medianMs: number; readonly medianBytes: number; readonly count: number };
}

/** Reads exactly this many bytes, again and again. */
function everyMessage(socket: Socket, bytes: number, handle: () => void): void {
  let have = 0;
  socket.on('data', (chunk: Buffer) => {
    have += chunk.length;
    for (; have >= bytes; have -= bytes) handle();
  });
}

/** The other process of the bare socket: sends back as many bytes as it gets. */
function answer(port: number, bytes: number): void {
  const payload = Buffer.alloc(bytes);
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  everyMessage(socket, bytes, () => socket.write(payload));
}

/** Median time for so many bytes one way, between two processes, in ms. */
async function bareSocket(bytes: number): Promise<number> {
  const payload = Buffer.alloc(bytes);
  const server = createServer({ noDelay: true }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const child = fork(SELF, ['answer', `${port}`, `${bytes}`]);
  const socket = await connected;
  let arrived: () => void = () => undefined;
  everyMessage(socket, bytes, () => arrived());
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    const back = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    socket.write(payload);
    await back;
    times.push((performance.now() - started) / 2);
  }
  socket.destroy();
  server.close();
  child.kill();
  return times.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
}

const [first, second, third] = process.argv.slice(2);
if (first === 'answer') answer(Number(second), Number(third));
else {
  const model = first ?? '../shared/models/architectures/vgg16.onnx.gz';
  const args = [MAIN, 'bench', model, '--workers', '2', '--volumes', 'layers', '--rounds', '15', '--json'];
  const { exchange } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Report;
  const bare = await bareSocket(exchange.medianBytes);
  console.log(`${exchange.count} exchanges of ${(exchange.medianBytes / 1024).toFixed(0)} KiB (medians)`);
  console.log(`from the last row made to the next step begun: ${exchange.medianMs.toFixed(3)} ms`);
  console.log(`the same bytes over a bare socket, one way:    ${bare.toFixed(3)} ms`);
  console.log(`difference:                                    ${(exchange.medianMs - bare).toFixed(3)} ms`);
}
