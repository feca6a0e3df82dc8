import { expect, it } from 'vitest';
import { Net, taskOn } from '../baselines/fixtures.js';
import { Geometry } from './geometry.js';
import { devicesOf } from './plan-state.js';
import { starts } from './starts.js';

it('starts try every number of devices before they try other partitions', () => {
  const net = new Net(64);
  for (let n = 0; n < 6; n++) net.layer({ channels: 2 + n });
  const devices = Array.from({ length: 16 }, (_, d) => ({ rate: 1000 + 50 * d, mbps: 40 + 10 * d }));
  const geometry = new Geometry(taskOn(net.workload('head'), devices));
  const used = [...starts(geometry, { classical: false })].map(({ state }) => devicesOf(state).length);
  const largest = Math.max(...used);
  expect(largest).toBeGreaterThan(8);
  // With one number of devices after the other, all of smaller teams would come first.
  expect(used.indexOf(largest)).toBeLessThan(used.length / 2);
  expect(used.lastIndexOf(2)).toBeGreaterThan(used.indexOf(largest));
});
