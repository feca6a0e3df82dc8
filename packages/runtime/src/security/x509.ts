/**
 * Certificates, requests and revocation lists as bytes: everything that needs an X.509 library. All keys are ECDSA on P-256, all
 * signatures SHA-256. Nothing in here decides whom to trust.
 */
import { type KeyObject, randomBytes, verify, webcrypto, X509Certificate } from 'node:crypto';
import { DistrEdgeError } from '@distredge/core';

type Library = typeof import('@peculiar/x509');

let loaded: Promise<Library> | undefined;

/** Loads the library when it is first needed: it takes longer to load than the rest of this package together. */
function library(): Promise<Library> {
  loaded ??= import('reflect-metadata').then(async () => {
    const x509 = await import('@peculiar/x509');
    x509.cryptoProvider.set(webcrypto);
    return x509;
  });
  return loaded;
}

/** A WebCrypto key. */
export type Key = webcrypto.CryptoKey;

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const CRL_NUMBER = '2.5.29.20';
/** Clocks of small devices run slow: certificates and lists begin this much before they are made. */
const CLOCK_SLACK_MS = 3_600_000;

/** A key pair: the private key as PEM (PKCS #8), both as objects. */
export interface Keys {
  readonly privateKey: Key;
  readonly publicKey: Key;
  readonly pem: string;
}

/** What signs: the CA's certificate (PEM) and its private key. */
export interface Signer {
  readonly certificate: string;
  readonly privateKey: Key;
}

/** A serial number as it is compared: lower-case hex digits without leading zeros. */
export function plainSerial(serial: string): string {
  return serial.toLowerCase().replace(/^0+(?=.)/, '');
}

export async function newKeys(): Promise<Keys> {
  const { privateKey, publicKey } = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey));
  return { privateKey, publicKey, pem: pem('PRIVATE KEY', der) };
}

/** Reads a private key (PEM, PKCS #8). Rejects where it is none. */
export async function importKey(text: string): Promise<Key> {
  return webcrypto.subtle.importKey('pkcs8', derOf('PRIVATE KEY', text), ALGORITHM, false, ['sign']);
}

/** A certificate that signs itself and may sign others, but no further CA. `days`: how long it lasts. */
export async function makeCaCertificate(name: string, keys: Keys, days: number): Promise<string> {
  const x509 = await library();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ O: ['distredge'] }, { CN: [name] }],
    ...lifetime(days),
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return certificate.toString('pem');
}

/** What goes into a member's certificate. */
export interface MemberFacts {
  /** For people only. */
  readonly name: string;
  /** The one subject alternative name. */
  readonly uri: string;
  readonly publicKey: Key;
  /** How long the certificate lasts. */
  readonly days: number;
}

/** Issues a member's certificate (PEM), for both ends of TLS. */
export async function issueCertificate(signer: Signer, member: MemberFacts): Promise<string> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(signer.certificate);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ O: ['distredge'] }, { CN: [member.name] }],
    issuer: issuer.subjectName,
    ...lifetime(member.days),
    publicKey: member.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth], false),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: member.uri }], false),
      await x509.SubjectKeyIdentifierExtension.create(member.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false),
    ],
  });
  return certificate.toString('pem');
}

/** Asks for a certificate for `keys` (PKCS #10, PEM). What the certificate will say is the CA's matter. */
export async function makeRequest(keys: Keys): Promise<string> {
  const x509 = await library();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ O: ['distredge'] }],
    keys,
    signingAlgorithm: SIGNING,
  });
  return request.toString('pem');
}

/**
 * The public key of a certificate request (PEM), which must be of P-256 and have signed the request. Of everything else that
 * the request says nothing is used. Throws `JOIN_REFUSED`.
 */
export async function keyOfRequest(text: string): Promise<Key> {
  const x509 = await library();
  try {
    const request = new x509.Pkcs10CertificateRequest(text);
    const key = await request.publicKey.export({ ...ALGORITHM }, ['verify']);
    if (!(await request.verify())) throw new Error('its signature is not by its key');
    return key;
  } catch (cause) {
    throw new DistrEdgeError('JOIN_REFUSED', 'A device asked for a certificate in a way that cannot be accepted', {
      where: 'csr',
      expected: 'a PKCS #10 request for a key of P-256, signed by it',
      got: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

/** A signed list of serial numbers that are taken back (PEM). */
export async function makeCrl(signer: Signer, version: number, serials: readonly string[]): Promise<string> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(signer.certificate);
  const thisUpdate = new Date(Date.now() - CLOCK_SLACK_MS);
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate,
    // A newer list replaces this one, however early; none has to come. (Without an end the library does not read it back.)
    nextUpdate: issuer.notAfter,
    signingKey: signer.privateKey,
    signingAlgorithm: SIGNING,
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false),
      new x509.Extension(CRL_NUMBER, false, Uint8Array.from(derInteger(version))),
    ],
    entries: serials.map((serial) => ({
      serialNumber: serial.length % 2 === 0 ? serial : `0${serial}`,
      revocationDate: thisUpdate,
      reason: x509.X509CrlReason.privilegeWithdrawn,
    })),
  });
  // The library writes a label that OpenSSL does not know.
  return pem('X509 CRL', Buffer.from(crl.rawData));
}

