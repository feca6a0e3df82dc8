/**
 * Providers that run out of disk or of memory, while they prepare and while they compute: the image is finished by the others
 * or whole, and right; nobody waits for ever. Small file systems and memory limits are the system's own, and need root.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { analyse, compile, type Program, planByRule } from '@distredge/core';
import { connectResilient, createTcpTransport, type ResilientCluster, type Turn } from '@distredge/runtime';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type HurtOptions, HurtProvider, Work } from '../../bench/_fault-cluster.js';
import { endWithTests, startProvider, until } from '../support/cli.js';

/** A file system of this many KiB, full but for as many. */
class SmallDisk {
  readonly path: string = mkdtempSync(join(tmpdir(), 'distredge-disk-'));

  constructor(kib: number) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'distredge-test', this.path]);
  }

  fill(): void {
    for (let size = 2 ** 20; size >= 1; size >>= 1) {
      try {
        for (let count = 0; count < 100; count++)
          writeFileSync(join(this.path, 'filler'), Buffer.alloc(size), { flag: 'a' });
      } catch {
        // So much does not fit any more.
      }
    }
  }

  remove(): void {
    execFileSync('umount', ['-l', this.path]);
    rmdirSync(this.path);
  }
}

/** Where groups of processes are given memory, in either version of the system's interface. */
function memoryRoot(): { readonly path: string; readonly limit: string } | undefined {
  for (const [path, limit, mark] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max', 'cgroup.subtree_control'],
  ] as const) {
    if (!existsSync(join(path, mark))) continue;
    if (mark === 'cgroup.subtree_control' && !readFileSync(join(path, mark), 'utf8').includes('memory')) continue;
    return { path, limit };
  }
  return undefined;
}

/** A group of processes that may use so much more memory than they have. */
class MemoryLimit {
  readonly #path: string;
  readonly #limit: string;

