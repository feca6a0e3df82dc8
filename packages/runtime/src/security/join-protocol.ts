/**
 * The words by which a device joins, over TLS 1.3 with a server that is not trusted yet:
 *
 *   device → controller   hello    names the code, proves to know its secret
 *   controller → device   welcome  proves the same, shows the cluster's CA
 *   device → controller   request  a certificate request
 *   controller → device   issued   the certificate and the revocation list
 *
 * A proof is an HMAC with the code's key over keying material of this very TLS connection and the server's certificate. Whoever
 * stands between two TLS connections has different material on each, so a proof made for one is worth nothing on the other. The
 * device proves first: a stranger who connects to the controller learns nothing to guess on.
 *
 * A device that has a certificate of the cluster needs no code for the next one: on a connection on which both ends have shown
 * theirs it says
 *
 *   device → controller   renew    a certificate request
 *   controller → device   issued   as above
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { DistrEdgeError } from '@distredge/core';
import * as z from 'zod';
import type { ErrorFields } from '../protocol.js';
import { MAX_CRL_BYTES } from './revocations.js';

/** The application protocols of TLS: to join, and to have one's certificate renewed. */
export const JOIN_ALPN = 'distredge-join/1';
export const RENEW_ALPN = 'distredge-renew/1';
/** Label of the exported keying material. */
export const EXPORTER_LABEL = 'EXPORTER-distredge-join';
/** Largest message, in bytes; `issued` may carry a long revocation list. */
const MAX_MESSAGE_BYTES: number = 64 * 1024;
export const MAX_ISSUED_BYTES: number = MAX_CRL_BYTES + MAX_MESSAGE_BYTES;

const hex32: z.ZodString = z.string().regex(/^[0-9a-f]{64}$/);
const name: z.ZodString = z.string().min(1).max(64);
const certificate: z.ZodString = z.string().max(16_384).startsWith('-----BEGIN CERTIFICATE');

const certificateRequest: z.ZodString = z.string().max(8192).startsWith('-----BEGIN CERTIFICATE REQUEST');

export interface Hello {
  readonly type: 'hello';
  readonly version: 1;
  /** The three letters and digits that name the code. */
  readonly code: string;
  readonly proof: string;
}
export const helloSchema: z.ZodType<Hello> = z.strictObject({
  type: z.literal('hello'),
  version: z.literal(1),
  code: z.string().regex(/^[0-9A-Z]{3}$/),
  proof: hex32,
});

export interface Welcome {
  readonly type: 'welcome';
  readonly proof: string;
  readonly clusterName: string;
  /** PEM. */
  readonly ca: string;
}
export const welcomeSchema: z.ZodType<Welcome> = z.strictObject({
  type: z.literal('welcome'),
  proof: hex32,
  clusterName: name,
  ca: certificate,
});

export interface Request {
  readonly type: 'request';
  readonly deviceName: string;
  /** PKCS #10, PEM. */
  readonly csr: string;
}
export const requestSchema: z.ZodType<Request> = z.strictObject({
  type: z.literal('request'),
  deviceName: name,
  csr: certificateRequest,
});

export interface Issued {
  readonly type: 'issued';
  readonly certificate: string;
  /** PEM; empty where there is none. */
  readonly revocations: string;
}
export const issuedSchema: z.ZodType<Issued> = z.strictObject({
  type: z.literal('issued'),
  certificate,
  revocations: z.string().max(MAX_CRL_BYTES),
});

export interface Renew {
  readonly type: 'renew';
  readonly version: 1;
  /** PEM. */
  readonly csr: string;
}
export const renewSchema: z.ZodType<Renew> = z.strictObject({
  type: z.literal('renew'),
  version: z.literal(1),
  csr: certificateRequest,
});

const refusedSchema: z.ZodType<{ readonly type: 'refused'; readonly error: ErrorFields }> = z.strictObject({
  type: z.literal('refused'),
  error: z.strictObject({
    code: z.string().regex(/^[A-Z_]{1,40}$/),
    message: z.string().max(500),
    hint: z.string().max(500).optional(),
  }),
});

/** What both ends of one TLS connection know, and nobody else can have on another connection. */
export interface Binding {
  /** 32 bytes of exported keying material. */
  readonly exported: Buffer;
  /** The server's certificate, DER. */
  readonly certificate: Buffer;
}

