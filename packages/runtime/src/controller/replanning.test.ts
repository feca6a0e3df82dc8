/** When a plan is made, and which one is in force then. */
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import type { Context } from './context.js';
import type { PlanFunction } from './contract.js';
import { all, byRule, controllerScenes, inputs, rows, SERVED, shared } from './controller-scene.js';
import type { ControllerEvent } from './events.js';
import type { Generations } from './generations.js';
import { Replanning } from './replanning.js';
import type { Standbys } from './standbys.js';

const scene = controllerScenes();

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
    const controller = await scene().control({ standbys: 0 });
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2);
    await controller.ready(2, 20_000);
    const { registry } = controller;
    const suspects = new Set<string>();
    const told: ControllerEvent[] = [];
    const problems: unknown[] = [];
    const context = {
      options: {
        plan: async (...[{ costs }]: Parameters<PlanFunction>) => {
          // While a better plan was looked for one of its devices has failed.
          suspects.add('b');
          return shared(costs.map(() => 1));
        },
      },
      model: SERVED,
      registry,
      suspects,
      closed: false,
      tell: (event: ControllerEvent) => told.push(event),
      problem: (error: unknown) => problems.push(error),
      wake: () => undefined,
    } as unknown as Context;
    const facts = { ids: ['a'], work: await shared([1]), number: 1, cluster: {} };
    const replanning = new Replanning(context, {
      generations: { current: { facts }, count: 1 } as unknown as Generations,
      standbys: { best: () => undefined, yield: () => undefined } as unknown as Standbys,
      pace: new Map(),
      suspect: () => undefined,
      kept: () => undefined,
    });
    replanning.need('drift');
    await until(() => !replanning.busy);
    expect(told).toMatchObject([{ type: 'kept' }]);
    expect(problems).toEqual([]);
    expect(replanning.holdMs).toBe(0);
  });
});
