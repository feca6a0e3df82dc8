/** How members of a cluster are written: into certificates for programs, and in names for people. */
import { createHash, X509Certificate } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';
import type { PeerIdentity, Role } from './contract.js';
import { plainSerial } from './x509.js';

const NAME = /^[\p{L}\p{N}](?:[\p{L}\p{N} ._-]{0,62}[\p{L}\p{N}])?$/u;
/** All of a member's subject alternative names: this one. */
const MEMBER = /^URI:distredge:\/\/([0-9a-f]{32})\/(controller|device)\/([0-9a-f]{16})$/;

/** Returns `name`. Throws `USAGE` where it is no name of a cluster or device. */
export function checkName(name: string, what: string): string {
  if (typeof name === 'string' && name.length <= 64 && NAME.test(name)) return name;
  throw new DistrEdgeError('USAGE', `That is no name for a ${what}`, {
    where: `the ${what}'s name`,
    expected: '1 to 64 letters, digits, blanks, dots, dashes or underscores, letters or digits at both ends',
    got: JSON.stringify(String(name).slice(0, 80)),
  });
}

/** The id of the cluster whose CA has this certificate (PEM): it follows from the CA's public key. */
export function clusterIdOf(ca: string): string {
  const key = new X509Certificate(ca).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('hex').slice(0, 32);
}

/** The name in a member's certificate. */
export function memberUri(clusterId: string, role: Role, deviceId: string): string {
  return `distredge://${clusterId}/${role}/${deviceId}`;
}

/** Reads the subject alternative names of a certificate, as Node writes them; undefined where they are no member's. */
export function parseMember(
  names: string | undefined,
): Pick<PeerIdentity, 'clusterId' | 'role' | 'deviceId'> | undefined {
  const [, clusterId, role, deviceId] = MEMBER.exec(names ?? '') ?? [];
  if (clusterId === undefined || role === undefined || deviceId === undefined) return undefined;
  return { clusterId, role: role as Role, deviceId };
}

/** Who a certificate says its owner is; whether that is so is not looked at here. Undefined where it is no member's. */
export function memberOf(certificate: X509Certificate): PeerIdentity | undefined {
  const member = parseMember(certificate.subjectAltName);
  if (member === undefined) return undefined;
  return { ...member, serial: plainSerial(certificate.serialNumber), expires: Date.parse(certificate.validTo) };
}

/** When a member's certificate is to be renewed, in ms since the epoch: when a third of its time is left. */
export function dueAt({ validFrom, validTo }: X509Certificate): number {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return to - (to - from) / 3;
}

export function isDue(certificate: X509Certificate): boolean {
  return Date.now() >= dueAt(certificate);
}
