/** A cluster whose providers go, come back and fail, over memory links, with engines that compute nothing. */
import { DistrEdgeError, floats, floatTensor, type Program, type Tensor } from '@distredge/core';
import { afterEach, describe, expect, it } from 'vitest';
import {
  engineFailure,
  engineOf,
  type FakeEngine,
  INPUT,
  ManualClock,
  type Mischief,
  OUTPUT,
  smallProgram,
  until,
} from './fixtures.js';
import { createMemoryTransport } from './link/memory.js';
import { type Provider, startProvider } from './provider.js';
import { connectResilient, type ResilientCluster, type ResilientOptions, type Share, type Turn } from './resilient.js';

const inputs = { x: INPUT };
const WHOLE = floatTensor(new Float32Array(4 * 12 * 4).fill(-7), [1, 4, 12, 4]);
const programs = [1, 2, 3].map(smallProgram);
const programsFor = (devices: readonly number[]): Share[] => [
  { program: programs[devices.length - 1] as Program, devices },
];

/** Three providers `d0` … `d2` that can be ended and started again, and a cluster over them. */
class Scene {
  readonly transport = createMemoryTransport();
  readonly turns: Turn[] = [];
  readonly wholes: number[] = [];
  readonly engines: FakeEngine[] = [];
  readonly #providers = new Map<number, Provider>();
  #cluster: ResilientCluster | undefined;

  async start(device: number, mischief?: Mischief): Promise<void> {
    const provider = await startProvider({
      transport: this.transport,
      listen: `d${device}`,
      engineName: 'fake',
      maxJobs: 16,
      createEngine: ({ devices, device: own }) => {
        const engine = engineOf(programs[devices - 1] as Program, own, mischief);
        this.engines.push(engine);
        return engine;
      },
    });
    this.#providers.set(device, provider);
  }

  async end(device: number): Promise<void> {
    await this.#providers.get(device)?.close();
  }

