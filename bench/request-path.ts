/**
 * What an image costs beside computing and bytes: where the time goes between handing it in and having its result, on one local
 * provider; `npm run bench -- request-path [IMAGES]`. The network is small, so that what is left over is the request path.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { analyse, compile, planByRule } from '@distredge/core';
import { connect, createTcpTransport, measureLoopback } from '@distredge/runtime';
import { Work } from './_fault-cluster.js';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const images = Number(process.argv[2] ?? 1000);

async function provider(): Promise<{ child: ChildProcess; address: string }> {
  const child = spawn(process.execPath, [MAIN, 'provider', '--listen', '127.0.0.1:0', '--child'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const address = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`provider: ${code}`)));
    child.once('message', (message) => resolve((message as { address: string }).address));
  });
  return { child, address };
}

const work = await Work.create(1);
const analysis = analyse(work.graph);
const link = await measureLoopback();
console.log(
  `bare link: ${link.latencyMs.toFixed(3)} ms, ${link.mbps.toFixed(0)} Mbit/s; load ${(loadavg()[0] ?? 0).toFixed(1)}`,
);
console.log(
  '                 total  computing     bytes   request path: to the first step  between steps  after the last',
);
for (const volumes of [1, 3, 'layers'] as const) {
  const { child, address } = await provider();
  const program = compile(work.graph, planByRule(analysis, { volumes, weights: [1] }), analysis);
  const cluster = await connect(program, { transport: createTcpTransport(), addresses: [address] });
  const carried = program.messages.reduce(
    (sum, { bytes }) => sum + link.latencyMs + (bytes * 8) / (link.mbps * 1000),
    0,
  );
  const rows: number[][] = [];
  for (let index = 0; index < images; index++) {
    await cluster.infer(work.images[index % work.images.length]?.inputs ?? {});
    if (index < images / 10) continue;
    const { totalMs, steps } = await cluster.trace();
    const [first, last] = [steps[0]?.start ?? 0, steps.at(-1)?.end ?? 0];
    const computing = steps.reduce((sum, { start, end }) => sum + end - start, 0);
    rows.push([
      totalMs,
      computing,
      carried,
      totalMs - computing - carried,
      first,
      last - first - computing,
      totalMs - last,
    ]);
  }
  await cluster.close();
  child.disconnect();
  const medians = rows[0]?.map(
    (_, at) => [...rows.map((row) => row[at] ?? 0)].sort((a, b) => a - b)[rows.length >> 1] ?? 0,
  );
  const [total, computing, bytes, path, before, between, after] = (medians ?? []).map((ms) =>
    `${ms.toFixed(3)}`.padStart(9),
  );
  console.log(
    `${`${program.steps.length} steps`.padEnd(13)}${total}  ${computing} ${bytes}      ${path}       ${before}      ${between}       ${after}`,
  );
}
await work.whole.close();
process.exit();
