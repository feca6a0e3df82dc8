/**
 * A member's identity on disk: one file with certificate, key and CA, and one with the revocation list, both for the owner's eyes
 * only. What is loaded is checked as a whole: a file that was mixed up or tampered with is no identity.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import * as z from 'zod';
import type { Identity, PeerIdentity, Role } from './contract.js';
import { makePrivateFolder, readPrivateFile, writePrivateFile } from './files.js';
import { clusterIdOf, memberOf } from './names.js';
import { HeldRevocations } from './revocations.js';

const IDENTITY_FILE = 'identity.json';
const REVOCATIONS_FILE = 'revocations.pem';

/** What of an identity cannot be told from its certificate. */
export interface IdentityRecord {
  readonly clusterName: string;
  readonly deviceName: string;
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
}

const pem: z.ZodString = z.string().max(16_384).startsWith('-----BEGIN ');
const schema: z.ZodType<IdentityRecord & { readonly version: 1 }> = z.strictObject({
  version: z.literal(1),
  clusterName: z.string().min(1).max(64),
  deviceName: z.string().min(1).max(64),
  certificate: pem,
  key: pem,
  ca: pem,
});

/** The one implementation. */
export class HeldIdentity implements Identity {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly deviceId: string;
  readonly deviceName: string;
  readonly role: Role;
  certificate: string;
  key: string;
  readonly ca: string;
  readonly revocations: HeldRevocations;
  readonly #listeners: Set<() => void> = new Set();
  readonly onRenewed: Identity['onRenewed'] = (listener) => {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  };

  constructor(
    record: IdentityRecord,
    member: Pick<PeerIdentity, 'clusterId' | 'deviceId' | 'role'>,
    revocations: HeldRevocations,
  ) {
    this.clusterId = member.clusterId;
    this.deviceId = member.deviceId;
    this.role = member.role;
    this.clusterName = record.clusterName;
    this.deviceName = record.deviceName;
    this.ca = record.ca;
    this.revocations = revocations;
    this.certificate = record.certificate;
    this.key = record.key;
  }

  /**
   * Takes a new certificate of the same member over, and keeps it in `folder`. Throws `IDENTITY_INVALID` for any other one, and
   * `FILE` where it cannot be kept: then the one before stays.
   */
  async renew(folder: string, certificate: string, key: string): Promise<void> {
    const { clusterName, deviceName, ca } = this;
    const record = { clusterName, deviceName, certificate, key, ca };
    const file = join(folder, IDENTITY_FILE);
    const next = identityOf(record, this.revocations, 'the new certificate');
    if (next.clusterId !== this.clusterId || next.deviceId !== this.deviceId || next.role !== this.role)
      throw invalid('the new certificate', `it is of ${next.role} ${next.deviceId}`, 'let the device join again');
    await writePrivateFile(file, textOf(record));
    this.certificate = certificate;
    this.key = key;
    for (const listener of [...this.#listeners]) listener();
  }
}

function textOf(record: IdentityRecord): string {
  return `${JSON.stringify({ version: 1, ...record }, undefined, 2)}\n`;
}

/**
 * Makes an identity of its parts, having checked that they belong together and are valid now. Throws `IDENTITY_INVALID`; `where`
 * says where the parts come from.
 */
function identityOf(record: IdentityRecord, revocations: HeldRevocations, where: string): HeldIdentity {
  let certificate: X509Certificate;
  let ca: X509Certificate;
  let clusterId: string;
  try {
    certificate = new X509Certificate(record.certificate);
    ca = new X509Certificate(record.ca);
    clusterId = clusterIdOf(record.ca);
    if (!ca.ca || !ca.checkIssued(ca) || !ca.verify(ca.publicKey)) throw new Error('the CA certificate is none');
    if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) {
      throw new Error('the certificate was not issued by the CA beside it');
    }
    if (!certificate.checkPrivateKey(createPrivateKey(record.key)))
      throw new Error('the key is of another certificate');
  } catch (cause) {
    throw invalid(where, cause instanceof Error ? cause.message : String(cause), 'let the device join again', cause);
  }
  const member = memberOf(certificate);
  if (member === undefined || member.clusterId !== clusterId || certificate.ca) {
    throw invalid(where, 'the certificate is not of a member of its cluster', 'let the device join again');
  }
  for (const { validFrom, validTo } of [certificate, ca]) checkDates(where, Date.parse(validFrom), Date.parse(validTo));
  if (revocations.has(member.serial)) {
    throw invalid(where, `device ${member.deviceId} was revoked`, 'let the device join again, with a new code');
  }
  return new HeldIdentity(record, { ...member, clusterId }, revocations);
}

function checkDates(where: string, from: number, to: number): void {
  const now = Date.now();
  const clock = `this machine's clock says ${new Date(now).toISOString()}`;
  if (now > to)
    throw invalid(where, `it ended on ${new Date(to).toISOString()}; ${clock}`, 'let the device join again');
  if (now >= from) return;
  throw invalid(where, `it begins on ${new Date(from).toISOString()}; ${clock}`, 'set the clock of this machine');
}

/**
 * Keeps an identity in `folder` and returns it. `list`: the revocations to begin with (PEM, or empty); a list that is there already
 * stays if it is this cluster's and newer. Throws `FILE`, `IDENTITY_INVALID`, and `PEER_REFUSED` for a list of another cluster.
 */
export async function saveIdentity(folder: string, record: IdentityRecord, list = ''): Promise<Identity> {
  await makePrivateFolder(folder);
  const file = join(folder, IDENTITY_FILE);
  const lists = join(folder, REVOCATIONS_FILE);
  let revocations = await HeldRevocations.open(record.ca, lists).catch(() => undefined);
  if (revocations === undefined) {
    // Left from another cluster.
    await rm(lists, { force: true });
    revocations = await HeldRevocations.open(record.ca, lists);
  }
  if (list !== '') await revocations.offer(list);
  const identity = identityOf(record, revocations, file);
  await writePrivateFile(file, textOf(record));
  return identity;
}

/**
 * Loads the identity kept in `folder`. Throws `IDENTITY_INVALID` where there is none, or one that is damaged, expired, revoked or
 * readable by others.
 */
export async function loadIdentity(folder: string): Promise<Identity> {
  const file = join(folder, IDENTITY_FILE);
  const text = await readPrivateFile(file);
  if (text === undefined) throw invalid(file, 'there is no such file', 'join a cluster first: distredge join');
  const parsed = schema.safeParse(jsonOf(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const got = `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not an identity'}`;
    throw invalid(file, got, 'let the device join again');
  }
  const { version: _, ...record } = parsed.data;
  return identityOf(record, await HeldRevocations.open(record.ca, join(folder, REVOCATIONS_FILE)), file);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function invalid(where: string, got: string, hint: string, cause?: unknown): DistrEdgeError {
  return new DistrEdgeError('IDENTITY_INVALID', `${where} holds no identity that can be used: ${got}`, {
    where,
    expected: "a member's certificate, its key and the cluster's CA",
    got,
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}
