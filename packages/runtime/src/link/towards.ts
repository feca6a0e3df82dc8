/** Links that must be to certain devices: whoever else answers at an address, though a member of the cluster, is refused. */
import type { Transport } from './link.js';

/**
 * The same transport, whose dials are held to the device that `idOf` names for an address; undefined where any member will do. Only for
 * transports whose ends prove who they are.
 */
export function towards(transport: Transport, idOf: (address: string) => string | undefined): Transport {
  return {
    name: transport.name,
    listen: (...args) => transport.listen(...args),
    dial: (address, handlers, options) => {
      const expectPeer = idOf(address);
      return transport.dial(address, handlers, { ...options, ...(expectPeer === undefined ? {} : { expectPeer }) });
    },
  };
}