  async connect(options: Partial<ResilientOptions> = {}): Promise<ResilientCluster> {
    this.#cluster = await connectResilient({
      transport: this.transport,
      addresses: ['d0', 'd1', 'd2'],
      programsFor,
      whole: async () => {
        this.wholes.push(this.turns.length);
        return { [OUTPUT]: WHOLE };
      },
      report: (turn) => this.turns.push(turn),
      retryMs: 20,
      patienceMs: 5000,
      ...options,
    });
    return this.#cluster;
  }

  /** What was told, as short texts. */
  get story(): string[] {
    return this.turns.map((turn) =>
      'devices' in turn
        ? `${turn.type} ${turn.devices.join()}`
        : 'device' in turn
          ? `${turn.type} ${turn.device}`
          : turn.type,
    );
  }

  async close(): Promise<void> {
    await this.#cluster?.close();
    await Promise.all([...this.#providers.values()].map((provider) => provider.close()));
  }
}

/** How many devices computed an output: each fills its rows with its place in the program. */
function devicesOf(outputs: Readonly<Record<string, Tensor>>): number {
  return new Set(floats(outputs[OUTPUT] as Tensor)).size;
}

let scene: Scene;
async function three(): Promise<Scene> {
  scene = new Scene();
  for (const device of [0, 1, 2]) await scene.start(device);
  return scene;
}
afterEach(() => scene.close());

describe('a cluster that outlives its devices', () => {
  it('goes on with the others when one is gone, and takes it back', async () => {
    await three();
    const cluster = await scene.connect();
    expect(devicesOf(await cluster.infer(inputs))).toBe(3);
    await scene.end(1);
    await until(() => scene.turns.length > 0);
    expect(devicesOf(await cluster.infer(inputs))).toBe(2);
    expect(scene.story.slice(0, 3)).toEqual(['switched 0,1,2', 'lost 1', 'switched 0,2']);
    expect(cluster.devices).toEqual([0, 2]);
    await scene.start(1);
    await until(() => cluster.devices.length === 3);
    expect(scene.story.slice(-2)).toEqual(['returned 1', 'switched 0,1,2']);
    expect(devicesOf(await cluster.infer(inputs))).toBe(3);
    expect(scene.wholes).toEqual([]);
  });

  it('finishes the images under way when one is gone', async () => {
    scene = new Scene();
    for (const device of [0, 2]) await scene.start(device);
    let stuck = 0;
    await scene.start(1, (_, what) => {
      if (what === 'load') return undefined;
      stuck += 1;
      return new Promise<never>(() => undefined);
    });
    const cluster = await scene.connect({ inFlight: 3, retryMs: 60_000 });
    const images = [1, 2, 3, 4, 5].map(() => cluster.infer(inputs));
    await until(() => stuck > 0);
    void scene.end(1);
    for (const image of images) expect(devicesOf(await image)).toBe(2);
    expect(scene.story).toEqual(['switched 0,1,2', 'lost 1', 'switched 0,2']);
  });

  it('runs images whole, one at a time, when all are gone, and says so for each', async () => {
    await three();
    const cluster = await scene.connect({ retryMs: 60_000 });
    for (const device of [0, 1, 2]) await scene.end(device);
    const results = await Promise.all([cluster.infer(inputs), cluster.infer(inputs)]);
    for (const result of results) expect(result[OUTPUT]).toBe(WHOLE);
    expect(cluster.devices).toEqual([]);
    expect(scene.story.filter((line) => line === 'whole')).toHaveLength(2);
    const lost = scene.turns.flatMap((turn) => (turn.type === 'lost' ? turn.devices : []));
    expect([...new Set(lost)].sort()).toEqual([0, 1, 2]);
  });

  it('begins with the devices that are there', async () => {
    scene = new Scene();
    await scene.start(2);
    const cluster = await scene.connect();
    expect(cluster.devices).toEqual([2]);
    expect(devicesOf(await cluster.infer(inputs))).toBe(1);
  });

  it('runs an image whole that no device can compute', async () => {
    scene = new Scene();
    for (const device of [0, 1, 2])
      await scene.start(device, (_, what) => (what === 'run' ? engineFailure() : undefined));
    const cluster = await scene.connect({ retryMs: 60_000 });
    expect((await cluster.infer(inputs))[OUTPUT]).toBe(WHOLE);
    expect(scene.story.at(-1)).toBe('whole');
    expect(scene.turns.some((turn) => turn.type === 'lost' && /tired/.test(turn.error.message))).toBe(true);
  });

  it('runs an image whole that is late though nobody is gone', async () => {
    scene = new Scene();
    let stuck = true;
    for (const device of [0, 1, 2])
      await scene.start(device, (_, what) =>
        what === 'run' && stuck ? new Promise<never>(() => undefined) : undefined,
      );
    const cluster = await scene.connect({ requestMs: 100 });
    expect((await cluster.infer(inputs))[OUTPUT]).toBe(WHOLE);
    expect(scene.wholes).toHaveLength(1);
    expect(scene.turns[1]).toMatchObject({ type: 'lost', devices: [], error: { code: 'DEADLINE' } });
    stuck = false;
    await until(() => cluster.devices.length === 3);
    expect(devicesOf(await cluster.infer(inputs))).toBe(3);
  });

  it('does not wait longer than its patience for a new program', async () => {
    await three();
    let later: (() => void) | undefined;
    const cluster = await scene.connect({
      patienceMs: 10,
      retryMs: 60_000,
      programsFor: (devices) =>
        devices.length === 3
          ? programsFor(devices)
          : new Promise((resolve) => {
              later = () => resolve(programsFor(devices));
            }),
    });
    await scene.end(0);
    expect((await cluster.infer(inputs))[OUTPUT]).toBe(WHOLE);
    await until(() => later !== undefined);
    later?.();
    await until(() => cluster.devices.length === 2);
    expect(devicesOf(await cluster.infer(inputs))).toBe(2);
  });

  it('reports what goes wrong in planning, and runs whole', async () => {
    await three();
    const cluster = await scene.connect({
      programsFor: () => {
        throw new DistrEdgeError('PLAN_INVALID', 'no plan');
      },
    });
    expect((await cluster.infer(inputs))[OUTPUT]).toBe(WHOLE);
    expect(scene.turns[0]).toMatchObject({ type: 'lost', devices: [], error: { code: 'PLAN_INVALID' } });
  });

  it('tells the caller of wrong inputs, and blames nobody', async () => {
    await three();
    const cluster = await scene.connect();
    await expect(cluster.infer({})).rejects.toMatchObject({ code: 'SHAPE_MISMATCH' });
    expect(scene.story).toEqual(['switched 0,1,2']);
    expect(devicesOf(await cluster.infer(inputs))).toBe(3);
  });

  it('loses no image of a stream while its devices come and go', async () => {
    await three();
    const cluster = await scene.connect({ inFlight: 3 });
    let index = 0;
    const images = Array.from({ length: 60 }, () => inputs);
    for await (const result of cluster.stream(images)) {
      expect(result.index).toBe(index);
      index += 1;
      const device = Math.floor(index / 10) % 3;
      if (index % 10 === 4) void scene.end(device);
      if (index % 10 !== 8) continue;
      await until(() => cluster.devices.length === 2);
      await scene.start(device);
      await until(() => cluster.devices.length === 3);
    }
    expect(index).toBe(60);
    expect(scene.story.filter((line) => line.startsWith('lost'))).toEqual(
      [0, 1, 2, 0, 1, 2].map((device) => `lost ${device}`),
    );
    expect(scene.wholes).toEqual([]);
  });

  it('lets programs take turns with whole images, and loads only what is new when one is gone', async () => {
    await three();
    const single = programs[0] as Program;
    let asked = 0;
    const cluster = await scene.connect({
      inFlight: 2,
      retryMs: 60_000,
      programsFor: (devices) => {
        asked += 1;
        return devices.map((device) => ({ program: single, devices: [device] }));
      },
    });
    expect(cluster.inFlight).toBe(6);
    const loads = scene.engines.length;
    expect(loads).toBe(3);
    await Promise.all(Array.from({ length: 12 }, () => cluster.infer(inputs)));
    expect(scene.engines.every(({ runs }) => runs > 0)).toBe(true);
    await scene.end(1);
    await Promise.all(Array.from({ length: 12 }, () => cluster.infer(inputs)));
    await until(() => asked === 2 && cluster.devices.length === 2);
    expect(scene.engines.length).toBe(loads);
    expect(scene.wholes).toEqual([]);
  });

  it('is over when it is closed', async () => {
    await three();
    const cluster = await scene.connect();
    await cluster.close();
    await expect(cluster.infer(inputs)).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('an image that is late', () => {
  /** A cluster over `d0` … `d2` that has done 60 images in no time, and whose device 1 holds up the next ones until it is let go. */
  async function held(options: Partial<ResilientOptions> = {}) {
    scene = new Scene();
    const clock = new ManualClock();
    const hold = { on: false, held: 0, go: (): void => undefined };
    const gone = new Promise<void>((resolve) => {
      hold.go = resolve;
    });
    for (const device of [0, 1, 2])
      await scene.start(device, (_, what) => {
        if (what !== 'run' || device !== 1 || !hold.on) return undefined;
        hold.held += 1;
        return gone;
      });
    const cluster = await scene.connect({ clock, retryMs: 60_000, ...options });
    for (let count = 0; count < 20; count++) await Promise.all([0, 1, 2].map(() => cluster.infer(inputs)));
    scene.turns.length = 0;
    hold.on = true;
    return { cluster, clock, hold };
  }

  it('is begun again whole, and the result that is first counts', async () => {
    const { cluster, clock, hold } = await held();
    const image = cluster.infer(inputs);
    await until(() => hold.held > 0);
    clock.go(2);
    expect(scene.story).toEqual([]);
    clock.go(1);
    expect((await image)[OUTPUT]).toBe(WHOLE);
    expect(scene.turns[0]).toMatchObject({ type: 'late', on: [], ms: 3, expectedMs: 0 });
    expect(scene.turns[0]).toHaveProperty('devices', expect.arrayContaining([1]));
    expect(scene.turns[1]).toEqual({ type: 'raced', by: 'second', ms: 3 });
    hold.on = false;
    hold.go();
    expect(devicesOf(await cluster.infer(inputs))).toBe(3);
    expect(cluster.devices).toEqual([0, 1, 2]);
    expect(scene.turns).toHaveLength(2);
  });

  it('is left to its program where it has taken as long as images do', async () => {
    const { cluster, clock, hold } = await held();
    const image = cluster.infer(inputs);
    await until(() => hold.held > 0);
    clock.go(2);
    hold.go();
    expect(devicesOf(await image)).toBe(3);
    expect(scene.wholes).toEqual([]);
    expect(scene.story).toEqual([]);
  });

  it('is left to its program where nothing else is wanted', async () => {
    const { cluster, clock, hold } = await held({ overtake: false });
    const image = cluster.infer(inputs);
    await until(() => hold.held > 0);
    clock.go(10_000);
    hold.go();
    expect(devicesOf(await image)).toBe(3);
    expect(scene.story).toEqual([]);
  });

  it('goes to another program that shares no device with its own', async () => {
    const single = programs[0] as Program;
    const { cluster, clock, hold } = await held({
      programsFor: (devices) => devices.map((device) => ({ program: single, devices: [device] })),
    });
    const images = [0, 1, 2].map(() => cluster.infer(inputs));
    await until(() => hold.held > 0);
    await Promise.race(images);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    clock.go(3);
    for (const image of images) expect(devicesOf(await image)).toBe(1);
    expect(scene.turns[0]).toMatchObject({ type: 'late', devices: [1] });
    expect(scene.turns[0]).not.toHaveProperty('on', []);
    expect(scene.wholes).toEqual([]);
    hold.go();
  });

  it('is done elsewhere also when its device is lost meanwhile', async () => {
    const { cluster, clock, hold } = await held();
    const image = cluster.infer(inputs);
    await until(() => hold.held > 0);
    clock.go(3);
    void scene.end(1);
    expect((await image)[OUTPUT]).toBe(WHOLE);
    await until(() => cluster.devices.length === 2);
    expect(scene.story).toContain('lost 1');
    expect(devicesOf(await cluster.infer(inputs))).toBe(2);
    hold.go();
  });

  it('waits for its program where it cannot be done whole', async () => {
    const { cluster, clock, hold } = await held({
      whole: async () => {
        throw new DistrEdgeError('PROVIDER_LOST', 'not here');
      },
    });
    const image = cluster.infer(inputs);
    await until(() => hold.held > 0);
    clock.go(50);
    await until(() => scene.turns.length > 0);
    hold.go();
    expect(devicesOf(await image)).toBe(3);
    expect(scene.story.map((line) => line.split(' ')[0])).toEqual(['late', 'raced']);
    expect(scene.turns[1]).toMatchObject({ by: 'first' });
  });
});
