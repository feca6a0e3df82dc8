/** How the cluster commands reach a cluster: its name, its broker, the identity that this machine joined it with. */
import { readFile } from 'node:fs/promises';
import { addressEndpoint, assertLoopback, brokerEndpoint, type Endpoint } from '@distredge/runtime';
import type { Command } from 'commander';
import { fileError } from '../image/file-error.js';

export interface ReachOptions {
  readonly cluster: string;
  readonly broker?: string;
  readonly brokerCa?: string;
}

/** Where a controller listens when nothing else is said. */
export const DEFAULT_ADDRESS = '127.0.0.1:7400';

/** The name of a cluster that has no certificates. */
export const DEFAULT_CLUSTER = 'local';

/** The options of every command that talks to a cluster. */
export function reachOptions(command: Command): Command {
  return command
    .option('--cluster <name>', 'name of the cluster: several may share one broker', DEFAULT_CLUSTER)
    .option('--broker <url>', 'an MQTT broker of your own, as in mqtts://user:password@host:8883')
    .option('--broker-ca <file>', 'certificate authority of that broker, PEM (default: those of the system)');
}

/** The broker of `--broker`; undefined where that is not given. */
export async function givenBroker({ broker, brokerCa }: ReachOptions): Promise<Endpoint | undefined> {
  if (broker === undefined) return undefined;
  if (brokerCa === undefined) return brokerEndpoint(broker);
  try {
    return brokerEndpoint(broker, await readFile(brokerCa, 'utf8'));
  } catch (error) {
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : fileError(error, brokerCa, 'read');
  }
}

/** The broker of a cluster: the given one, or the one inside the controller at `address`. */
export async function endpointOf(address: string, options: ReachOptions): Promise<Endpoint> {
  const given = await givenBroker(options);
  if (given !== undefined) return given;
  assertLoopback(address);
  return addressEndpoint(address);
}