/** What a revocation list says. */
export interface CrlFacts {
  readonly version: number;
  readonly serials: ReadonlySet<string>;
}

/** Reads a list (PEM) that the CA (PEM) signed. Rejects, with whatever error, where it is none or another's. */
export async function readCrl(text: string, ca: string): Promise<CrlFacts> {
  const der = derOf('X509 CRL', text);
  checkSigned(der, new X509Certificate(ca).publicKey);
  const x509 = await library();
  const crl = new x509.X509Crl(der);
  const number = crl.extensions.find((extension) => extension.type === CRL_NUMBER)?.value;
  if (number === undefined) throw new Error('it has no number');
  return {
    version: readDerInteger(new Uint8Array(number)),
    serials: new Set(crl.entries.map((entry) => plainSerial(entry.serialNumber))),
  };
}

/** The algorithm of our signatures, as DER: ecdsa-with-SHA256. */
const SIGNED_WITH: Buffer = Buffer.from('300a06082a8648ce3d040302', 'hex');

/**
 * Checks the signature of a list, and that no byte of it could be otherwise: what is not signed is fixed. So a list that is
 * accepted here is one that OpenSSL accepts.
 */
function checkSigned(der: Buffer, key: KeyObject): void {
  const whole = derValue(der, 0, 0x30);
  const signed = derValue(der, whole.start, 0x30);
  const algorithm = der.subarray(signed.end, signed.end + SIGNED_WITH.length);
  const signature = derValue(der, signed.end + SIGNED_WITH.length, 0x03);
  const bytes = der.subarray(signature.start + 1, signature.end);
  const framed = whole.end === der.length && signature.end === der.length && der[signature.start] === 0;
  if (!framed || !algorithm.equals(SIGNED_WITH)) throw new Error('it is not signed as the CA signs');
  if (!verify('sha256', der.subarray(whole.start, signed.end), key, bytes)) {
    throw new Error('it is not signed by the CA of this cluster');
  }
}

/** Where the value at `at` begins and ends; it has this tag, and a length written as briefly as can be. */
function derValue(der: Buffer, at: number, tag: number): { readonly start: number; readonly end: number } {
  const first = der[at + 1] ?? 0;
  const more = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + more;
  if (der[at] !== tag || more > 4 || start > der.length || first === 0x80) throw new Error('it is no DER');
  const length = more === 0 ? first : der.readUIntBE(at + 2, more);
  const brief = more === 0 || (der[at + 2] !== 0 && length >= 0x80);
  if (!brief || start + length > der.length) throw new Error('it is no DER');
  return { start, end: start + length };
}

/** The serial number of a certificate (PEM). */
export function serialOf(certificate: string): string {
  return plainSerial(new X509Certificate(certificate).serialNumber);
}

function lifetime(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - CLOCK_SLACK_MS), notAfter: new Date(now + days * 86_400_000) };
}

/** 126 random bits; the first byte keeps it positive and of full length. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function derInteger(value: number): number[] {
  const hex = value.toString(16);
  const bytes = [...Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')];
  if ((bytes[0] ?? 0) >= 0x80) bytes.unshift(0);
  return [0x02, bytes.length, ...bytes];
}

/** Reads a number from 1 to 2^47 - 1. */
function readDerInteger(der: Uint8Array): number {
  const [tag, length = 0] = der;
  const value = Buffer.from(der.subarray(2));
  if (tag !== 0x02 || length !== value.length || length < 1 || length > 6 || (value[0] ?? 0) >= 0x80) {
    throw new Error('its number is not one');
  }
  return value.readUIntBE(0, length);
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The bytes of the one PEM block that `text` is. */
function derOf(label: string, text: string): Buffer {
  const [, begin, base64, end] =
    /^-----BEGIN ([A-Z0-9 ]+)-----\s([A-Za-z0-9+/=\s]+)-----END ([A-Z0-9 ]+)-----\s*$/.exec(text) ?? [];
  if (begin !== label || end !== label || base64 === undefined)
    throw new Error(`it is not a PEM block of type ${label}`);
  return Buffer.from(base64, 'base64');
}
