import type { PlanningTask } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { Net, randomTask, taskOn } from '../baselines/fixtures.js';
import { BYTES_PER_MS } from '../units.js';
import { Geometry } from './geometry.js';
import { inChunks, type SearchPart, type SearchVolume } from './parts.js';
import { Team } from './team.js';

const SHARES = [3, 2];

/** A chain of layers, two of which shrink their rows. */
function chain(): PlanningTask {
  const net = new Net(32);
  for (const stride of [1, 1, 2, 1, 2, 1]) net.layer({ stride, channels: 5, multiplyAdds: 45 });
  return taskOn(net.workload([6]), [{ rate: 3000 }, { rate: 2000 }], { mbps: 40, latencyMs: 0.3 });
}

/** What whole parts of these volumes take, one volume after another: the estimate once more, without walking back. */
function estimate(geometry: Geometry, volumes: readonly SearchVolume[]): number {
  const { task, workload } = geometry;
  const share = (device: number, rows: number): [number, number] => {
    const cut = Math.floor(rows * (3 / 5) + 0.5);
    return device === 0 ? [0, cut] : [cut, rows];
  };
  return volumes.reduce((sum, { start, end, parts }) => {
    const computeMs = Math.max(...parts.map(({ device, from, to }) => geometry.ms(device, start, end, from, to)));
    const bytes = parts.map(({ device, from, to }) => {
      const needs = geometry.needs(start, end, from, to);
      let lacking = 0;
      for (let at = 0; at < needs.length; at += 3) {
        const tensor = workload.tensors[needs[at] as number];
        const [a, b] = [needs[at + 1] as number, needs[at + 2] as number];
        const [x, y] = start === 0 ? [0, 0] : share(device, tensor?.rows ?? 0);
        lacking += (b - a - Math.max(0, Math.min(b, y) - Math.max(a, x))) * (tensor?.bytesPerRow ?? 0);
      }
      return lacking;
    });
    const ms = (count: number, mbps: number): number => count / (mbps * BYTES_PER_MS);
    const { requester, devices } = task.network;
    const slowest = Math.max(...bytes.map((count, i) => ms(count, devices[i]?.mbps ?? 0)));
    const together = ms(
      bytes.reduce((total, count) => total + count, 0),
      requester.mbps,
    );
    const latency = start > 0 && slowest > 0 ? 0.3 : 0;
    return sum + computeMs + latency + (start === 0 ? Math.max(slowest, together) : slowest);
  }, 0);
}

/** Every way to end volumes. */
function partitions(ops: number): number[][] {
  return Array.from({ length: 2 ** (ops - 1) }, (_, bits) =>
    Array.from({ length: ops }, (_, op) => op).filter((op) => op === ops - 1 || (bits >> op) % 2 === 1),
  );
}

describe('a team', () => {
  it('finds the volumes that take least of all, by an estimate that needs no walk back', () => {
    const geometry = new Geometry(chain());
    const team = new Team(geometry, [0, 1], SHARES, 0, geometry.ends);
    const all = partitions(6).map((ends) => estimate(geometry, team.volumes(ends)));
    expect(Math.max(...all)).toBeGreaterThan(1.2 * Math.min(...all));
    expect(estimate(geometry, team.best())).toBeCloseTo(Math.min(...all), 9);
  });

  it('cuts early volumes into chunks that follow the inputs, where these take long', () => {
    const geometry = new Geometry(chain());
    const team = new Team(geometry, [0], [1], 0, geometry.ends);
    const volumes = team.best([4, 1]);
    expect(volumes[0]?.parts).toHaveLength(4);
    expect(volumes.at(-1)?.end).toBe(5);
    const fast = { ...chain(), network: { ...chain().network, requester: { mbps: 1e6, latencyMs: 0 } } };
    const devices = fast.network.devices.map(() => ({ mbps: 1e6, latencyMs: 0 }));
    const near = new Geometry({ ...fast, network: { ...fast.network, devices } });
    const least = (chunks: readonly [number, number]): number =>
      new Team(near, [0], [1], 0, near.ends).best(chunks).reduce((sum, { parts }) => sum + parts.length, 0);
    expect(least([1, 1])).toBeLessThanOrEqual(least([4, 1]));
  });

  it('leaves every volume tiled, and ends volumes where they must end', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const geometry = new Geometry(randomTask(seed));
      const devices = geometry.task.costs.map((_, device) => device);
      const team = new Team(
        geometry,
        devices,
        devices.map((device) => 1 + device),
        0,
        geometry.ends,
      );
      for (const chunks of [
        [1, 1],
        [3, 1],
        [6, 2],
      ] as const) {
        const volumes = team.best(chunks);
        expect(volumes.map(({ end }) => end)).toEqual(expect.arrayContaining([...geometry.required]));
        let start = 0;
        for (const volume of volumes) {
          expect(volume.start).toBe(start);
          start = volume.end + 1;
          expectTiled(volume.parts, geometry.rows(volume.end));
        }
      }
    }
  });
});

describe('chunks', () => {
  it('tile what they are cut from, two rows high at least', () => {
    const parts = [
      { device: 0, from: 0, to: 9, key: 0 },
      { device: 1, from: 9, to: 12, key: 0 },
    ];
    const cut = inChunks(parts, 4);
    expectTiled(cut, 12);
    expect(cut.map(({ device }) => device)).toEqual([0, 0, 0, 0, 1]);
    expect(inChunks(parts, 1)).toBe(parts);
  });
});

function expectTiled(parts: readonly SearchPart[], rows: number): void {
  let from = 0;
  for (const part of parts) {
    expect(part.from).toBe(from);
    expect(part.to).toBeGreaterThan(part.from);
    from = part.to;
  }
  expect(from).toBe(rows);
}
