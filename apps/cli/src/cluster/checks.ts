/** What `distredge doctor` looks at, one thing after another, from this machine outwards; it stops where what follows cannot work. */
import { connect } from 'node:net';
import { DistrEdgeError } from '@distredge/core';
import {
  createTcpTransport,
  createTlsTransport,
  engineName,
  isLoopback,
  isOnline,
  parseAddress,
  readDirectory,
  type Snapshot,
  type Transport,
} from '@distredge/runtime';
import { ms } from '../output.js';
import { version } from '../version.js';
import { type MemberOptions, needsIdentity, type Reached, reach } from './reach.js';
import { joinAddress, ownHostTowards, reachableHosts } from './secure.js';

export interface Check {
  readonly what: string;
  readonly result: 'good' | 'doubtful' | 'bad';
  readonly found: string;
  /** What to do. */
  readonly advice?: string;
}

const DIAL_MS = 3000;
/** Certificates hold from a little before they were issued; clocks that lie further apart than this spoil them and the logs. */
const MOST_SKEW_MS = 30_000;

/** Whether a port can be reached: what the system says, in a few words. */
function dial(address: string): Promise<'open' | 'refused' | 'silent' | string> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (found: string): void => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(DIAL_MS, () => end('silent'));
    socket.once('connect', () => end('open'));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'ECONNREFUSED' ? 'refused' : (error.code ?? error.message)),
    );
  });
}

function portCheck(what: string, address: string, found: string, listener: string): Check {
  if (found === 'open') return { what, result: 'good', found: `${address} can be reached` };
  if (found === 'refused') {
    return {
      what,
      result: 'bad',
      found: `the machine at ${address} is there, but nothing listens on this port`,
      advice: `start ${listener} there and compare the address that it prints; a process that listens on 127.0.0.1 is not reached from outside: let it listen on the machine's address`,
    };
  }
  if (found === 'silent') {
    return {
      what,
      result: 'bad',
      found: `no answer from ${address} within ${DIAL_MS / 1000} s`,
      advice:
        'a firewall drops the port, or the machine is off or in another network: allow this TCP port, and check the address',
    };
  }
  return {
    what,
    result: 'bad',
    found: `${address} cannot be reached: ${found}`,
    advice:
      'check the address and that both machines are in the same network, with the same interface (no guest Wi-Fi, no VPN between)',
  };
}

/** Everything that can be looked at. Never rejects for what it is there to find. */
export async function checksFor(address: string, options: MemberOptions): Promise<Check[]> {
  const checks: Check[] = [
    {
      what: 'this machine',
      result: 'good',
      found: `distredge ${version()}, ${engineName()}, Node ${process.versions.node}`,
    },
  ];
  const loopback = isLoopback(parseAddress(address).host);
  checks.push(await interfaceCheck(address, loopback));
  if (options.broker === undefined) {
    const control = portCheck('control plane', address, await dial(address), 'distredge up');
    checks.push(control);
    if (control.result !== 'good') return checks;
    if (needsIdentity(address, options)) {
      const joining = joinAddress(address);
      const found = portCheck('joining', joining, await dial(joining), 'distredge up with certificates');
      // Whoever has joined already does not need it.
      checks.push(found.result === 'bad' ? { ...found, result: 'doubtful' } : found);
    }
  }
  let reached: Reached;
  try {
    reached = await reach(address, options);
  } catch (error) {
    return [...checks, failed('certificate', error)];
  }
  if (reached.identity !== undefined)
    checks.push({
      what: 'certificate',
      result: 'good',
      found: `this machine is '${reached.identity.deviceName}' in cluster '${reached.identity.clusterName}'`,
    });
  let snapshot: Snapshot;
  try {
    snapshot = await readDirectory({ cluster: reached.cluster, endpoint: reached.endpoint });
  } catch (error) {
    return [...checks, failed('broker', error)];
  }
  checks.push({ what: 'broker', result: 'good', found: `${reached.endpoint.name} lets this machine in` });
  checks.push(...controllerChecks(snapshot));
  const transport = reached.identity === undefined ? createTcpTransport() : createTlsTransport(reached.identity);
  checks.push(...(await deviceChecks(snapshot, transport)));
  return checks;
}

