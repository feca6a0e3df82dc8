/** How the cluster commands reach a cluster: its name, its broker, the identity that this machine joined it with. */
import { readFile } from 'node:fs/promises';
import { DistrEdgeError } from '@distredge/core';
import {
  addressEndpoint,
  brokerEndpoint,
  type Endpoint,
  type Identity,
  isLoopback,
  loadIdentity,
  parseAddress,
} from '@distredge/runtime';
import type { Command } from 'commander';
import { fileError } from '../image/file-error.js';
import { deviceFolder } from './secure.js';

export interface ReachOptions {
  readonly cluster: string;
  readonly broker?: string;
  readonly brokerCa?: string;
  readonly secure?: true;
}

export interface MemberOptions extends ReachOptions {
  readonly folder: string;
}

/** Where a controller listens when nothing else is said. */
export const DEFAULT_ADDRESS = '127.0.0.1:7400';

/** What a cluster is called when nothing else is said. */
export const DEFAULT_CLUSTER = 'local';

/** The options of every command that talks to a cluster. */
export function reachOptions(command: Command): Command {
  return command
    .option('--cluster <name>', 'name of the cluster: several may share one broker', DEFAULT_CLUSTER)
    .option('--secure', 'use certificates on this machine, too; beyond it they are always used')
    .option('--broker <url>', 'an MQTT broker of your own, as in mqtts://user:password@host:8883')
    .option('--broker-ca <file>', 'certificate authority of that broker, PEM (default: those of the system)');
}

/** Also where the device's identity is kept. */
export function memberOptions(command: Command): Command {
  return reachOptions(command).option('--folder <dir>', 'where the identity of this device is kept', deviceFolder());
}

/** Whether certificates are needed to talk to `address`. */
export function needsIdentity(address: string, { secure }: ReachOptions): boolean {
  return secure === true || !isLoopback(parseAddress(address).host);
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

/** A cluster within reach. */
export interface Reached {
  /** As its topics call it. */
  readonly cluster: string;
  readonly endpoint: Endpoint;
  readonly identity: Identity | undefined;
}

/** The cluster at `address`, as a member of it where certificates are needed. */
export async function reach(address: string, options: MemberOptions): Promise<Reached> {
  const identity = needsIdentity(address, options) ? await keptIdentity(options.folder) : undefined;
  return reachAs(address, options, identity);
}

/** The same, with an identity that is known. */
export async function reachAs(
  address: string,
  options: ReachOptions,
  identity: Identity | undefined,
): Promise<Reached> {
  const endpoint = (await givenBroker(options)) ?? addressEndpoint(address, identity);
  return { cluster: identity?.clusterId ?? options.cluster, endpoint, identity };
}

async function keptIdentity(folder: string): Promise<Identity> {
  try {
    return await loadIdentity(folder);
  } catch (error) {
    if (!(error instanceof DistrEdgeError) || error.code !== 'IDENTITY_INVALID') throw error;
    throw new DistrEdgeError('IDENTITY_INVALID', 'this machine has not joined a cluster yet', {
      where: folder,
      ...(error.got === undefined ? {} : { got: error.got }),
      hint: 'join with the code that distredge up prints: distredge join ADDRESS --code CODE',
      cause: error,
    });
  }
}
