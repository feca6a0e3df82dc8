/**
 * A trained agent for another set of providers. A network's input and output are as wide as the set, so their columns are
 * carried over one by one: a provider that stays keeps the weights of its accumulated time, a new one's are zero; a cut
 * below a provider that is gone goes with it (its rows fall to the next that stays), and a new provider begins with the cut
 * above it, at the top or at the bottom, with few rows or none. So the adapted actor does what the old one did, as far as
 * that is still possible, and training goes on from there. Optimiser state begins anew.
 */
import { AGENT_VECTORS, type AgentState, type AgentVector, agentWidths } from '../rl/agent-state.js';
import { denseLayers, parameterCount } from '../rl/mlp.js';

/** Inputs after the providers' times. */
const CONFIGURATION = 4;
/** Cuts that the old actor has no output for: near the top, near the bottom. */
const TOP = -1;
const BOTTOM = -2;
/** tanh of it is 0.96: two rows of a hundred, and still a slope to learn by. */
const NEAR_EDGE = 2;

/**
 * The agent for providers `to`, from that for `from` (ids, each in its order of dividing the height). Undefined where fewer than
 * two stay or those that stay are in another order: there is nothing to carry over then.
 */
export function transferAgent(
  agent: AgentState,
  from: readonly string[],
  to: readonly string[],
): AgentState | undefined {
  const kept = to.map((id) => from.indexOf(id));
  const staying = kept.filter((index) => index >= 0);
  if (to.length < 2 || staying.length < 2 || staying.some((index, i) => i > 0 && index <= (staying[i - 1] as number))) {
    return undefined;
  }
  if (to.length === from.length && staying.length === to.length) return agent;
  const cuts = cutsFrom(kept);
  const sizes = { ...agent, stateSize: to.length + CONFIGURATION, actionSize: to.length - 1 };
  const before = agentWidths(agent);
  const after = agentWidths(sizes);
  const times = [...kept, ...Array.from({ length: CONFIGURATION }, (_, i) => from.length + i)];
  // The critic reads actions too. A cut that is there twice would count twice, so only its first copy is read.
  const actions = cuts.map((cut, i) => (cut >= 0 && cuts.indexOf(cut) === i ? from.length + CONFIGURATION + cut : -1));
  const actor = (vector: Float32Array): Float32Array => rewired(vector, before.actor, after.actor, times, cuts);
  const critic = (vector: Float32Array): Float32Array =>
    rewired(vector, before.critic, after.critic, [...times, ...actions], [0]);
  const { vectors } = agent;
  const made: Partial<Record<AgentVector, Float32Array>> = {
    critic: critic(vectors.critic),
    criticTarget: critic(vectors.criticTarget),
    actor: actor(vectors.actor),
    actorTarget: actor(vectors.actorTarget),
  };
  const all = AGENT_VECTORS.map((name) => {
    const count = parameterCount(name.startsWith('actor') ? after.actor : after.critic);
    return [name, made[name] ?? new Float32Array(count)];
  });
  return { ...sizes, updates: 0, vectors: Object.fromEntries(all) as Record<AgentVector, Float32Array> };
}

/** For each cut of the new set, the old one in its place: that below the nearest provider above it that stays. */
function cutsFrom(kept: readonly number[]): number[] {
  const last = Math.max(...kept);
  let above = -1;
  return kept.slice(0, -1).map((index) => {
    if (index >= 0) above = index;
    return above < 0 ? TOP : above === last ? BOTTOM : above;
  });
}

/** The parameters of a network whose inputs and outputs are those of another, by index; negative ones were not there. */
function rewired(
  vector: Float32Array,
  from: readonly number[],
  to: readonly number[],
  inputs: readonly number[],
  outputs: readonly number[],
): Float32Array {
  const before = denseLayers(from);
  const after = denseLayers(to);
  const next = new Float32Array(parameterCount(to));
  after.forEach((layer, index) => {
    const old = before[index] as (typeof before)[number];
    for (let i = 0; i < layer.inputs; i++) {
      const row = index === 0 ? (inputs[i] as number) : i;
      if (row < 0) continue;
      for (let o = 0; o < layer.outputs; o++) {
        const column = index === after.length - 1 ? (outputs[o] as number) : o;
        if (column < 0) continue;
        next[layer.weights + i * layer.outputs + o] = vector[old.weights + row * old.outputs + column] as number;
      }
    }
    for (let o = 0; o < layer.outputs; o++) {
      const column = index === after.length - 1 ? (outputs[o] as number) : o;
      if (column >= 0) next[layer.biases + o] = vector[old.biases + column] as number;
      else next[layer.biases + o] = column === TOP ? -NEAR_EDGE : NEAR_EDGE;
    }
  });
  return next;
}
