/**
 * The best single device: what a user would do without this project, and what no planner may be slower than.
 *
 * It comes to the same plan as `offload`, which already chooses by latency end to end (see there). The two names answer two
 * questions: `offload` is one of the seven published baselines, this one is the answer to "what do I gain over one device?".
 */
import type { Planner } from '../planner.js';
import { alone } from './offload.js';
import { baseline } from './trial.js';

export const bestDevice: Planner = baseline('best-device', 'The one device with the lowest latency', alone);
