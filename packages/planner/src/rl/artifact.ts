/**
 * Actors and agents as bytes, and back. A file is a row of little-endian 32-bit words: a magic number, the version, what it
 * holds, the sizes of the networks, their vectors as floats, and a checksum (FNV-1a over the words before it).
 */
import { DistrEdgeError } from '@distredge/core';
import type { ActorState } from './actor.js';
import { AGENT_VECTORS, type AgentState, type AgentVector, agentWidths, vectorLength } from './agent-state.js';
import { parameterCount } from './mlp.js';

/** "DDPG" in ASCII. */
const MAGIC = 0x47504444;
const VERSION = 1;
const ACTOR = 1;
const AGENT = 2;

const MAX_WIDTH = 4096;
const MAX_HIDDEN = 8;

export function encodeActor({ stateSize, actionSize, hidden, parameters }: ActorState): Uint8Array {
  return encode([ACTOR, stateSize, actionSize, hidden.length, ...hidden], [parameters]);
}

export function encodeAgent(agent: AgentState): Uint8Array {
  const { stateSize, actionSize, actorHidden, criticHidden, updates, vectors } = agent;
  const sizes = [actorHidden.length, ...actorHidden, criticHidden.length, ...criticHidden];
  const values = AGENT_VECTORS.map((name) => vectors[name]);
  return encode([AGENT, stateSize, actionSize, ...sizes, updates], values);
}

/** Reads an actor, or the actor of an agent. Throws `AGENT_INVALID`. */
export function decodeActor(bytes: Uint8Array): ActorState {
  const words = new Words(bytes);
  if (words.next('what the file holds', ACTOR, AGENT) === AGENT) {
    const { stateSize, actionSize, actorHidden, vectors } = decodeAgent(bytes);
    return { stateSize, actionSize, hidden: actorHidden, parameters: vectors.actor };
  }
  const stateSize = words.next('state size', 1, MAX_WIDTH);
  const actionSize = words.next('action size', 1, MAX_WIDTH);
  const hidden = words.widths('hidden layers');
  const [parameters] = words.vectors([parameterCount([stateSize, ...hidden, actionSize])], ['actor']);
  return { stateSize, actionSize, hidden, parameters: parameters as Float32Array };
}

/** Reads an agent. Throws `AGENT_INVALID`. */
export function decodeAgent(bytes: Uint8Array): AgentState {
  const words = new Words(bytes);
  if (words.next('what the file holds', ACTOR, AGENT) === ACTOR) {
    throw invalid('the file holds an actor alone', { expected: 'a whole agent', hint: 'start a new agent from it' });
  }
  const sizes = {
    stateSize: words.next('state size', 1, MAX_WIDTH),
    actionSize: words.next('action size', 1, MAX_WIDTH),
    actorHidden: words.widths("actor's hidden layers"),
    criticHidden: words.widths("critic's hidden layers"),
  };
  const updates = words.next('updates', 0, 2 ** 32 - 1);
  const widths = agentWidths(sizes);
  const counts = AGENT_VECTORS.map((name) => vectorLength(name, widths));
  const values = words.vectors(counts, AGENT_VECTORS);
  const vectors = Object.fromEntries(AGENT_VECTORS.map((name, index) => [name, values[index]]));
  return { ...sizes, updates, vectors: vectors as Record<AgentVector, Float32Array> };
}

function encode(header: readonly number[], vectors: readonly Float32Array[]): Uint8Array {
  const words = [MAGIC, VERSION, ...header];
  const count = vectors.reduce((sum, { length }) => sum + length, words.length);
  const view = new DataView(new ArrayBuffer(4 * (count + 1)));
  words.forEach((word, index) => {
    view.setUint32(4 * index, word, true);
  });
  let at = 4 * words.length;
  for (const vector of vectors) {
    for (const value of vector) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  }
  view.setUint32(at, checksum(view, at), true);
  return new Uint8Array(view.buffer);
}

function checksum(view: DataView, end: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < end; at += 4) hash = Math.imul(hash ^ view.getUint32(at, true), 0x01000193);
  return hash >>> 0;
}

function invalid(
  message: string,
  facts: { where?: string; expected?: string; got?: string; hint?: string },
): DistrEdgeError {
  return new DistrEdgeError('AGENT_INVALID', message, facts);
}

/** Reads a file word by word; nothing larger than the file is made on its word. */
class Words {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.byteLength < 12 || this.#word() !== MAGIC) {
      throw invalid('this is no saved actor or agent', { got: `${bytes.byteLength} bytes` });
    }
    const version = this.#word();
    if (version !== VERSION) {
      throw invalid('the file is of another version', { expected: `version ${VERSION}`, got: `version ${version}` });
    }
    const end = bytes.byteLength - 4;
    if (end % 4 !== 0 || this.#view.getUint32(end, true) !== checksum(this.#view, end)) {
      throw invalid('the file is damaged or cut off', { where: 'its checksum', got: `${bytes.byteLength} bytes` });
    }
  }

  #word(): number {
    const word = this.#view.getUint32(this.#at, true);
    this.#at += 4;
    return word;
  }

  /** The next whole number, between these. */
  next(where: string, least: number, most: number): number {
    // The last word is the checksum.
    if (this.#at + 8 > this.#view.byteLength) throw invalid('the file ends too early', { where });
    const got = this.#word();
    if (got >= least && got <= most) return got;
    throw invalid('a number is out of range', { where, expected: `${least} to ${most}`, got: String(got) });
  }

  widths(where: string): number[] {
    const count = this.next(where, 1, MAX_HIDDEN);
    return Array.from({ length: count }, () => this.next(where, 1, MAX_WIDTH));
  }

  /** All that is left: vectors of these lengths. */
  vectors(counts: readonly number[], names: readonly string[]): Float32Array[] {
    const expected = 4 * counts.reduce((sum, count) => sum + count, 0);
    const got = this.#view.byteLength - 4 - this.#at;
    if (got !== expected) {
      throw invalid("the file's size does not fit the networks", {
        where: 'parameters',
        expected: `${expected} bytes`,
        got: `${got} bytes`,
      });
    }
    return counts.map((count, index) => this.#floats(count, names[index] as string));
  }

  #floats(count: number, where: string): Float32Array {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++, this.#at += 4) values[i] = this.#view.getFloat32(this.#at, true);
    const least = where.endsWith('Squares') ? 0 : Number.NEGATIVE_INFINITY;
    const odd = values.find((value) => !Number.isFinite(value) || value < least);
    if (odd === undefined) return values;
    throw invalid('a parameter has an impossible value', { where, got: String(odd) });
  }
}
