/**
 * AOFL: adaptive optimally fused layers. Rows in proportion to what each device can do, in several fused volumes whose ends are
 * searched for the devices and the network at hand.
 *
 * Source: Zhou et al., "Adaptive Parallel Execution of Deep Neural Networks on Heterogeneous Edge Devices", SEC 2019.
 *
 * As in the paper, the ends are the best of all by a cost model of compute in proportion to operations and of transfers
 * (`fusion.ts`, by dynamic programming instead of enumeration); then, as it adapts to what it measures, ends are
 * moved, added and left out one at a time, by simulation, which the paper's search of minutes leaves room for.
 * Left open there and settled by simulation: which devices take part, the device of the tail, and whether the time on a
 * device's link counts in its share of the rows.
 */
import type { NetworkLink } from '@distredge/core';
import type { Planner } from '../planner.js';
import { searchVolumes } from './fused-search.js';
import { normal } from './layout.js';
import { bytesPerMs, inputBytes } from './linear-model.js';
import { sharesOf } from './teams.js';
import { baseline } from './trial.js';

export const aofl: Planner = baseline(
  'aofl',
  'Rows by rate and network, fused volumes searched (Zhou et al., SEC 2019)',
  (trial) => {
    const { workload, network } = trial.task;
    const input = inputBytes(workload);
    searchVolumes(trial, (team, { rate, work }) => {
      const reach = Array.from(rate, (own, device) => {
        const link = network.devices[device] as NetworkLink;
        return 1 / ((work || 1) / own + input / bytesPerMs(link, network.requester));
      });
      return [normal(sharesOf(trial.task, team, rate)), normal(sharesOf(trial.task, team, reach))];
    });
  },
);
