/** The security of a cluster: identities, joining, revocation. What of it the package exports goes through here. */
export { createClusterAuthority } from './authority.js';
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
export { loadIdentity } from './identity.js';
export { joinCluster } from './join-client.js';
export { startJoinServer } from './join-server.js';
export { guardSocket, tlsOptionsFor } from './peer.js';
export { keepRenewed } from './renewal.js';
