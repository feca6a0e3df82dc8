/** `distredge devices`: which clusters are on the local network, and which devices a cluster has. */
import { DistrEdgeError } from '@distredge/core';
import { isOnline, readDirectory } from '@distredge/runtime';
import type { Command } from 'commander';
import { browse } from '../cluster/mdns.js';
import { type MemberOptions, memberOptions, reach } from '../cluster/reach.js';
import { requestRevocation } from '../cluster/revoking.js';
import { seconds } from '../options.js';
import { ms, plain, print, printJson, shown, table } from '../output.js';

interface Options extends MemberOptions {
  readonly time: number;
  readonly revoke?: string;
  readonly json?: true;
}

export function addDevices(program: Command): void {
  memberOptions(
    program
      .command('devices')
      .argument('[address]', 'where a controller listens; without, the local network is asked for controllers'),
  )
    .summary('show the devices of a cluster, or the clusters of the local network')
    .description(
      'With the address of a controller: its devices, whether they are there, and what is known of their links. Without: the clusters that the local network tells of.',
    )
    .option('--time <s>', 'how long to listen to the local network', seconds('--time', 60), 2)
    .option('--revoke <id>', 'take a device out of the cluster that runs on this machine (with --cluster), for good')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  $ distredge devices\n  $ distredge devices 127.0.0.1:7400\n  $ distredge devices 192.168.1.20:7400 --json\n  $ distredge devices --cluster home --revoke 52106246616a5b64\n',
    )
    .action(devices);
}

async function devices(address: string | undefined, options: Options): Promise<void> {
  if (options.revoke !== undefined) return revoke(options.revoke, options);
  if (address === undefined && options.broker === undefined) return clusters(options);
  return members(address ?? '127.0.0.1:7400', options);
}

async function clusters({ time, json }: Options): Promise<void> {
  const found = await shown('asking the local network', () => browse(1000 * time));
  if (json) {
    printJson({ clusters: found, ok: true });
    return;
  }
  if (found.length === 0) {
    print('no cluster answers on the local network; those on this machine alone do not announce themselves');
    return;
  }
  print(table([['cluster', 'join at'], ...found.map(({ name, addresses }) => [name, addresses.join(', ')])]));
}

async function members(address: string, options: Options): Promise<void> {
  const { cluster, endpoint } = await reach(address, options);
  const { controller, registry, answer } = await shown('asking the cluster', () =>
    readDirectory({ cluster, endpoint }),
  );
  const list = [...registry.devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const links = [...registry.links.values()].sort((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1));
  const facts = list.map((device) => ({
    id: device.id,
    name: device.announcement?.name ?? device.id,
    there: isOnline(device),
    address: device.announcement?.address ?? null,
    cpu: device.announcement?.cpu ?? null,
    memoryMb: device.announcement?.memoryMb ?? null,
    engine: device.announcement?.engine ?? null,
    software: device.announcement?.software ?? null,
    models: [...device.profiles.values()].map(({ model }) => model.name),
  }));
  if (options.json) {
    printJson({
      cluster,
      controller: controller ?? null,
      answers: answer !== undefined,
      devices: facts,
      links,
      ok: true,
    });
    return;
  }
  const serving = controller?.model === undefined ? '' : `, serving ${plain(controller.model)}`;
  print(
    `cluster '${plain(cluster)}': ${answer === undefined ? 'the controller does not answer' : `the controller answers in ${ms(answer.roundTripMs)}${serving}`}`,
  );
  if (facts.length === 0) print('no device has joined yet');
  else
    print(
      `\n${table([
        ['device', 'name', 'there', 'address', 'cpu', 'measured for'],
        ...facts.map((one) => [
          one.id,
          one.name,
          one.there ? 'yes' : 'no',
          one.address ?? '-',
          one.cpu ?? '-',
          one.models.join(', ') || '-',
        ]),
      ])}`,
    );
  if (links.length > 0)
    print(
      `\n${table([['from', 'to', 'Mbit/s', 'ms'], ...links.map(({ from, to, mbps, latencyMs }) => [from, to, mbps.toFixed(0), latencyMs.toFixed(2)])])}`,
    );
}

async function revoke(id: string, { cluster, json }: Options): Promise<void> {
  if (!/^[0-9a-f]{1,64}$/.test(id)) {
    throw new DistrEdgeError('USAGE', 'this is not the id of a device with a certificate', {
      where: '--revoke',
      expected: '16 hexadecimal digits, as distredge devices shows them',
      got: id,
    });
  }
  await shown('revoking', () => requestRevocation(cluster, id));
  if (json) printJson({ cluster, revoked: id, ok: true });
  else print(`${id} is out of cluster '${plain(cluster)}'`);
}
