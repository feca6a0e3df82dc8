/**
 * The controller's end of joining. It listens for devices that have a code, over TLS with the controller's own certificate; until a
 * device has proven to know a code it is given nothing and costs next to nothing. `join-protocol.ts` says what is exchanged. Devices
 * that are members already have their certificates renewed here (`renewal-server.ts`).
 */
import { constants, X509Certificate } from 'node:crypto';
import { createServer as createNetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import { parseAddress } from '../link/address.js';
import { bind, remoteOf } from '../link/socket.js';
import { Authority } from './authority.js';
import type { JoinEvent, JoinServer, JoinServerOptions } from './contract.js';
import type { Claim, CodeRefusal } from './join-code.js';
import { JoinLimits, sourceOf } from './join-limits.js';
import {
  type Binding,
  EXPORTER_LABEL,
  helloSchema,
  JOIN_ALPN,
  Messages,
  proofOf,
  RENEW_ALPN,
  requestSchema,
  sameProof,
} from './join-protocol.js';
import { checkName } from './names.js';
import { serveRenewal } from './renewal-server.js';

const DEFAULT_DEADLINE_MS = 20_000;
/** How long the TLS handshake may take. */
const HANDSHAKE_MS = 5000;
/** How long the device may take to close after the last message. */
const FAREWELL_MS = 2000;

type Refusal = Extract<JoinEvent, { type: 'refused' }>['reason'];

/** Starts listening for devices that join. Rejects with `ADDRESS_IN_USE`, `ADDRESS_INVALID` or `LINK_FAILED`. */
export async function startJoinServer(options: JoinServerOptions): Promise<JoinServer> {
  const { authority, onEvent = () => {}, deadlineMs = DEFAULT_DEADLINE_MS } = options;
  if (!(authority instanceof Authority)) throw new DistrEdgeError('INTERNAL', 'That authority was not made here');
  const { identity } = authority;
  const certificate = new X509Certificate(identity.certificate).raw;
  const limits = new JoinLimits();
  const sockets = new Set<Socket>();
  const tls = createServer({
    key: identity.key,
    cert: identity.certificate,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ALPNProtocols: [JOIN_ALPN, RENEW_ALPN],
    // Devices that join have no certificate yet; those that renew theirs are held to it by `serveRenewal`.
    ca: identity.ca,
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: Math.min(HANDSHAKE_MS, deadlineMs),
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  tls.on('tlsClientError', (error, socket) => {
    socket.destroy();
    onEvent({ type: 'refused', remote: remoteOf(socket), reason: 'connection', message: `no TLS: ${error.message}` });
  });
  tls.on('secureConnection', (socket) => {
    const [remote, source] = [remoteOf(socket), sourceOf(socket.remoteAddress)];
    const binding = { exported: socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)), certificate };
    const context = { authority, limits, binding, deadlineMs, onEvent };
    const served =
      socket.alpnProtocol === RENEW_ALPN
        ? serveRenewal(context, socket, remote)
        : serveJoin(context, socket, remote, source);
    void served.then(() => {
      // In good order, so that the last message arrives; but not for long.
      const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
      socket.once('close', () => clearTimeout(timer));
      socket.end();
      socket.resume();
    });
  });
  const server = createNetServer((socket) => {
    const source = sourceOf(socket.remoteAddress);
    const full = limits.enter(source);
    socket.on('error', () => {});
    if (full !== undefined) {
      onEvent({ type: 'refused', remote: remoteOf(socket), reason: full, message: 'not listened to for now' });
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      limits.left(source);
    });
    tls.emit('connection', socket);
  });
  const address = await bind(server, options.listen, parseAddress(options.listen));
  let closing: Promise<void> | undefined;
  return {
    address,
    close: () => {
      closing ??= new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      });
      return closing;
    },
  };
}

/** What one conversation needs besides its stream. */
export interface JoinContext {
  readonly authority: Authority;
  readonly limits: JoinLimits;
  readonly binding: Binding;
  readonly deadlineMs: number;
  readonly onEvent: (event: JoinEvent) => void;
}

/** Holds one conversation over `stream`; `remote` is the other end's `host:port`, `source` what its guesses count for. Never rejects: how it ends is an event. */
export async function serveJoin(context: JoinContext, stream: Duplex, remote: string, source: string): Promise<void> {
  const { authority, limits, onEvent } = context;
  const messages = new Messages(stream, remote, context.deadlineMs);
  let claim: Claim | undefined;
  try {
    claim = await authenticate(context, messages, source);
    const { identity, clusterName } = authority;
    const proof = proofOf(claim.key, 'controller', context.binding, identity.ca);
    messages.write({ type: 'welcome', proof, clusterName, ca: identity.ca });
    const { deviceName, csr } = await messages.read(requestSchema);
    checkName(deviceName, 'device');
    const { deviceId, certificate } = await authority.admit(csr, deviceName);
    // From here on it is a member, and its code is spent, whether or not it hears so.
    claim = undefined;
    messages.write({ type: 'issued', certificate, revocations: identity.revocations.pem });
    onEvent({ type: 'joined', remote, deviceId, deviceName });
  } catch (error) {
    claim?.release();
    const [reason, told] = refusalOf(error);
    if (reason === 'wrong-code' || reason === 'code-dead') limits.failed(source);
    const message = error instanceof Error ? error.message : String(error);
    onEvent({ type: 'refused', remote, reason, message });
    messages.refuse(told);
  }
}

/** A code that was not accepted. */
class CodeRefused extends Error {
  readonly reason: CodeRefusal | 'too-many-attempts';
  constructor(reason: CodeRefusal | 'too-many-attempts') {
    super(`a join code was refused: ${reason}`);
    this.reason = reason;
  }
}

/** Reads the first message and uses up the code that it proves to know. */
async function authenticate(
  { authority, limits, binding }: JoinContext,
  messages: Messages,
  source: string,
): Promise<Claim> {
  const { code, proof } = await messages.read(helloSchema);
  // Connections that were open before the limit was reached have no more guesses either.
  if (limits.exhausted(source)) throw new CodeRefused('too-many-attempts');
  const claim = await authority.codes.claim(code, (key) => sameProof(proof, proofOf(key, 'device', binding)));
  if (typeof claim === 'string') throw new CodeRefused(claim);
  return claim;
}

const ASK = 'ask for a new one where the cluster was started';

/** Why a conversation ended, for the log, and what the other end is told: who did not prove to know a code learns nothing. */
function refusalOf(error: unknown): [reason: Refusal, told: { code: string; message: string; hint?: string }] {
  const code = 'JOIN_REFUSED';
  if (error instanceof CodeRefused) {
    const { reason } = error;
    if (reason === 'code-used') return [reason, { code, message: 'This join code was used already', hint: ASK }];
    if (reason === 'code-expired') return [reason, { code, message: 'This join code has run out', hint: ASK }];
    return [reason, { code, message: 'This join code is not accepted', hint: `check it, or ${ASK}` }];
  }
  if (error instanceof DistrEdgeError) {
    if (error.code === 'DEADLINE') return ['deadline', { code, message: 'Joining took too long', hint: 'try again' }];
    if (error.code === 'LINK_CLOSED') return ['connection', { code, message: 'The connection broke' }];
    if (error.code === 'PROTOCOL') return ['malformed', { code, message: 'The message is not of the join protocol' }];
    if (error.code === 'USAGE' || error.code === 'JOIN_REFUSED')
      return ['malformed', { code, message: error.message.slice(0, 500) }];
  }
  return ['failed', { code, message: 'The controller could not issue a certificate', hint: 'look at its log' }];
}
