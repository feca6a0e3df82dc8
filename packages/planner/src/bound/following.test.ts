import { describe, expect, it } from 'vitest';
import { Net, taskOn } from '../baselines/fixtures.js';
import { lowerBound } from './bound.js';
import { behindMs, followingMs, levelsOf, neededRows } from './following.js';

describe('what must follow', () => {
  it('is one row of each op after it, where it takes least', () => {
    const net = new Net(8);
    net.layer();
    net.layer();
    net.layer();
    const task = taskOn(net.workload('head'), [{ rate: 720 }, { rate: 360, launchMs: 5 }]);
    // 8 rows of 10 × 4 elements with 9 multiply-adds: a row takes 1 ms on the faster device.
    expect(followingMs(task)).toEqual({ ops: [2, 1, 0], tensors: [3, 2, 1, 0] });
  });

  it('is the shortest of the ways to a result, and all rows of an op that cannot be divided', () => {
    const net = new Net(8);
    const first = net.layer();
    const side = net.layer({ reads: [first], whole: true });
    net.layer({ reads: [first, side], kernel: 1 });
    const { ops } = followingMs(taskOn(net.workload('head'), [{ rate: 720 }]));
    expect(ops).toEqual([1, 1, 0]);
    const chain = new Net(8);
    chain.layer();
    chain.layer({ whole: true });
    expect(followingMs(taskOn(chain.workload('head'), [{ rate: 720 }])).ops).toEqual([8, 0]);
  });

  it('is nothing after a result', () => {
    const net = new Net(8);
    const early = net.layer();
    const last = net.layer();
    expect(followingMs(taskOn(net.workload([early, last]), [{ rate: 720 }])).ops).toEqual([0, 0]);
  });

  it('levels are some of the times, the largest among them', () => {
    expect(levelsOf([0, 1, 2, 3, 50, 100])).toEqual([50, 100]);
    expect(levelsOf([0, 0])).toEqual([]);
    expect(levelsOf([])).toEqual([]);
  });
});

describe('what waits for the last row of an op', () => {
  it('is the longest of the ways to a result', () => {
    const net = new Net(8);
    const first = net.layer();
    const side = net.layer({ reads: [first] });
    net.layer({ reads: [first, side], kernel: 1 });
    expect(behindMs(taskOn(net.workload('head'), [{ rate: 720 }]), [8, 8, 8])).toEqual([2, 1, 0]);
  });

  it('is nothing where rows are skipped, or no result is made from all of them', () => {
    const net = new Net(8);
    net.layer();
    net.layer({ kernel: 1, stride: 2 });
    const task = taskOn(net.workload('head'), [{ rate: 720 }]);
    expect(behindMs(task, [8, 4])).toEqual([0, 0]);
    const chain = new Net(8);
    chain.layer();
    chain.layer();
    expect(behindMs(taskOn(chain.workload('head'), [{ rate: 720 }]), [8, 7])).toEqual([0, 0]);
  });
});

it('rows that no result is made from are not needed, and neither is what they read', () => {
  const net = new Net(7);
  net.layer({ kernel: 1 });
  net.layer({ kernel: 1, stride: 3 });
  expect(neededRows(net.workload([2]))).toEqual([3, 3, 3]);
  net.layer({ reads: [1], kernel: 1 });
  expect(neededRows(net.workload([2, 3]))).toEqual([7, 7, 3, 7]);
});

/** The bound for four equal devices, where behind the first op up to eight rows take as long as eight. */
async function boundOn(net: Net): Promise<number> {
  const devices = Array.from({ length: 4 }, () => ({ rate: 720 }));
  const task = taskOn(net.workload('head'), devices, { mbps: 1e6 });
  const costs = task.costs.map((device) => ({
    ...device,
    opMs: device.opMs.map((table, o) => (o === 0 ? table : table.map((_, r) => 8 * Math.ceil(r / 8)))),
  }));
  return (await lowerBound({ ...task, costs })).ms;
}

it('a row alone that takes as long as many makes the bound larger', async () => {
  const net = new Net(16);
  net.layer({ multiplyAdds: 90 });
  for (let n = 0; n < 5; n++) net.layer();
  // A quarter of all work is 60 ms, one row of every op 50 ms. But when all of the first op is done, 40 ms, five steps follow.
  expect(await boundOn(net)).toBeGreaterThan(79);
});

it('work behind a branch waits for the longer way round it', async () => {
  const net = new Net(16);
  let last = net.layer({ multiplyAdds: 90 });
  for (let n = 0; n < 3; n++) {
    const side = net.layer({ reads: [last] });
    last = net.layer({ reads: [last, net.layer({ reads: [side] })], kernel: 1 });
  }
  // A quarter of all work is 76 ms; when the first op is done, after 40 ms, nine steps of 8 ms follow, three if it could be passed by.
  expect(await boundOn(net)).toBeGreaterThan(110);
});
