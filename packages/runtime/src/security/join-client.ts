/**
 * A device's end of joining: connects to a join server, proves to know the code, lets the server prove the same, and only then
 * believes it. `join-protocol.ts` says what is exchanged.
 */
import { X509Certificate } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';
import { parseAddress } from '../link/address.js';
import type { Identity, JoinOptions } from './contract.js';
import { dial } from './dial.js';
import { makePrivateFolder } from './files.js';
import { saveIdentity } from './identity.js';
import { parseCode } from './join-code.js';
import {
  EXPORTER_LABEL,
  issuedSchema,
  JOIN_ALPN,
  MAX_ISSUED_BYTES,
  Messages,
  proofOf,
  sameProof,
  welcomeSchema,
} from './join-protocol.js';
import { checkName, clusterIdOf, memberOf } from './names.js';
import { makeRequest, newKeys } from './x509.js';

const DEFAULT_DEADLINE_MS = 20_000;

/**
 * Joins a cluster with a one-time code and keeps the identity in `folder`, in place of one that is there. Throws `USAGE` for a
 * code or name that cannot be one, `LINK_FAILED` and `DEADLINE` where the controller is not reached, `JOIN_REFUSED` where it
 * refuses, `PEER_REFUSED` where it cannot prove to know the code, `FILE` where the identity cannot be kept.
 */
export async function joinCluster(options: JoinOptions): Promise<Identity> {
  const { address, folder, deadlineMs = DEFAULT_DEADLINE_MS } = options;
  const deviceName = checkName(options.deviceName, 'device');
  const code = parseCode(options.code);
  parseAddress(address);
  // What can fail here should fail before the code is used up.
  await makePrivateFolder(folder);
  const keys = await newKeys();
  const csr = await makeRequest(keys);
  const key = await code.key();
  // Nothing is believed of the other end yet.
  const tls = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', rejectUnauthorized: false } as const;
  const socket = await dial({ ...tls, ALPNProtocols: [JOIN_ALPN] }, address, deadlineMs);
  try {
    const messages = new Messages(socket, address, deadlineMs);
    const served = socket.getPeerX509Certificate();
    if (served === undefined) throw impostor(address, 'no certificate');
    const binding = {
      exported: socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)),
      certificate: served.raw,
    };
    messages.write({ type: 'hello', version: 1, code: code.id, proof: proofOf(key, 'device', binding) });
    const { proof, clusterName, ca } = await messages.read(welcomeSchema);
    if (!sameProof(proof, proofOf(key, 'controller', binding, ca))) throw impostor(address, 'a wrong proof');
    checkController(address, served, ca);
    messages.write({ type: 'request', deviceName, csr });
    const { certificate, revocations } = await messages.read(issuedSchema, MAX_ISSUED_BYTES);
    const record = { clusterName: checkName(clusterName, 'cluster'), deviceName, certificate, key: keys.pem, ca };
    return await saveIdentity(folder, record, revocations);
  } finally {
    socket.destroy();
  }
}

/** Holds the server's certificate to the CA that it showed. */
function checkController(address: string, served: X509Certificate, ca: string): void {
  let ok = false;
  try {
    const issuer = new X509Certificate(ca);
    const member = memberOf(served);
    ok = served.checkIssued(issuer) && served.verify(issuer.publicKey);
    ok &&= member?.role === 'controller' && member.clusterId === clusterIdOf(ca);
  } catch {
    ok = false;
  }
  if (!ok) throw impostor(address, "a certificate that is not the controller's");
}

function impostor(where: string, got: string): DistrEdgeError {
  return new DistrEdgeError('PEER_REFUSED', `${where} does not know the join code: it is not your controller`, {
    where,
    expected: 'a controller that proves to know the code',
    got,
    hint: 'check the address; if it is right, somebody on the network answers in its place: do not use this code again',
  });
}