/** The proof of one end, 64 hex digits. `ca`: the CA (PEM) that the controller's proof stands for. */
export function proofOf(key: Buffer, end: 'device' | 'controller', binding: Binding, ca = ''): string {
  const hash = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest();
  return createHmac('sha256', key)
    .update(`distredge-join-1 ${end}\0`)
    .update(hash(binding.exported))
    .update(hash(binding.certificate))
    .update(hash(ca))
    .digest('hex');
}

/** Compares two proofs in a time that does not depend on them. */
export function sameProof(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')];
  return x.length === 32 && y.length === 32 && timingSafeEqual(x, y);
}

/** Messages over a stream: four bytes of length (big-endian), then JSON. One is read at a time, and no more than it may be long. */
export class Messages {
  readonly #stream: Duplex;
  readonly #remote: string;
  #held: Buffer = Buffer.alloc(0);
  #ended: DistrEdgeError | undefined;
  #wake: (() => void) | undefined;

  /** `deadlineMs`: how long all of the conversation may take; then every wait rejects with `DEADLINE`. */
  constructor(stream: Duplex, remote: string, deadlineMs: number) {
    this.#stream = stream;
    this.#remote = remote;
    const timer = setTimeout(() => this.#end('DEADLINE', `it took longer than ${deadlineMs} ms`), deadlineMs);
    stream.once('close', () => {
      clearTimeout(timer);
      this.#end('LINK_CLOSED', 'the other end closed the connection');
    });
    stream.on('error', (error) => this.#end('LINK_CLOSED', error.message, error));
    stream.once('end', () => this.#end('LINK_CLOSED', 'the other end closed the connection'));
    stream.pause();
    stream.on('data', (chunk: Buffer) => {
      this.#held = Buffer.concat([this.#held, chunk]);
      stream.pause();
      this.#wake?.();
    });
    stream.pause();
  }

  /** Reads one message. Throws `PROTOCOL` for anything else, `JOIN_REFUSED` where the other end refuses, `DEADLINE`, `LINK_CLOSED`. */
  async read<T>(schema: z.ZodType<T>, maxBytes: number = MAX_MESSAGE_BYTES): Promise<T> {
    const length = (await this.#bytes(4)).readUInt32BE(0);
    if (length === 0 || length > maxBytes) throw this.#malformed(`a message of ${length} bytes`);
    const text = (await this.#bytes(length)).toString('utf8');
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw this.#malformed('no JSON', cause);
    }
    const message = schema.safeParse(json);
    if (message.success) return message.data;
    const refused = refusedSchema.safeParse(json);
    if (refused.success) {
      const { message: why, hint } = refused.data.error;
      throw new DistrEdgeError('JOIN_REFUSED', why, { where: this.#remote, ...(hint === undefined ? {} : { hint }) });
    }
    const [issue] = message.error.issues;
    throw this.#malformed(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'something else'}`.slice(0, 200));
  }

  /** Writes one message; it leaves in the background. */
  write(message: object): void {
    if (this.#ended !== undefined || !this.#stream.writable) return;
    const body = Buffer.from(JSON.stringify(message));
    const head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    this.#stream.write(Buffer.concat([head, body]));
  }

  /** Says why, and closes in good order. */
  refuse(error: ErrorFields): void {
    const { code, message, hint } = error;
    this.write({ type: 'refused', error: { code, message, ...(hint === undefined ? {} : { hint }) } });
    this.#stream.end();
  }

  async #bytes(count: number): Promise<Buffer> {
    while (this.#held.length < count) {
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#stream.resume();
      });
      this.#wake = undefined;
    }
    const bytes = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return bytes;
  }

  #end(code: 'DEADLINE' | 'LINK_CLOSED', got: string, cause?: unknown): void {
    this.#ended ??= new DistrEdgeError(code, `Joining did not come to its end: ${got}`, {
      where: this.#remote,
      got,
      ...(cause === undefined ? {} : { cause }),
    });
    this.#wake?.();
  }

  #malformed(got: string, cause?: unknown): DistrEdgeError {
    return new DistrEdgeError('PROTOCOL', 'The other end does not speak the join protocol', {
      where: this.#remote,
      expected: 'a message of the join protocol, version 1',
      got,
      hint: 'check the address and port, and run the same version of distredge on both ends',
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
