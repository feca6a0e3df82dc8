/**
 * TLS between members of a cluster: 1.3 only, both ends with certificates of the cluster's CA. What OpenSSL does not look at is
 * looked at here: that the other end is a member of this cluster, and that it is still one while the connection is open.
 */
import { constants } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import type { Identity, PeerIdentity, Role, TlsOptions } from './contract.js';
import { memberOf, parseMember } from './names.js';

/** The largest delay that timers keep, in ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Options for `tls.connect`, `tls.createServer` and MQTT clients. `server`: the role that a client holds the server to. */
export function tlsOptionsFor(identity: Identity, options: { readonly server?: Role } = {}): TlsOptions {
  const { pem } = identity.revocations;
  return {
    key: identity.key,
    cert: identity.certificate,
    ca: identity.ca,
    ...(pem === '' ? {} : { crl: pem }),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: true,
    // A resumed session skips the client's certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
    checkServerIdentity: (host, { subjectaltname }) => {
      const member = parseMember(subjectaltname);
      if (member?.clusterId !== identity.clusterId) {
        return refused(host, `a certificate of cluster ${identity.clusterId}`, subjectaltname ?? 'no name');
      }
      if (options.server === undefined || member.role === options.server) return undefined;
      return refused(host, `the ${options.server}`, `a ${member.role}`);
    },
  };
}

/**
 * To be called once for every connected socket ('secureConnection' of a server, 'secureConnect' of a client), before a byte of
 * it is used: says who the other end is, or throws `PEER_REFUSED` (the caller then destroys the socket). From then on `lost` is
 * called, once, with such an error as soon as the other end is revoked or its certificate ends; by default it destroys the socket.
 */
export function guardSocket(
  identity: Identity,
  socket: TLSSocket,
  lost: (error: DistrEdgeError) => void = (error) => socket.destroy(error),
): PeerIdentity {
  const where = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
  const peer = peerOf(identity, socket, where);
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    clearTimeout(timer);
    const error = standing(identity, peer, where);
    if (error !== undefined) {
      stop();
      lost(error);
      return;
    }
    timer = setTimeout(look, Math.min(Math.max(peer.expires - Date.now(), 0) + 1, MAX_TIMER_MS)).unref();
  };
  const stopListening = identity.revocations.onChange(look);
  const stop = (): void => {
    clearTimeout(timer);
    stopListening();
    socket.off('close', stop);
  };
  socket.once('close', stop);
  look();
  return peer;
}

function peerOf(identity: Identity, socket: TLSSocket, where: string): PeerIdentity {
  if (!socket.authorized || socket.getProtocol() !== 'TLSv1.3' || socket.isSessionReused()) {
    const got = socket.authorizationError ?? socket.getProtocol() ?? 'no TLS';
    throw refused(where, 'TLS 1.3 with a certificate of this cluster', String(got));
  }
  const certificate = socket.getPeerX509Certificate();
  const peer = certificate === undefined ? undefined : memberOf(certificate);
  if (peer === undefined || peer.clusterId !== identity.clusterId) {
    throw refused(where, `a certificate of cluster ${identity.clusterId}`, certificate?.subjectAltName ?? 'none');
  }
  const error = standing(identity, peer, where);
  if (error !== undefined) throw error;
  return peer;
}

/** Why a peer may not stay, if it may not. */
function standing({ revocations }: Identity, peer: PeerIdentity, where: string): DistrEdgeError | undefined {
  if (revocations.has(peer.serial)) return refused(where, 'a member of this cluster', `revoked: ${peer.deviceId}`);
  if (peer.expires > Date.now()) return undefined;
  return refused(where, 'a certificate that has not ended', `ended: ${peer.deviceId}`);
}

function refused(where: string, expected: string, got: string): DistrEdgeError {
  return new DistrEdgeError('PEER_REFUSED', 'The other end was refused', {
    where,
    expected,
    got: got.slice(0, 200),
    hint: 'a device that was revoked, or belongs to another cluster, has to join this one: distredge join',
  });
}
