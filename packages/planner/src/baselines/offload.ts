/**
 * Offload: the whole CNN on the best provider, what every paper on distribution compares itself with.
 *
 * Source: Hou et al., "DistrEdge: Speeding up Convolutional Neural Network Inference on Distributed Edge Devices", IPDPS 2022.
 *
 * Deviation: there the best provider is the one with the best hardware, in clusters whose links or devices are alike. Where
 * fast devices hang on slow links, the best is here the one with the lowest latency end to end, which is never slower.
 */
import type { Planner } from '../planner.js';
import { singlePlan } from './layout.js';
import { baseline, type Trial } from './trial.js';

export const offload: Planner = baseline('offload', 'Whole CNN on the best provider (Hou et al., IPDPS 2022)', alone);

/** Tries the whole model on each device. */
export function alone(trial: Trial): void {
  trial.task.costs.forEach((_, device) => {
    trial.latency(singlePlan(trial.task.workload, device));
  });
}
