/** When a plan is made, and which one is in force then. */
import { DistrEdgeError } from '@distredge/core';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { createTcpTransport } from '../link/tcp.js';
import type { Context } from './context.js';
import type { PlanFunction } from './contract.js';
import {
  all,
  byRule,
  controllerScenes,
  type DeviceTricks,
  held,
  inputs,
  rows,
  SERVED,
  shared,
} from './controller-scene.js';
import type { ControllerEvent, PlanMade, PlanReason } from './events.js';
import type { Generations, Prepared } from './generations.js';
import { Replanning } from './replanning.js';
import type { Standbys } from './standbys.js';

const scene = controllerScenes();
const undo: (() => void)[] = [];

afterEach(() => {
  for (const action of undo.splice(0)) action();
});

/** What makes plans, alone, in a cluster of two devices with a plan in force that has one of them compute everything. */
async function alone(
  plan: PlanFunction,
  tricks: DeviceTricks = {},
  { standingBy = {}, ...more }: { standingBy?: Partial<Standbys>; glance?: () => Promise<number> } = {},
) {
  const controller = await scene().control({ standbys: 0 });
  await scene().device(controller, 'a', 1);
  await scene().device(controller, 'b', 2, tricks);
  await controller.ready(2, 20_000);
  const suspects = new Set<string>();
  const told: ControllerEvent[] = [];
  const problems: unknown[] = [];
  const context = {
    options: { plan, transport: createTcpTransport() },
    model: SERVED,
    registry: controller.registry,
    suspects,
    closed: false,
    tell: (event: ControllerEvent) => told.push(event),
    problem: (error: unknown) => problems.push(error),
    wake: () => undefined,
  } as unknown as Context;
  const pace = new Map<string, number>();
  const facts = { ids: ['a'], work: await shared([1]), number: 1, cluster: {} };
  const switched: (Prepared & PlanMade)[] = [];
  const nothing = () => undefined;
  const standbys = { best: nothing, coming: nothing, lost: () => true, take: nothing, yield: nothing };
  const replanning = new Replanning(context, {
    generations: {
      current: { facts, supersede: nothing },
      count: 1,
      switchTo: (prepared: Prepared, made: PlanMade) => {
        switched.push({ ...prepared, ...made });
        undo.push(() => void prepared.cluster.close?.());
      },
    } as unknown as Generations,
    standbys: { ...standbys, yieldSearch: nothing, ...standingBy } as unknown as Standbys,
    pace,
    suspect: () => undefined,
    glance: async () => 0,
    kept: () => undefined,
    ...more,
  });
  return { pace, replanning, suspects, switched, told, problems };
}