  constructor(root: NonNullable<ReturnType<typeof memoryRoot>>) {
    this.#path = join(root.path, `distredge-test-${process.pid}`);
    this.#limit = join(this.#path, root.limit);
    mkdirSync(this.#path);
  }

  take(pid: number, bytes: number): void {
    writeFileSync(this.#limit, `${bytes}`);
    writeFileSync(join(this.#path, 'cgroup.procs'), `${pid}`);
  }

  remove(): void {
    rmdirSync(this.#path);
  }
}

function canMount(): boolean {
  try {
    new SmallDisk(64).remove();
    return true;
  } catch {
    return false;
  }
}

function canLimit(): boolean {
  const root = memoryRoot();
  if (root === undefined) return false;
  try {
    new MemoryLimit(root).remove();
    return true;
  } catch {
    return false;
  }
}

endWithTests();
const PROVIDERS = 3;
const SICK = 1;
let work: Work;
let programs: readonly Program[];
const undo: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  work = await Work.create(5);
  const analysis = analyse(work.graph);
  programs = Array.from({ length: PROVIDERS }, (_, index) =>
    compile(work.graph, planByRule(analysis, { volumes: 3, weights: new Array<number>(index + 1).fill(1) }), analysis),
  );
});
afterEach(async () => {
  for (const action of undo.splice(0).reverse()) await action();
});
afterAll(() => work.whole.close());

/** Three providers, the second of which is started like this. */
async function providersWith(sick: HurtOptions): Promise<readonly HurtProvider[]> {
  const providers = Array.from({ length: PROVIDERS }, (_, index) => new HurtProvider(index === SICK ? sick : {}));
  for (const provider of providers) undo.push(() => provider.close());
  await Promise.all(providers.map((provider) => provider.start()));
  return providers;
}

async function clusterOf(providers: readonly { readonly address: string }[], turns: Turn[]): Promise<ResilientCluster> {
  const cluster = await connectResilient({
    transport: createTcpTransport(),
    addresses: providers.map(({ address }) => address),
    retryMs: 60_000,
    programsFor: (devices) => [{ program: programs[devices.length - 1] as Program, devices }],
    whole: async (inputs) => ({ ...(await work.whole.run(inputs)).outputs }),
    report: (turn) => turns.push(turn),
  });
  undo.push(() => cluster.close());
  return cluster;
}

async function images(cluster: ResilientCluster, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const outputs = await cluster.infer(work.images[index % work.images.length]?.inputs ?? {});
    expect(work.right(index, outputs)).toBe(true);
  }
}

const lossesOf = (turns: readonly Turn[]): readonly (Turn & { readonly type: 'lost' })[] =>
  turns.filter((turn) => turn.type === 'lost');

const disks = canMount();
describe.skipIf(!disks)(`a disk that is full${disks ? '' : ' (skipped: a file system cannot be mounted here)'}`, () => {
  it('where weights are put: the device computes from memory, and says so', { timeout: 120_000 }, async () => {
    const disk = new SmallDisk(64);
    undo.push(() => disk.remove());
    disk.fill();
    const full = { TMPDIR: disk.path, TMP: disk.path, TEMP: disk.path };
    const provider = await startProvider([], full);
    undo.push(() => provider.gone());
    undo.push(() => provider.kill());
    const turns: Turn[] = [];
    const cluster = await clusterOf([provider, ...(await providersWith({ env: full }))].slice(0, PROVIDERS), turns);
    await images(cluster, 5);
    await provider.prints(/cannot be kept on disk \(.*ENOSPC.*\); they are kept in memory/);
    expect(cluster.devices).toHaveLength(PROVIDERS);
    expect(lossesOf(turns)).toEqual([]);
  });

  it('where weights are kept: they are used all the same', { timeout: 120_000 }, async () => {
    const disk = new SmallDisk(64);
    undo.push(() => disk.remove());
    disk.fill();
    const providers = await providersWith({ args: ['--cache', disk.path] });
    const turns: Turn[] = [];
    const cluster = await clusterOf(providers, turns);
    await images(cluster, 5);
    expect(cluster.devices).toHaveLength(PROVIDERS);
    expect(lossesOf(turns)).toEqual([]);
    expect(providers[SICK]?.over).toBe(false);
  });

  it('that gets full while images run: they go on', { timeout: 120_000 }, async () => {
    const disk = new SmallDisk(4096);
    undo.push(() => disk.remove());
    const providers = await providersWith({ env: { TMPDIR: disk.path, TMP: disk.path, TEMP: disk.path } });
    const turns: Turn[] = [];
    const cluster = await clusterOf(providers, turns);
    await images(cluster, 3);
    disk.fill();
    await images(cluster, 20);
    expect(lossesOf(turns)).toEqual([]);
  });
});

const limits = canLimit();
describe.skipIf(!limits)(
  `memory that runs out${limits ? '' : ' (skipped: memory cannot be limited here: that needs root and a memory cgroup)'}`,
  () => {
    function limited(): MemoryLimit {
      const limit = new MemoryLimit(memoryRoot() as NonNullable<ReturnType<typeof memoryRoot>>);
      return limit;
    }

    it('while a device prepares: the others compute', { timeout: 120_000 }, async () => {
      const limit = limited();
      undo.push(() => limit.remove());
      const providers = await providersWith({});
      limit.take(providers[SICK]?.pid ?? 0, 4 * 2 ** 20);
      const turns: Turn[] = [];
      const cluster = await clusterOf(providers, turns);
      await images(cluster, 5);
      await until(() => providers[SICK]?.over === true, 'the end of the provider without memory');
      expect(lossesOf(turns).flatMap(({ devices }) => devices)).toContain(SICK);
      // Images run whole until the others are prepared.
      await until(() => cluster.devices.length > 0, 'a plan on the others');
      expect(cluster.devices).toEqual([0, 2]);
    });

    it('while images run: the one under way is finished', { timeout: 120_000 }, async () => {
      const limit = limited();
      undo.push(() => limit.remove());
      const providers = await providersWith({});
      const turns: Turn[] = [];
      const cluster = await clusterOf(providers, turns);
      await images(cluster, 3);
      expect(cluster.devices).toHaveLength(PROVIDERS);
      limit.take(providers[SICK]?.pid ?? 0, 2 ** 20);
      for (let count = 0; count < 2000 && providers[SICK]?.over !== true; count++) await images(cluster, 1);
      await until(() => providers[SICK]?.over === true, 'the end of the provider without memory');
      await until(() => lossesOf(turns).length > 0, 'notice of it');
      await images(cluster, 5);
      expect(lossesOf(turns)[0]?.devices).toEqual([SICK]);
    });
  },
);
