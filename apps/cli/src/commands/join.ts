/** `distredge join`: makes this machine a device of a cluster, until it is told to stop. */
import { X509Certificate } from 'node:crypto';
import { hostname, totalmem } from 'node:os';
import {
  createOrtEngine,
  createOrtEngineFor,
  createTcpTransport,
  createTlsTransport,
  engineName,
  type Identity,
  isLoopback,
  joinCluster,
  keepRenewed,
  makeWritable,
  measureProfile,
  measureSpeed,
  parseAddress,
  startAgent,
  type TlsTransportOptions,
  weightsFolder,
} from '@distredge/runtime';
import type { Command } from 'commander';
import { jsonLine } from '../cluster/lines.js';
import { DEFAULT_ADDRESS, type MemberOptions, memberOptions, type Reached, reach, reachAs } from '../cluster/reach.js';
import { joinAddress, ownHostTowards } from '../cluster/secure.js';
import { onEnd } from '../lifecycle.js';
import { wholeNumber } from '../options.js';
import { plain, print } from '../output.js';
import { keepHeapSteady } from '../steady-heap.js';
import { version } from '../version.js';

interface Options extends MemberOptions {
  readonly code?: string;
  readonly name?: string;
  readonly threads: number;
  readonly cache?: string;
  readonly json?: true;
}

export function addJoin(program: Command): void {
  memberOptions(program.command('join').argument('[address]', 'where the controller listens', DEFAULT_ADDRESS))
    .summary('make this machine a device of a cluster')
    .description(
      'Joins the cluster of a controller (distredge up) and computes parts of its model until Ctrl-C. The machine is measured once for each model; what was measured is kept.',
    )
    .option('--code <code>', 'the code that the controller prints: once for each device, where certificates are used')
    .option('--name <name>', 'what the device is called (default: the name of this machine and a number)')
    .option('--threads <n>', 'threads for one op', wholeNumber('--threads', 1, 256), 1)
    .option('--cache <dir>', `folder in which weights are kept (default: ${weightsFolder()})`)
    .option('--json', 'print one JSON object for everything that happens')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge join 127.0.0.1:7400\n  $ distredge join 192.168.1.20:7400 --code ABCD-EFGH-JKLM-NPQR --name kitchen\n  $ distredge join 192.168.1.20:7400\n  $ distredge join --broker mqtts://user:password@broker.example:8883 --cluster plant-7\n',
    )
    .action(join);
}

/** Memory that models and rows may take, in 10⁶ bytes: what the machine, or this process's share of it, has. */
function memoryMb(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  return Math.floor((constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()) / 1e6);
}

/** A name that this process does not share with another one on this machine. */
function ownName(): string {
  const host = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 48);
  return `${host === '' ? 'device' : host}-${process.pid}`;
}

/** The usual folder for weights; without a home that can be written to, they are kept while the device runs. */
async function usualCache(log: (line: string) => void): Promise<string | undefined> {
  const folder = weightsFolder();
  try {
    await makeWritable(folder);
    return folder;
  } catch (error) {
    log(`weights are not kept for the next time: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** The cluster to join, as the device that this machine is or becomes. */
async function admitted(address: string, options: Options, name: string): Promise<Reached> {
  const { code, folder } = options;
  if (code === undefined) return reach(address, options);
  const identity: Identity = await joinCluster({ address: joinAddress(address), code, deviceName: name, folder });
  return reachAs(address, options, identity);
}

async function join(address: string, options: Options): Promise<void> {
  const { threads, json } = options;
  keepHeapSteady();
  const name = options.name ?? ownName();
  const { cluster, endpoint, identity } = await admitted(address, options, name);
  const id = identity?.deviceId ?? name;
  const host = !isLoopback(parseAddress(address).host) ? await ownHostTowards(address) : '127.0.0.1';
  const log = (line: string): void => {
    if (json) jsonLine('log', { line });
    else print(plain(line));
  };
  const onRefused: TlsTransportOptions['onRefused'] = (remote, { got, message }) => {
    log(`a link from ${remote} was refused: ${got ?? message}`);
  };
  const flopsPerSecond = await measureSpeed({ threads });
  const agent = await startAgent({
    cluster,
    id,
    name: identity?.deviceName ?? name,
    endpoint,
    identity,
    transport: identity === undefined ? createTcpTransport() : createTlsTransport(identity, { onRefused }),
    host,
    createEngine: (program) => createOrtEngineFor(program, { threads, flopsPerSecond }),
    engineName: engineName(),
    threads,
    memoryMb: memoryMb(),
    cache: options.cache ?? (await usualCache(log)),
    software: version(),
    measure: async (analysis, workload, { device, memoryMb: memory, budgetMs, signal }) => {
      const engine = createOrtEngine({ threads });
      try {
        return await measureProfile(analysis, workload, {
          engine,
          threads,
          device,
          memoryMb: memory,
          budgetMs,
          signal,
        });
      } finally {
        await engine.close();
      }
    },
    log,
  });
  onEnd(() => agent.close());
  if (identity !== undefined) renew(identity, address, options.folder, log);
  if (json)
    jsonLine('joined', {
      id,
      name,
      cluster: identity?.clusterName ?? cluster,
      address: agent.address,
      broker: endpoint.name,
    });
  else
    print(
      `joined cluster '${plain(identity?.clusterName ?? cluster)}' at ${plain(endpoint.name)} as ${plain(identity?.deviceName ?? name)} (${engineName()}); Ctrl-C leaves it`,
    );
  await new Promise(() => undefined);
}

/** Has this device's certificate renewed before it ends, as long as the command runs. */
function renew(identity: Identity, address: string, folder: string, log: (line: string) => void): void {
  const stop = keepRenewed(identity, {
    address: joinAddress(address),
    folder,
    onRenewed: (expires) => log(`this device has a new certificate, until ${new Date(expires).toISOString()}`),
    onFailed: (error) =>
      log(
        `the certificate of this device could not be renewed; it ends on ${certificateEnd(identity)}: ${error instanceof Error ? error.message : String(error)}`,
      ),
  });
  onEnd(async () => stop());
}

function certificateEnd({ certificate }: Identity): string {
  return new Date(new X509Certificate(certificate).validTo).toISOString();
}
