/**
 * DDPG once more, slow and plain: float64, one sample at a time, gradients by central differences, and Adam as its paper has
 * it. What the ONNX graph computes is held against this.
 */
import type { AgentState } from '@distredge/planner';

export type Vector = Float64Array;

export interface Settings {
  readonly stateSize: number;
  readonly actionSize: number;
  readonly actorWidths: readonly number[];
  readonly criticWidths: readonly number[];
  readonly actorLearningRate: number;
  readonly criticLearningRate: number;
  readonly discount: number;
  readonly tau: number;
}

interface Moments {
  readonly mean: Vector;
  readonly square: Vector;
}

export interface Networks {
  readonly updates: number;
  readonly critic: Vector;
  readonly criticTarget: Vector;
  readonly criticMoments: Moments;
  readonly actor: Vector;
  readonly actorTarget: Vector;
  readonly actorMoments: Moments;
}

export interface Updated extends Networks {
  readonly criticGradient: Vector;
  readonly actorGradient: Vector;
  readonly criticLoss: number;
  readonly value: number;
}

/** An agent without a past. */
export function networksOf({ vectors }: AgentState): Networks {
  const zeros = (values: Float32Array): Moments => ({
    mean: new Float64Array(values.length),
    square: new Float64Array(values.length),
  });
  return {
    updates: 0,
    critic: Float64Array.from(vectors.critic),
    criticTarget: Float64Array.from(vectors.criticTarget),
    criticMoments: zeros(vectors.critic),
    actor: Float64Array.from(vectors.actor),
    actorTarget: Float64Array.from(vectors.actorTarget),
    actorMoments: zeros(vectors.actor),
  };
}

export function network(widths: readonly number[], parameters: Vector, input: readonly number[]): number[] {
  let at = 0;
  let values = [...input];
  for (let layer = 1; layer < widths.length; layer++) {
    const outputs = widths[layer] as number;
    const weights = parameters.subarray(at, at + values.length * outputs);
    const biases = parameters.subarray(at + weights.length, at + weights.length + outputs);
    at += weights.length + outputs;
    const sums = [...biases].map((bias, o) =>
      values.reduce((sum, value, i) => sum + value * (weights[i * outputs + o] as number), bias),
    );
    values = layer < widths.length - 1 ? sums.map((sum) => Math.max(0, sum)) : sums;
  }
  return values;
}

/** The gradient of a function at a point. */
function gradient(at: Vector, f: (point: Vector) => number): Vector {
  const step = 1e-5;
  const point = at.slice();
  return at.map((value, index) => {
    point[index] = value + step;
    const above = f(point);
    point[index] = value - step;
    const below = f(point);
    point[index] = value;
    return (above - below) / (2 * step);
  });
}

function adam(parameters: Vector, moments: Moments, slope: Vector, rate: number, step: number): [Vector, Moments] {
  const mean = moments.mean.map((value, i) => 0.9 * value + 0.1 * (slope[i] as number));
  const square = moments.square.map((value, i) => 0.999 * value + 0.001 * (slope[i] as number) ** 2);
  const next = parameters.map((value, i) => {
    const unbiasedMean = (mean[i] as number) / (1 - 0.9 ** step);
    const unbiasedSquare = (square[i] as number) / (1 - 0.999 ** step);
    return value - (rate * unbiasedMean) / (Math.sqrt(unbiasedSquare) + 1e-8);
  });
  return [next, { mean, square }];
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** One update from these rows of the replay memory: state, action, reward, whether it goes on, next state. */
export function update(settings: Settings, last: Networks, rows: readonly (readonly number[])[]): Updated {
  const { stateSize, actionSize, actorWidths, criticWidths, discount, tau } = settings;
  const policy = (actor: Vector, state: readonly number[]): number[] =>
    network(actorWidths, actor, state).map(Math.tanh);
  const quality = (critic: Vector, state: readonly number[], action: readonly number[]): number =>
    network(criticWidths, critic, [...state, ...action])[0] as number;

  const samples = rows.map((row) => {
    const state = row.slice(0, stateSize);
    const action = row.slice(stateSize, stateSize + actionSize);
    const [reward, goesOn] = row.slice(stateSize + actionSize) as [number, number];
    const nextState = row.slice(stateSize + actionSize + 2);
    const next = quality(last.criticTarget, nextState, policy(last.actorTarget, nextState));
    return { state, action, target: reward + discount * goesOn * next };
  });
  const loss = (critic: Vector): number =>
    mean(samples.map(({ state, action, target }) => (quality(critic, state, action) - target) ** 2));
  const step = last.updates + 1;
  const criticGradient = gradient(last.critic, loss);
  const [critic, criticMoments] = adam(
    last.critic,
    last.criticMoments,
    criticGradient,
    settings.criticLearningRate,
    step,
  );

  const value = (actor: Vector): number =>
    mean(samples.map(({ state }) => quality(critic, state, policy(actor, state))));
  const actorGradient = gradient(last.actor, (actor) => -value(actor));
  const [actor, actorMoments] = adam(last.actor, last.actorMoments, actorGradient, settings.actorLearningRate, step);

  const follow = (target: Vector, to: Vector): Vector =>
    target.map((item, i) => (1 - tau) * item + tau * (to[i] as number));
  return {
    updates: step,
    critic,
    criticTarget: follow(last.criticTarget, critic),
    criticMoments,
    actor,
    actorTarget: follow(last.actorTarget, actor),
    actorMoments,
    criticGradient,
    actorGradient,
    criticLoss: loss(last.critic),
    value: value(last.actor),
  };
}
