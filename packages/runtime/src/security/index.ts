/** The security of a cluster: identities, joining, revocation. What of it the package exports goes through here. */
import type { TLSSocket } from 'node:tls';
import type {
  ClusterAuthority,
  Identity,
  JoinOptions,
  JoinServer,
  JoinServerOptions,
  PeerIdentity,
  Role,
  TlsOptions,
} from './contract.js';

export type {
  ClusterAuthority,
  Identity,
  IssuedDevice,
  JoinCode,
  JoinEvent,
  JoinOptions,
  JoinServer,
  JoinServerOptions,
  PeerIdentity,
  Revocations,
  Role,
  TlsOptions,
} from './contract.js';

/** Opens the authority kept in `folder`, or founds a cluster there. */
export declare function createClusterAuthority(
  folder: string,
  options: { readonly clusterName: string },
): Promise<ClusterAuthority>;
export declare function startJoinServer(options: JoinServerOptions): Promise<JoinServer>;
export declare function joinCluster(options: JoinOptions): Promise<Identity>;
/** Loads what `joinCluster` kept. Throws `IDENTITY_INVALID`, also where there is none. */
export declare function loadIdentity(folder: string): Promise<Identity>;
/** `server`: the role that a client holds the server to (an MQTT client: `controller`). */
export declare function tlsOptionsFor(identity: Identity, options?: { readonly server?: Role }): TlsOptions;
/**
 * To be called once for every connected socket ('secureConnection' of a server, 'secureConnect' of a client), before a byte of
 * it is used: says who the other end is, or throws `PEER_REFUSED` (the caller then destroys the socket). From then on the
 * socket is destroyed, with that error, as soon as the other end is revoked.
 */
export declare function guardSocket(identity: Identity, socket: TLSSocket): PeerIdentity;
