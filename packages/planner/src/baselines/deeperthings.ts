/**
 * DeeperThings: equal rows for every device, in several fused volumes, from the first layer to the last.
 *
 * Source: Stahl et al., "DeeperThings: Fully Distributed CNN Inference on Resource-Constrained Edge Devices", International
 * Journal of Parallel Programming 2021.
 *
 * Where volumes end is found as in the paper by an exact search over its cost model, here for a cluster of devices that are
 * all like the average one: compute with halo, and transfers (`fusion.ts`).
 * Left open there and settled by simulation: how many devices take part and which, how much transfers weigh against compute
 * in the search, and the device of the tail; from the best of these, ends are moved, added and left out one at a time.
 * Deviation: convolutions are cut by rows only, and the tail runs on one device, as in the comparison of Hou et al.
 * (IPDPS 2022); the paper cuts layers with many weights by channels.
 */
import type { Planner } from '../planner.js';
import { searchVolumes } from './fused-search.js';
import { sharesOf } from './teams.js';
import { baseline } from './trial.js';

export const deeperthings: Planner = baseline(
  'deeperthings',
  'Equal rows, several fused volumes (Stahl et al., IJPP 2021)',
  (trial) => {
    const equal = trial.task.costs.map(() => 1);
    searchVolumes(trial, (team) => [sharesOf(trial.task, team, equal)], 'alike');
  },
);
