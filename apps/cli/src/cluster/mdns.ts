/**
 * Clusters on the local network, by multicast DNS. What is found is a hint to people where to join, nothing more: anybody on the
 * network can announce anything, and only the code proves a controller.
 */
import { DistrEdgeError } from '@distredge/core';
import { onEnd } from '../lifecycle.js';

const TYPE = 'distredge';

export interface FoundCluster {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly port: number;
}

/** Tells the local network of a cluster until the command ends. That this cannot be done is no error. */
export async function advertise({ name, port }: { readonly name: string; readonly port: number }): Promise<void> {
  const { Bonjour } = await import('bonjour-service');
  const bonjour = new Bonjour({}, () => undefined);
  bonjour.publish({ name: `${name}-${process.pid}`, type: TYPE, port, txt: { cluster: name } });
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
    const cluster: unknown = (txt as { cluster?: unknown } | undefined)?.cluster;
    if (found.size < MOST)
      found.set(`${name}`, {
        name: (typeof cluster === 'string' ? cluster : `${name}`).slice(0, 64),
        addresses: (addresses ?? []).filter((address) => typeof address === 'string').slice(0, 16),
        port: Number.isInteger(port) ? port : 0,
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
