/**
 * CoEdge: every layer a volume, one share of the rows per device for all layers, so that neighbours exchange halo rows only.
 * The shares come from a linear programme over compute and bandwidth, which also says who takes part.
 *
 * Source: Zeng et al., "CoEdge: Cooperative DNN Inference with Adaptive Workload Partitioning over Heterogeneous Edge
 * Devices", IEEE/ACM Transactions on Networking 2020.
 *
 * Per device: (work / rate_i + (input + result) / bandwidth_i) · a_i + halo_i ≤ T; the programme and how it is solved exactly are in
 * `coedge-programme.ts`. A device whose share is less than the halo of some layer would need rows from beyond its neighbours:
 * the smallest such share is taken out and the programme solved again, as in the paper.
 *
 * Left open there and settled by simulation: which devices the programme is given, the device of the tail, whether small
 * shares stay, whether a pooling or addition is a layer of its own, whether halo rows are waited for or hide under compute, and whether the requester's link serves one device after the
 * other. Deviation: the paper minimises energy under a deadline; here the latency is minimised itself.
 */
import type { Planner } from '../planner.js';
import { haloOf, solve } from './coedge-programme.js';
import { tryFitting } from './fitting.js';
import { layerings, rowPlan } from './layout.js';
import { linearModel } from './linear-model.js';
import { teams } from './teams.js';
import { baseline, likelyHeads, settleHead, type Trial, withHead } from './trial.js';

export const coedge: Planner = baseline(
  'coedge',
  'Rows from a linear programme over compute and bandwidth, every layer (Zeng et al., ToN 2020)',
  search,
);

const CASES = [true, false].flatMap((waits) =>
  [true, false].flatMap((queue) => [true, false].map((thin) => ({ waits, queue, thin }))),
);

function search(trial: Trial): void {
  const { task } = trial;
  const model = linearModel(task);
  const halo = haloOf(task);
  const layers = layerings(task.workload);
  const all = teams(trial, model);
  const seen = new Set<string>();
  all.forEach((team, index) => {
    for (const options of CASES) {
      const shares = solve(task, model, halo, team, options);
      const key = shares.join();
      if (seen.has(key)) continue;
      seen.add(key);
      for (const head of likelyHeads(
        task,
        shares.flatMap((share, device) => (share > 0 ? [device] : [])),
      )) {
        if (trial.stopped) return;
        for (const ends of layers) {
          tryFitting(trial, shares, (fitting) => withHead(rowPlan(task.workload, ends, fitting), head));
        }
      }
    }
    trial.progress((index + 1) / all.length, `${team.length} devices`);
  });
  settleHead(trial);
}
