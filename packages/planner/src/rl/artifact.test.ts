import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Actor, type ActorState } from './actor.js';
import { AGENT_VECTORS, type AgentState, actorOf, agentWidths, vectorLength } from './agent-state.js';
import { decodeActor, decodeAgent, encodeActor, encodeAgent } from './artifact.js';

const SIZES = { stateSize: 3, actionSize: 2, actorHidden: [5, 4], criticHidden: [6] };

function agent(): AgentState {
  const widths = agentWidths(SIZES);
  const vector = (length: number, from: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => Math.abs(Math.sin(from + i)));
  const vectors = AGENT_VECTORS.map((name, index) => [name, vector(vectorLength(name, widths), 100 * index)]);
  return { ...SIZES, updates: 1234, vectors: Object.fromEntries(vectors) };
}

function refusal(decode: () => unknown): DistrEdgeError {
  try {
    decode();
  } catch (cause) {
    if (cause instanceof DistrEdgeError) return cause;
    throw cause;
  }
  throw new Error('nothing was refused');
}

/** The file with one of its words changed, and the checksum that goes with it. */
function forged(bytes: Uint8Array, word: number, value: number): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  view.setUint32(4 * word, value, true);
  let hash = 0x811c9dc5;
  for (let at = 0; at < copy.length - 4; at += 4) hash = Math.imul(hash ^ view.getUint32(at, true), 0x01000193);
  view.setUint32(copy.length - 4, hash >>> 0, true);
  return copy;
}

const bits = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0] as number;

describe('saved agents', () => {
  it('come back bit for bit, wherever they lie in memory', () => {
    const bytes = encodeAgent(agent());
    expect(decodeAgent(bytes)).toEqual(agent());
    const moved = new Uint8Array(bytes.length + 1);
    moved.set(bytes, 1);
    expect(decodeAgent(moved.subarray(1))).toEqual(agent());
  });

  it('hold an actor, which can also be saved alone', () => {
    const actor: ActorState = actorOf(agent());
    expect(decodeActor(encodeAgent(agent()))).toEqual(actor);
    expect(decodeActor(encodeActor(actor))).toEqual(actor);
    expect(Actor.of(decodeActor(encodeActor(actor))).act([1, 2, 3])).toEqual(Actor.of(actor).act([1, 2, 3]));
    expect(refusal(() => decodeAgent(encodeActor(actor)))).toMatchObject({
      code: 'AGENT_INVALID',
      expected: 'a whole agent',
    });
  });
});

describe('files that are none', () => {
  const whole = encodeAgent(agent());
  const actor = encodeActor(actorOf(agent()));

  it('are refused at any length', () => {
    for (let length = 0; length < whole.length; length++) {
      expect(refusal(() => decodeAgent(whole.subarray(0, length))).code).toBe('AGENT_INVALID');
    }
    expect(refusal(() => decodeActor(Uint8Array.of(...actor, 0, 0, 0, 0))).code).toBe('AGENT_INVALID');
  });

  it('are refused with any bit of the file turned', () => {
    for (let at = 0; at < actor.length; at++) {
      const bytes = actor.slice();
      bytes[at] = (bytes[at] as number) ^ (1 << (at % 8));
      expect(refusal(() => decodeActor(bytes)).code).toBe('AGENT_INVALID');
    }
  });

  // Words of an actor's file: magic, version, kind, state size, action size, number of hidden layers, their widths, parameters.
  it.each([
    ['another version', 1, 2, 'version 1'],
    ['another kind', 2, 3, '1 to 2'],
    ['no state', 3, 0, '1 to 4096'],
    ['a state beyond all limits', 3, 0xffffffff, '1 to 4096'],
    ['an action beyond the file', 4, 4000, 'bytes'],
    ['no hidden layer', 5, 0, '1 to 8'],
    ['hidden layers beyond the file', 5, 9, '1 to 8'],
    ['a layer without a width', 6, 0, '1 to 4096'],
    ['a layer beyond all limits', 7, 2 ** 31, '1 to 4096'],
  ])('are refused with %s, even if the checksum fits', (_, word, value, expected) => {
    const error = refusal(() => decodeActor(forged(actor, word, value)));
    expect(error.code).toBe('AGENT_INVALID');
    expect(error.expected).toContain(expected);
  });

  it('are refused with parameters that are no numbers', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(refusal(() => decodeActor(forged(actor, 10, bits(value))))).toMatchObject({
        code: 'AGENT_INVALID',
        where: 'actor',
      });
    }
    // The last word before the checksum is a sum of squares.
    expect(refusal(() => decodeAgent(forged(whole, whole.length / 4 - 2, bits(-1))))).toMatchObject({
      where: 'actorSquares',
      got: '-1',
    });
  });
});
