/**
 * The CA of a cluster, kept in one folder: `authority.json` (name, CA certificate, CA key), `devices.json` (what it issued and took back) and
 * `controller/` (the controller's own identity, with the newest revocation list). One process at a time may open it.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { DistrEdgeError } from '@distredge/core';
import * as z from 'zod';
import type { ClusterAuthority, Identity, IssuedDevice, JoinCode, PeerIdentity, Role } from './contract.js';
import { makePrivateFolder, readPrivateFile, writePrivateFile } from './files.js';
import { loadIdentity, saveIdentity } from './identity.js';
import { CodeBook } from './join-code.js';
import { checkName, clusterIdOf, memberUri } from './names.js';
import {
  importKey,
  issueCertificate,
  type Key,
  keyOfRequest,
  makeCaCertificate,
  makeCrl,
  newKeys,
  type Signer,
  serialOf,
} from './x509.js';

const CA_DAYS = 7300;
const MEMBER_DAYS = 730;
/** Certificates of one device that have not ended, at most: one that did not hear of its new one asks again. */
const MAX_CURRENT = 8;
const DAY_MS = 86_400_000;
/** The controller's own certificate is replaced at a start this long before it ends. */
const RENEW_MS: number = 60 * DAY_MS;

interface AuthorityRecord {
  readonly version: 1;
  readonly clusterName: string;
  readonly certificate: string;
  readonly key: string;
}

const authoritySchema: z.ZodType<AuthorityRecord> = z.strictObject({
  version: z.literal(1),
  clusterName: z.string().min(1).max(64),
  certificate: z.string().max(16_384),
  key: z.string().max(16_384),
});

interface LedgerEntry {
  readonly serial: string;
  readonly deviceId: string;
  readonly deviceName: string;
  readonly issued: number;
  readonly expires: number;
  readonly revoked: boolean;
}

/** Everything that was issued, and the number of the newest list: a list that is lost or set back is made again from it. */
interface Ledger {
  readonly version: 1;
  readonly listVersion: number;
  readonly issued: readonly LedgerEntry[];
}

const NO_LEDGER: Ledger = { version: 1, listVersion: 0, issued: [] };

const ledgerSchema: z.ZodType<Ledger> = z.strictObject({
  version: z.literal(1),
  listVersion: z.int().min(0),
  issued: z.array(
    z.strictObject({
      serial: z.string().regex(/^[0-9a-f]{1,40}$/),
      deviceId: z.string().regex(/^[0-9a-f]{16}$/),
      deviceName: z.string().min(1).max(64),
      issued: z.number(),
      expires: z.number(),
      revoked: z.boolean(),
    }),
  ),
});

/** What a new member gets. */
export interface Admission {
  readonly deviceId: string;
  readonly certificate: string;
}

/**
 * Opens the authority kept in `folder`, or founds a cluster there. `memberMs`: how long certificates of devices last, by default two
 * years. Throws `USAGE` where the folder holds a cluster of another
 * name, `IDENTITY_INVALID` where its files are damaged or open to others, `FILE` where they cannot be read or written.
 */
export async function createClusterAuthority(
  folder: string,
  options: { readonly clusterName: string; readonly memberMs?: number },
): Promise<ClusterAuthority> {
  const clusterName = checkName(options.clusterName, 'cluster');
  await makePrivateFolder(folder);
  const record = (await read(join(folder, 'authority.json'), authoritySchema)) ?? (await found(folder, clusterName));
  if (record.clusterName !== clusterName) {
    throw new DistrEdgeError('USAGE', `${folder} holds another cluster`, {
      where: folder,
      expected: record.clusterName,
      got: clusterName,
      hint: 'give that name, or another folder',
    });
  }
  const signer = { certificate: record.certificate, privateKey: await keyIn(folder, record.key) };
  const ledger = (await read(join(folder, 'devices.json'), ledgerSchema)) ?? NO_LEDGER;
  const authority = new Authority(
    folder,
    record,
    signer,
    ledger,
    await controllerIdentity(folder, record, signer),
    options.memberMs,
  );
  await authority.repair();
  return authority;
}

/** The implementation; the join server uses what `ClusterAuthority` does not show. */
export class Authority implements ClusterAuthority {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly identity: Identity;
  readonly codes: CodeBook = new CodeBook();
  readonly #folder: string;
  readonly signer: Signer;
  readonly #memberMs: number;
  #ledger: Ledger;
  /** The last change of ledger or list; changes go one after another. */
  #changed: Promise<unknown> = Promise.resolve();

