/** The published baselines, by name, and the best single device. */
import type { Planner } from '../planner.js';
import { aofl } from './aofl.js';
import { bestDevice } from './best-device.js';
import { coedge } from './coedge.js';
import { deeperthings } from './deeperthings.js';
import { deepthings } from './deepthings.js';
import { mednn } from './mednn.js';
import { modnn } from './modnn.js';
import { offload } from './offload.js';

/** The seven baselines in the order of their publication, Offload first, then the best single device. */
export const baselines: readonly Planner[] = [
  offload,
  modnn,
  mednn,
  deepthings,
  aofl,
  coedge,
  deeperthings,
  bestDevice,
];
