/**
 * The controller's end of renewing: a device that shows a certificate of this cluster, on a connection where the controller has shown
 * its own, gets the next one. Whoever was revoked, or let his certificate end, has to join again.
 */
import type { TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import type { Authority } from './authority.js';
import type { JoinEvent, PeerIdentity } from './contract.js';
import { Messages, renewSchema } from './join-protocol.js';
import { isDue } from './names.js';
import { guardSocket } from './peer.js';

type Refusal = Extract<JoinEvent, { type: 'refused' }>['reason'];

export interface RenewalContext {
  readonly authority: Authority;
  readonly deadlineMs: number;
  readonly onEvent: (event: JoinEvent) => void;
}

/** Why a certificate is not renewed. */
class RenewalRefused extends Error {
  readonly reason: Refusal;
  constructor(reason: Refusal, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Holds one conversation over a connection of TLS; `remote` is the other end's `host:port`. Never rejects: how it ends is an event. */
export async function serveRenewal(context: RenewalContext, socket: TLSSocket, remote: string): Promise<void> {
  const { authority, deadlineMs, onEvent } = context;
  const messages = new Messages(socket, remote, deadlineMs);
  try {
    const peer = memberOn(authority, socket);
    const { csr } = await messages.read(renewSchema);
    const { certificate, deviceId, deviceName } = await authority.renew(csr, peer);
    messages.write({ type: 'issued', certificate, revocations: authority.identity.revocations.pem });
    onEvent({ type: 'renewed', remote, deviceId, deviceName });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    onEvent({ type: 'refused', remote, reason: reasonOf(error), message });
    messages.refuse(told(error));
  }
}

/** The device at the other end, whose certificate is due to be renewed. */
function memberOn(authority: Authority, socket: TLSSocket): PeerIdentity {
  let peer: PeerIdentity;
  try {
    peer = guardSocket(authority.identity, socket);
  } catch (error) {
    const got = error instanceof DistrEdgeError ? error.got : undefined;
    throw new RenewalRefused('no-member', `no member of this cluster: ${got ?? String(error)}`);
  }
  if (peer.role !== 'device') throw new RenewalRefused('no-member', 'only certificates of devices are renewed here');
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || !isDue(certificate))
    throw new RenewalRefused('not-due', 'the certificate does not end soon');
  return peer;
}

function reasonOf(error: unknown): Refusal {
  if (error instanceof RenewalRefused) return error.reason;
  if (!(error instanceof DistrEdgeError)) return 'failed';
  if (error.code === 'JOIN_REFUSED') return 'no-member';
  if (error.code === 'DEADLINE') return 'deadline';
  if (error.code === 'LINK_CLOSED') return 'connection';
  return error.code === 'PROTOCOL' ? 'malformed' : 'failed';
}

function told(error: unknown): { code: string; message: string; hint?: string } {
  const code = 'JOIN_REFUSED';
  if (error instanceof RenewalRefused) {
    const hint = error.reason === 'not-due' ? 'ask again later' : 'the device has to join again, with a new code';
    return { code, message: `The certificate is not renewed: ${error.message}`, hint };
  }
  if (error instanceof DistrEdgeError && error.code === 'JOIN_REFUSED') {
    const { message, hint } = error;
    return { code, message: message.slice(0, 500), ...(hint === undefined ? {} : { hint }) };
  }
  return { code, message: 'The certificate could not be renewed', hint: "look at the controller's log" };
}