describe('planning anew', () => {
  it('keeps a plan that no other one beats by enough', async () => {
    let plans = 0;
    const alone: PlanFunction = ({ costs }) => {
      plans++;
      return shared(costs.map((_, index) => (index === 0 ? 1 : 0)));
    };
    const controller = await scene().control({ plan: alone });
    await scene().device(controller, 'a', 1);
    await until(() => controller.generation?.devices.join() === 'a');
    const { number } = controller.generation ?? {};
    await scene().device(controller, 'b', 2);
    await until(() => scene().of('kept').length > 0 && plans > 1);
    expect(controller.generation?.number).toBe(number);
  });

  it('plans anew when a device computes at another pace than it was measured to', async () => {
    // Fake steps take a millisecond; this device was said to take a hundred times as long.
    const controller = await scene().control({ drift: { window: 1 } });
    await scene().device(controller, 'a', 1, { ms: 100 });
    await until(() => controller.generation !== undefined);
    const first = controller.generation?.predictedMs ?? 0;
    for (let image = 0; image < 500 && scene().of('drift').length === 0; image++) {
      await controller.infer(inputs);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(scene().of('drift')[0]).toMatchObject({ what: 'compute', id: 'a' });
    expect(scene().of('drift')[0]?.factor).toBeLessThan(0.1);
    await until(() => scene().of('kept').length > 0);
    expect(scene().of('kept').at(-1)?.runningMs).toBeLessThan(first / 2);
  });

  it('tells of plans that cannot be made, answers all the same, and tries again', async () => {
    let tries = 0;
    const controller = await scene().control({
      plan: async (task, options) => {
        if (++tries < 2) throw new DistrEdgeError('PLAN_INVALID', 'no plan today');
        return byRule(task, options);
      },
    });
    await scene().device(controller, 'a', 1);
    await until(() =>
      scene()
        .of('problem')
        .some(({ error }) => error.message === 'no plan today'),
    );
    await until(() => controller.generation !== undefined);
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
  });

  it('holds images up only while a better plan is being prepared', async () => {
    const { replanning, told, problems, suspects } = await alone(({ costs }) => {
      // While a better plan was looked for one of its devices has failed.
      suspects.add('b');
      return shared(costs.map(() => 1));
    });
    replanning.need('drift');
    await until(() => !replanning.busy);
    expect(problems).toEqual([]);
    expect(told).toMatchObject([{ type: 'kept' }]);
    expect(replanning.holdMs).toBe(0);
  });

  it('waits for a plan that will soon stand by where that is about as good', async () => {
    let ready = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const prepared = { ids: ['a', 'b'], work: await shared([1, 1]), cluster: {} } as unknown as Prepared;
    let [loads, best] = [0, 0];
    const mischief = (): undefined => {
      loads++;
    };
    const { replanning, switched, problems } = await alone(
      byRule,
      { mischief },
      {
        standingBy: {
          coming: (_, judge) => ({ ms: judge.latency(prepared.work), done }),
          // None while the need is told, and the one that was waited for afterwards.
          best: (_, judge) => (best++ === 0 ? undefined : { prepared, ms: judge.latency(prepared.work) }),
        },
      },
    );
    loads = 0;
    replanning.need('drift', true);
    await until(() => replanning.holdMs > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([switched, replanning.busy]).toEqual([[], true]);
    ready();
    await until(() => !replanning.busy);
    expect(switched).toMatchObject([{ ids: ['a', 'b'], reason: 'drift', prepareMs: 0 }]);
    expect([loads, replanning.holdMs, problems]).toEqual([0, 0, []]);
  });

  it('gives up preparing a plan that is no better any more', async () => {
    const hold = held();
    const { pace, replanning, told, problems } = await alone(byRule, { mischief: hold.mischief });
    hold.on = true;
    replanning.need('measured');
    await until(() => hold.waiting);
    pace.set('b', 1000);
    replanning.need('drift');
    // The next one is not worth it either.
    await until(() => !replanning.busy && told.length > 0, 3000);
    expect(told).toMatchObject([{ type: 'kept' }]);
    expect(problems).toEqual([]);
    hold.go();
  });

  it('does not switch to a plan that took a while and is no better by what a last look at the links says', async () => {
    let seen = (): void => undefined;
    const { pace, replanning, switched, told, problems } = await alone(
      async (task, options) => {
        await new Promise((resolve) => setTimeout(resolve, 550));
        return byRule(task, options);
      },
      {},
      {
        glance: async () => {
          seen();
          return 1;
        },
      },
    );
    seen = () => pace.set('b', 1000);
    replanning.need('measured');
    await until(() => !replanning.busy && told.length > 0, 5000);
    expect([switched, problems]).toEqual([[], []]);
    expect(told).toMatchObject([{ type: 'kept' }]);
    // It is still worth it.
    seen = () => pace.clear();
    pace.clear();
    replanning.need('measured');
    await until(() => switched.length > 0, 5000);
    expect(switched).toMatchObject([{ ids: ['a', 'b'], reason: 'measured' }]);
  });

  it('does not wait for a plan that is being prepared on a device that has failed meanwhile', async () => {
    const hold = held();
    const controller = await scene().control({ standbys: 0 });
    let fails = false;
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2, {
      mischief: (_, what) => {
        if (what === 'run' && fails) throw new DistrEdgeError('ENGINE_FAILED', 'the engine is tired');
      },
    });
    await until(() => controller.generation?.devices.join() === 'a,b');
    hold.on = true;
    await scene().device(controller, 'c', 3, { mischief: hold.mischief });
    // The next plan is being prepared on all three, and would be for minutes.
    await until(() => hold.waiting);
    hold.on = false;
    fails = true;
    expect(rows((await controller.infer(inputs)).outputs)).not.toContain(2);
    await until(() => controller.generation?.devices.join() === 'a,c', 3000);
  });

  it('leaves a device out that has failed on a plan that was replaced', async () => {
    const hold = held('run');
    const controller = await scene().control({ standbys: 0, overtake: false });
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2, {
      mischief: async (call, what) => {
        const holding = hold.mischief(call, what);
        await holding;
        if (holding !== undefined) throw new DistrEdgeError('ENGINE_FAILED', 'the engine is tired');
      },
    });
    await until(() => controller.generation?.devices.join() === 'a,b');
    hold.on = true;
    const image = controller.infer(inputs);
    await until(() => hold.waiting);
    hold.on = false;
    await scene().device(controller, 'c', 3);
    await until(() => controller.generation?.devices.join() === 'a,b,c');
    hold.go();
    expect(rows((await image).outputs)).not.toContain(2);
    expect(scene().of('plan').at(-1)?.devices).toEqual(['a', 'c']);
  });

  it('gives a long search up when a device of the plan in force is lost', async () => {
    const ended: boolean[] = [];
    const controller = await scene().control({
      standbys: 0,
      plan: (task, options) => {
        if (options.urgent) return byRule(task, options);
        options.signal.addEventListener('abort', () => ended.push(true));
        return new Promise(() => undefined);
      },
    });
    const a = await scene().device(controller, 'a', 1);
    await until(() => controller.generation?.devices.join() === 'a');
    await scene().device(controller, 'b', 2);
    await until(() => scene().of('profiled').length === 2);
    await a.close();
    await until(() => controller.generation?.devices.join() === 'b');
    expect(ended).toContain(true);
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(2));
  });
});

describe('a search', () => {
  /** Searches that go on until they are ended, and how it has been asked for them: urgently or not. */
  async function searches() {
    const asked: boolean[] = [];
    let found = (): void => undefined;
    const { replanning } = await alone(
      (_, { urgent }) =>
        new Promise((resolve) => {
          asked.push(urgent);
          found = () => resolve(shared([1, 0]));
        }),
    );
    undo.push(() => replanning.close());
    const need = async (reason: PlanReason): Promise<readonly boolean[]> => {
      replanning.need(reason);
      for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
      return asked;
    };
    return { need, asked, found: () => found() };
  }

  it('makes room at once for one that is due for another reason, and follows an urgent one', async () => {
    const { need, asked, found } = await searches();
    expect(await need('joined')).toEqual([false]);
    expect(await need('drift')).toEqual([false, true]);
    // Done sooner than another one would be, unless a device is lost.
    expect(await need('measured')).toEqual([false, true]);
    expect(await need('lost')).toEqual([false, true, false]);
    expect(await need('drift')).toEqual([false, true, false, true]);
    found();
    await until(() => asked.length === 5);
    expect(asked.at(-1)).toBe(false);
  });

  it('is let finish after some that made room for what is not urgent', async () => {
    const { need } = await searches();
    for (const _ of [1, 2, 3, 4, 5]) await need('joined');
    expect(await need('measured')).toHaveLength(4);
    expect(await need('drift')).toHaveLength(5);
  });
});