  constructor(
    folder: string,
    record: AuthorityRecord,
    signer: Signer,
    ledger: Ledger,
    identity: Identity,
    memberMs: number = MEMBER_DAYS * DAY_MS,
  ) {
    this.#folder = folder;
    this.#memberMs = memberMs;
    this.signer = signer;
    this.#ledger = ledger;
    this.clusterName = record.clusterName;
    this.clusterId = identity.clusterId;
    this.identity = identity;
  }

  issueCode(options: { readonly ttlMs?: number } = {}): JoinCode {
    return this.codes.issue(options.ttlMs);
  }

  /** Issues a certificate to a new device for the key in its request (PEM). Throws `JOIN_REFUSED`, `FILE`. */
  admit(request: string, name: string): Promise<Admission> {
    return this.#change(async () => {
      const deviceName = checkName(name, 'device');
      return this.#issue(request, { deviceId: randomBytes(8).toString('hex'), deviceName }, this.#ledger.issued);
    });
  }

  /**
   * Issues a device its next certificate, for the key in its request (PEM). `peer`: who it is by the certificate that it has now, which
   * must be one that was issued here, not revoked and not ended. Throws `JOIN_REFUSED`, `FILE`.
   */
  renew(request: string, peer: PeerIdentity): Promise<Admission & { readonly deviceName: string }> {
    return this.#change(async () => {
      const { issued } = this.#ledger;
      const own = issued.find(({ serial, deviceId }) => serial === peer.serial && deviceId === peer.deviceId);
      if (own === undefined || own.revoked || own.expires <= Date.now()) {
        throw new DistrEdgeError('JOIN_REFUSED', 'This certificate cannot be renewed', {
          where: peer.deviceId,
          expected: 'a certificate that this cluster issued, and that is neither revoked nor ended',
          got: own === undefined ? 'an unknown one' : own.revoked ? 'a revoked one' : 'one that has ended',
          hint: 'the device has to join again, with a new code',
        });
      }
      const current = issued.filter(({ deviceId, expires }) => deviceId === own.deviceId && expires > Date.now());
      if (current.length >= MAX_CURRENT) {
        throw new DistrEdgeError('JOIN_REFUSED', 'The device has several new certificates already', {
          where: peer.deviceId,
          expected: `fewer than ${MAX_CURRENT} that have not ended`,
          hint: 'revoke it, and let it join again, if this is not its doing',
        });
      }
      // Of its certificates that have ended nobody needs to know any more.
      const kept = issued.filter(({ deviceId, expires }) => deviceId !== own.deviceId || expires > Date.now());
      const { deviceId, deviceName } = own;
      return { ...(await this.#issue(request, { deviceId, deviceName }, kept)), deviceName };
    });
  }

  /** Issues a certificate and enters it after those that are `known`. */
  async #issue(
    request: string,
    { deviceId, deviceName }: Pick<LedgerEntry, 'deviceId' | 'deviceName'>,
    known: readonly LedgerEntry[],
  ): Promise<Admission> {
    const uri = memberUri(this.clusterId, 'device', deviceId);
    const publicKey = await keyOfRequest(request);
    const facts = { name: deviceName, uri, publicKey, days: this.#memberMs / DAY_MS };
    const certificate = await issueCertificate(this.signer, facts);
    const issued = Date.now();
    const expires = issued + this.#memberMs;
    const entry = { serial: serialOf(certificate), deviceId, deviceName, issued, expires, revoked: false };
    const ledger = { ...this.#ledger, issued: [...known, entry] };
    // First on disk: a certificate that nobody knows of could not be revoked.
    await this.#writeLedger(ledger);
    this.#ledger = ledger;
    return { deviceId, certificate };
  }

  devices(): readonly IssuedDevice[] {
    const last = new Map<string, IssuedDevice>();
    for (const { serial: _, ...device } of this.#ledger.issued) last.set(device.deviceId, device);
    return [...last.values()];
  }

  revoke(deviceId: string): Promise<void> {
    return this.#change(async () => {
      const own = this.#ledger.issued.filter((entry) => entry.deviceId === deviceId);
      if (own.length === 0) {
        throw new DistrEdgeError('USAGE', 'No device of that id ever joined this cluster', {
          where: 'deviceId',
          expected: "a device's id: 16 hex digits",
          got: JSON.stringify(String(deviceId).slice(0, 80)),
        });
      }
      if (own.every(({ revoked }) => revoked)) return;
      this.#ledger = {
        version: 1,
        listVersion: this.identity.revocations.version + 1,
        issued: this.#ledger.issued.map((entry) => (entry.deviceId === deviceId ? { ...entry, revoked: true } : entry)),
      };
      // In force even where the disk is full.
      const written = await Promise.allSettled([this.#writeLedger(this.#ledger), this.#sign(this.#ledger)]);
      for (const outcome of written) if (outcome.status === 'rejected') throw outcome.reason;
    });
  }

  /** Makes the list anew where the one that is kept lacks something: after a crash, or when it was lost or set back. */
  async repair(): Promise<void> {
    const { revocations } = this.identity;
    const { listVersion, issued } = this.#ledger;
    const lacking = issued.some(({ revoked, serial, expires }) => {
      return revoked && expires > Date.now() && !revocations.has(serial);
    });
    if (!lacking && revocations.version >= listVersion) return;
    const ledger = { ...this.#ledger, listVersion: Math.max(revocations.version, listVersion) + 1 };
    await this.#writeLedger(ledger);
    this.#ledger = ledger;
    await this.#sign(ledger);
  }

  /** Signs the list that a ledger asks for, and puts it in force. Certificates that have ended need no entry. */
  async #sign({ issued, listVersion }: Ledger): Promise<void> {
    const serials = issued
      .filter(({ revoked, expires }) => revoked && expires > Date.now())
      .map(({ serial }) => serial);
    await this.identity.revocations.accept(await makeCrl(this.signer, listVersion, serials));
  }

  #writeLedger(ledger: Ledger): Promise<void> {
    return writePrivateFile(
      join(this.#folder, 'devices.json'),
      `${JSON.stringify(ledger)}
`,
    );
  }

  #change<T>(action: () => Promise<T>): Promise<T> {
    const change = this.#changed.then(action);
    this.#changed = change.catch(() => undefined);
    return change;
  }
}

