/**
 * A device's end of renewing its certificate: before it ends, on a connection on which both ends show theirs, with a new key each time.
 * `join-protocol.ts` says what is exchanged.
 */
import { X509Certificate } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';
import type { Identity, RenewOptions } from './contract.js';
import { dial } from './dial.js';
import { HeldIdentity } from './identity.js';
import { issuedSchema, MAX_ISSUED_BYTES, Messages, RENEW_ALPN } from './join-protocol.js';
import { dueAt, isDue } from './names.js';
import { guardSocket, tlsOptionsFor } from './peer.js';
import { makeRequest, newKeys } from './x509.js';

const DEFAULT_DEADLINE_MS = 20_000;
/** After a renewal that failed the next one is tried after so long, or sooner where the certificate ends soon. */
const AGAIN_MS = 3_600_000;
const LEAST_AGAIN_MS = 1000;
/** The largest delay that timers keep, in ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Has the certificate of a device renewed: from then on the identity has the new one, which is kept in `folder`. Throws `LINK_FAILED` and
 * `DEADLINE` where the controller is not reached, `PEER_REFUSED` where another answers, `JOIN_REFUSED` where it refuses,
 * `IDENTITY_INVALID` for a certificate that is not this device's, `FILE`.
 */
export async function renewIdentity(identity: Identity, options: RenewOptions): Promise<void> {
  const { address, folder, deadlineMs = DEFAULT_DEADLINE_MS } = options;
  if (!(identity instanceof HeldIdentity)) throw new DistrEdgeError('INTERNAL', 'That identity was not made here');
  const keys = await newKeys();
  const csr = await makeRequest(keys);
  const tls = { ...tlsOptionsFor(identity, { server: 'controller' }), ALPNProtocols: [RENEW_ALPN] };
  const socket = await dial(tls, address, deadlineMs);
  try {
    guardSocket(identity, socket);
    const messages = new Messages(socket, address, deadlineMs);
    messages.write({ type: 'renew', version: 1, csr });
    const { certificate, revocations } = await messages.read(issuedSchema, MAX_ISSUED_BYTES);
    if (revocations !== '') await identity.revocations.offer(revocations);
    await identity.renew(folder, certificate, keys.pem);
  } finally {
    socket.destroy();
  }
}

interface KeepRenewedOptions extends RenewOptions {
  /** A certificate was renewed. */
  readonly onRenewed?: (expires: number) => void;
  /** It could not be; it is tried again. */
  readonly onFailed?: (error: unknown) => void;
}

/** Renews the certificate of a device whenever it is due, until the returned function is called. Holds no process up. */
export function keepRenewed(identity: Identity, options: KeepRenewedOptions): () => void {
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const wait = (ms: number): void => {
    if (!over) timer = setTimeout(() => void look(), Math.min(Math.max(ms, 0), MAX_TIMER_MS)).unref();
  };
  const look = async (): Promise<void> => {
    const before = new X509Certificate(identity.certificate);
    if (!isDue(before)) {
      wait(dueAt(before) - Date.now() + 1);
      return;
    }
    try {
      await renewIdentity(identity, options);
      const expires = Date.parse(new X509Certificate(identity.certificate).validTo);
      options.onRenewed?.(expires);
      wait(LEAST_AGAIN_MS);
    } catch (error) {
      if (!over) options.onFailed?.(error);
      const left = Date.parse(before.validTo) - Date.now();
      wait(Math.min(AGAIN_MS, Math.max(LEAST_AGAIN_MS, left / 4)));
    }
  };
  void look();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
