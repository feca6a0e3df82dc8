/** Plans that are prepared ahead of time, for the loss of a device. */
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { all, byRule, controllerScenes, held, inputs, rows, shared } from './controller-scene.js';

const scene = controllerScenes();

describe('plans that stand by', () => {
  it('has plans ready that do without a device, and is on one of them at once when it is lost', async () => {
    let stuck = false;
    const controller = await scene().control({
      plan: (task, options) => (stuck ? new Promise(() => undefined) : byRule(task, options)),
    });
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await scene().standingBy(controller);
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

  it('keeps the plan ready that was in force before, and has it stand by where it does', async () => {
    let loads = 0;
    const controller = await scene().control();
    const mischief = (_: number, what: string): undefined => {
      if (what === 'load') loads++;
    };
    await scene().device(controller, 'a', 1, { mischief });
    await until(() => controller.generation?.devices.join() === 'a');
    const b = await scene().device(controller, 'b', 2);
    await scene().standingBy(controller);
    // The plan on a alone, and what a has of the one on both.
    expect([loads, standing('b')]).toEqual([2, ['a']]);
    await until(() => standing('a') !== undefined);
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    expect(scene().of('plan').at(-1)).toMatchObject({ planMs: 0, prepareMs: 0 });
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
    expect(loads).toBe(2);
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

  it('does not wait for the one that cannot be made before it makes the others', async () => {
    const controller = await scene().control({
      plan: async (task, options) => {
        if (task.costs.map(({ id }) => id).join() === 'b') throw new DistrEdgeError('PLAN_INVALID', 'not without a');
        return byRule(task, options);
      },
    });
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await until(() => standing('b') !== undefined, 3000);
    expect(standing('a')).toBeUndefined();
    expect(scene().of('problem')).toMatchObject([{ error: { message: 'not without a' } }]);
  });

  it('are looked at again when something has changed while one of them was made', async () => {
    // Where nobody waits a third device is left without work, so that the plan in force stays.
    const controller = await scene().control({
      plan: (task, options) => (options.urgent ? byRule(task, options) : shared(task.costs.map((_, at) => +(at < 2)))),
    });
    const hold = held();
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2, { mischief: hold.mischief });
    await until(() => controller.generation?.devices.join() === 'a,b');
    hold.on = true;
    await until(() => hold.waiting);
    await scene().device(controller, 'c', 3);
    await until(() => scene().of('kept').length > 0);
    await sleep(800);
    hold.go();
    await until(() => standing('a')?.join() === 'b,c', 5000);
  });

  it('are not loaded any more once one of them has taken over', async () => {
    let stuck = false;
    const controller = await scene().control({
      // All devices share an image; what stands by is for one of them alone.
      plan: (task, { urgent }) =>
        stuck ? new Promise(() => undefined) : shared(task.costs.map((_, at) => (urgent && at > 0 ? 0 : 1))),
    });
    const hold = held();
    await scene().device(controller, 'a', 1, { mischief: hold.mischief });
    const b = await scene().device(controller, 'b', 2);
    await scene().device(controller, 'c', 3);
    await until(() => controller.generation?.devices.join() === 'a,b,c');
    await until(() => {
      hold.on ||= standing('b')?.join() === 'a';
      return hold.waiting;
    });
    stuck = true;
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    hold.go();
    await sleep(300);
    expect(standing('c')).toBeUndefined();
  });
});

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The devices of the last plan that was made ready to do without a device. */
function standing(without: string): readonly string[] | undefined {
  return scene()
    .of('standby')
    .filter((event) => event.without === without)
    .at(-1)?.devices;
}
