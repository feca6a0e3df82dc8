/** When a plan is made, and which one is in force then. */
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import type { PlanFunction } from './contract.js';
import { all, byRule, controllerScenes, inputs, rows, shared } from './controller-scene.js';

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
});