async function interfaceCheck(address: string, loopback: boolean): Promise<Check> {
  const what = 'network';
  if (loopback) return { what, result: 'good', found: 'the controller is on this machine' };
  try {
    const own = await ownHostTowards(address);
    if (!isLoopback(own)) return { what, result: 'good', found: `packets leave from ${own}` };
    return { what, result: 'good', found: 'the address is one of this machine' };
  } catch (error) {
    const hosts = reachableHosts();
    return {
      what,
      result: 'bad',
      found: `${error instanceof DistrEdgeError ? (error.got ?? error.message) : String(error)}; this machine has ${hosts.length === 0 ? 'no network address' : hosts.join(', ')}`,
      advice: 'connect this machine to the network of the controller, and check the address',
    };
  }
}

function failed(what: string, error: unknown): Check {
  const facts = error instanceof DistrEdgeError ? error : undefined;
  return {
    what,
    result: 'bad',
    found: facts === undefined ? String(error) : `${facts.message}${facts.got === undefined ? '' : ` (${facts.got})`}`,
    advice: facts?.hint ?? 'run this again with DISTREDGE_DEBUG=1, and report what it prints',
  };
}

function controllerChecks({ controller, answer }: Snapshot): Check[] {
  if (answer === undefined) {
    return [
      {
        what: 'controller',
        result: 'bad',
        found:
          controller === undefined
            ? 'no controller has ever been here'
            : `it is ${controller.status === 'online' ? 'there, but does not answer' : controller.status}`,
        advice: 'start distredge up, with the same --broker and --cluster as here',
      },
    ];
  }
  const { roundTripMs, skewMs, software } = answer;
  const skewed = Math.abs(skewMs) > MOST_SKEW_MS;
  return [
    { what: 'controller', result: 'good', found: `it answers in ${ms(roundTripMs)}` },
    {
      what: 'clock',
      result: skewed ? 'bad' : 'good',
      found: `that of the controller is ${ms(Math.abs(skewMs))} ${skewMs < 0 ? 'behind' : 'ahead'}`,
      ...(skewed
        ? {
            advice:
              'set both clocks by the network (NTP): certificates are not valid yet or no longer by a wrong clock',
          }
        : {}),
    },
    versionCheck('version', software),
  ];
}

function versionCheck(what: string, software: string): Check {
  const same = software === version();
  return {
    what,
    result: same ? 'good' : 'doubtful',
    found: `${software}, ${same ? 'the same as here' : `here ${version()}`}`,
    ...(same ? {} : { advice: 'install the same version of distredge on all machines' }),
  };
}

async function deviceChecks({ registry, refused }: Snapshot, transport: Transport): Promise<Check[]> {
  const checks: Check[] = [];
  if (registry.devices.size === 0)
    checks.push({
      what: 'devices',
      result: 'doubtful',
      found: 'none has joined',
      advice: 'run distredge join on a device',
    });
  for (const device of [...registry.devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const { announcement, status } = device;
    const what = `device ${announcement?.name ?? device.id}`;
    if (announcement === undefined || !isOnline(device)) {
      checks.push({
        what,
        result: 'doubtful',
        found: status?.status === 'left' ? 'it has left' : 'it is lost: its process ended, or its network is cut',
        advice: 'run distredge join there again',
      });
      continue;
    }
    const found = await dialLink(transport, announcement.address);
    checks.push(
      found === undefined
        ? { what, result: 'good', found: `its data link at ${announcement.address} can be reached` }
        : {
            what,
            result: 'bad',
            found: `its data link at ${announcement.address} cannot be reached: ${found}`,
            advice:
              'devices exchange rows directly, on ports that the system chooses: allow TCP between the machines of the cluster',
          },
    );
    if (announcement.software !== version()) checks.push(versionCheck(`${what}, version`, announcement.software));
  }
  if (refused.length > 0)
    checks.push({
      what: 'messages',
      result: 'bad',
      found: `${refused.length} were none: ${refused[0]}`,
      advice: 'something else, or another version, writes to the topics of this cluster',
    });
  return checks;
}

/** Why a provider cannot be linked to; undefined where it can. */
async function dialLink(transport: Transport, address: string): Promise<string | undefined> {
  try {
    const link = await transport.dial(address, () => ({ frame: () => undefined, closed: () => undefined }), {
      deadlineMs: DIAL_MS,
    });
    link.close();
    return undefined;
  } catch (error) {
    return error instanceof DistrEdgeError ? `${error.code} ${error.got ?? error.message}` : String(error);
  }
}
