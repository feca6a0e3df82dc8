/**
 * Clusters on the local network, by multicast DNS. What is found is a hint to people where to join, nothing more: anybody on the
 * network can announce anything, and only the code proves a controller.
 */
import { DistrEdgeError } from '@distredge/core';
import { formatAddress, parseAddress } from '@distredge/runtime';
import { onEnd } from '../lifecycle.js';

const TYPE = 'distredge';

export interface FoundCluster {
  readonly name: string;
  /** Where devices join, `host:port`. */
  readonly addresses: readonly string[];
}

/** Tells the local network of a cluster until the command ends. That this cannot be done is no error. */
export async function advertise(name: string, address: string): Promise<void> {
  const { port } = parseAddress(address);
  const { Bonjour } = await import('bonjour-service');
  const bonjour = new Bonjour({}, () => undefined);
  bonjour.publish({ name: `${name}-${process.pid}`, type: TYPE, port, txt: { cluster: name, address } });
  onEnd(
    () =>
      new Promise((resolve) => {
        bonjour.unpublishAll(() => {
          bonjour.destroy();
          resolve();
        });
      }),
  );
}

function isAddress(text: unknown): text is string {
  try {
    return typeof text === 'string' && parseAddress(text).port > 0;
  } catch {
    return false;
  }
}

/** More than a network of a reader's own has. */
const MOST = 256;

/** Clusters that answer within so long. Rejects with `LINK_FAILED` where there is no network to ask. */
export async function browse(ms: number): Promise<FoundCluster[]> {
  const { Bonjour } = await import('bonjour-service');
  const found = new Map<string, FoundCluster>();
  let failure: unknown;
  const bonjour = new Bonjour({}, (error: unknown) => {
    failure = error;
  });
  const browser = bonjour.find({ type: TYPE }, ({ name, port, addresses, txt }) => {
    const told = (txt ?? {}) as { readonly cluster?: unknown; readonly address?: unknown };
    const { cluster } = told;
    if (found.size < MOST)
      found.set(`${name}`, {
        name: (typeof cluster === 'string' ? cluster : `${name}`).slice(0, 64),
        addresses: isAddress(told.address)
          ? [told.address]
          : (addresses ?? []).slice(0, 16).map((host) => formatAddress({ host: `${host}`, port })),
      });
  });
  await new Promise((resolve) => setTimeout(resolve, ms));
  browser.stop();
  await new Promise<void>((resolve) => {
    bonjour.unpublishAll(() => resolve());
  });
  bonjour.destroy();
  if (failure !== undefined && found.size === 0) {
    throw new DistrEdgeError('LINK_FAILED', 'the local network cannot be asked for clusters', {
      got: failure instanceof Error ? failure.message : String(failure),
      hint: 'give the address of the controller instead',
    });
  }
  return [...found.values()];
}