/** Makes the CA of a new cluster. */
async function found(folder: string, clusterName: string): Promise<AuthorityRecord> {
  const keys = await newKeys();
  const certificate = await makeCaCertificate(clusterName, keys, CA_DAYS);
  const record = { version: 1, clusterName, certificate, key: keys.pem } as const;
  await writePrivateFile(join(folder, 'authority.json'), `${JSON.stringify(record, undefined, 2)}\n`);
  return record;
}

/** The controller's identity: the one that is kept, or a new one where it is missing, damaged or about to end. */
async function controllerIdentity(folder: string, record: AuthorityRecord, signer: Signer): Promise<Identity> {
  const own = join(folder, 'controller');
  const kept = await loadIdentity(own).catch((error: unknown) => {
    if (error instanceof DistrEdgeError && error.code === 'IDENTITY_INVALID') return undefined;
    throw error;
  });
  const clusterId = clusterIdOf(record.certificate);
  if (kept?.clusterId === clusterId && kept.role === 'controller' && !endsSoon(kept)) return kept;
  const deviceId = kept?.deviceId ?? randomBytes(8).toString('hex');
  return saveIdentity(own, {
    ...(await newMember(signer, 'controller', deviceId, 'controller')),
    clusterName: record.clusterName,
    ca: record.certificate,
  });
}

function endsSoon({ certificate }: Identity): boolean {
  return Date.parse(new X509Certificate(certificate).validTo) - Date.now() < RENEW_MS;
}

async function newMember(
  signer: Signer,
  role: Role,
  deviceId: string,
  deviceName: string,
): Promise<{ deviceName: string; certificate: string; key: string }> {
  const keys = await newKeys();
  const uri = memberUri(clusterIdOf(signer.certificate), role, deviceId);
  const facts = { name: deviceName, uri, publicKey: keys.publicKey, days: MEMBER_DAYS };
  return { deviceName, certificate: await issueCertificate(signer, facts), key: keys.pem };
}

async function read<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readPrivateFile(file);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw damaged(file, cause);
  }
}

async function keyIn(folder: string, key: string): Promise<Key> {
  const file = join(folder, 'authority.json');
  return importKey(key).catch((cause: unknown) => {
    throw damaged(file, cause);
  });
}

function damaged(file: string, cause: unknown): DistrEdgeError {
  return new DistrEdgeError('IDENTITY_INVALID', `${file} is damaged`, {
    where: file,
    expected: 'what this program wrote there',
    got: cause instanceof z.ZodError ? (cause.issues[0]?.message ?? 'something else') : String(cause),
    hint: 'restore it from a backup; a new cluster can be founded in another folder, and every device must join again',
    cause,
  });
}
