/**
 * A trained agent as an artifact: the agent itself, and everything its numbers mean something with: the partition, the
 * providers in order, and what states are divided by. A file is the word "OSDS", a version, the length of a JSON header, the
 * header in ASCII, padding to a whole word, and the agent as `rl/artifact.ts` writes it.
 */
import { DistrEdgeError } from '@distredge/core';
import type { AgentState } from '../rl/agent-state.js';
import { decodeAgent, encodeAgent } from '../rl/artifact.js';
import type { StateScale } from './environment.js';

export interface TrainedAgent {
  /** Name of the model it was trained for. */
  readonly model: string;
  /** Ids of the providers, in the order in which they divide the height. */
  readonly devices: readonly string[];
  /** Last op of every volume. */
  readonly ends: readonly number[];
  readonly scale: StateScale;
  readonly agent: AgentState;
}

/** "OSDS" in ASCII. */
const MAGIC = 0x5344534f;
const VERSION = 1;
const PREFIX = 12;

export function encodeTrained({ agent, ...header }: TrainedAgent): Uint8Array {
  const text = JSON.stringify(header).replace(
    /[^\x20-\x7e]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const networks = encodeAgent(agent);
  const start = PREFIX + 4 * Math.ceil(text.length / 4);
  const bytes = new Uint8Array(start + networks.length).fill(0x20, 0, start);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, text.length, true);
  for (let i = 0; i < text.length; i++) bytes[PREFIX + i] = text.charCodeAt(i);
  bytes.set(networks, start);
  return bytes;
}

/** Throws `AGENT_INVALID` for bytes that are no trained agent. */
export function decodeTrained(bytes: Uint8Array): TrainedAgent {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < PREFIX || view.getUint32(0, true) !== MAGIC) throw invalid('this is no trained agent');
  const version = view.getUint32(4, true);
  if (version !== VERSION) {
    throw invalid('the file is of another version', { expected: `version ${VERSION}`, got: `version ${version}` });
  }
  const length = view.getUint32(8, true);
  const start = PREFIX + 4 * Math.ceil(length / 4);
  if (start > bytes.length) throw invalid('the file ends too early', { where: 'header' });
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[PREFIX + i] as number);
  const header = headerOf(text);
  const agent = decodeAgent(bytes.subarray(start));
  const devices = header.devices.length;
  if (agent.stateSize !== devices + 4 || agent.actionSize !== Math.max(1, devices - 1)) {
    throw invalid('the agent does not fit its providers', {
      expected: `states of ${devices + 4} numbers, actions of ${Math.max(1, devices - 1)}`,
      got: `${agent.stateSize} and ${agent.actionSize}`,
    });
  }
  return { ...header, agent };
}

function headerOf(text: string): Omit<TrainedAgent, 'agent'> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid('the header is not JSON', { where: 'header', cause });
  }
  const header = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { model, devices, ends } = header;
  const scale = (header['scale'] ?? {}) as Record<string, unknown>;
  const positive = (name: string): number => {
    const number = scale[name];
    if (typeof number !== 'number' || !(number > 0) || number === Number.POSITIVE_INFINITY) {
      throw invalid('a number to divide by is missing', { where: `header, scale.${name}` });
    }
    return number;
  };
  if (typeof model !== 'string') throw invalid('the model is missing', { where: 'header' });
  if (!Array.isArray(devices) || devices.length < 2 || devices.some((id) => typeof id !== 'string')) {
    throw invalid('the providers are missing', { where: 'header' });
  }
  if (!Array.isArray(ends) || ends.length === 0 || ends.some((end) => !Number.isSafeInteger(end) || end < 0)) {
    throw invalid('the partition is missing', { where: 'header' });
  }
  return {
    model,
    devices: devices as string[],
    ends: ends as number[],
    scale: {
      height: positive('height'),
      channels: positive('channels'),
      window: positive('window'),
      stride: positive('stride'),
    },
  };
}

function invalid(
  message: string,
  facts: { where?: string; expected?: string; got?: string; cause?: unknown } = {},
): DistrEdgeError {
  return new DistrEdgeError('AGENT_INVALID', message, facts);
}
