/** Plans that are prepared ahead of time, for the loss of a device. */
import { describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { all, byRule, controllerScenes, inputs, rows } from './controller-scene.js';

const scene = controllerScenes();

describe('plans that stand by', () => {
  it('has plans ready that do without a device, and is on one of them at once when it is lost', async () => {
    let stuck = false;
    const controller = await scene().control({
      plan: (task, options) => (stuck ? new Promise(() => undefined) : byRule(task, options)),
    });
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await until(() =>
      scene()
        .of('standby')
        .some(({ without }) => without === 'b'),
    );
    expect(
      scene()
        .of('standby')
        .find(({ without }) => without === 'b'),
    ).toMatchObject({ devices: ['a'] });
    // No plan is made any more.
    stuck = true;
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    expect(scene().of('plan').at(-1)).toMatchObject({ devices: ['a'], planMs: 0, prepareMs: 0 });
    const { outputs, generation } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(all(1));
    expect(generation).toBe(controller.generation?.number);
  });

  it('prepares for no loss where that is not wanted', async () => {
    const controller = await scene().control({ standbys: 0 });
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await new Promise((resolve) => setTimeout(resolve, 800));
    expect(scene().of('standby')).toEqual([]);
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
  });
});
