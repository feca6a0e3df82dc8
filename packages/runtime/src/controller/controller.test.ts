/** A controller as a whole: what it does with devices that join and leave, and with whoever waits for it. */
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from '../fixtures.js';
import { all, controllerScenes, halves, inputs, rows, WHOLE } from './controller-scene.js';

const scene = controllerScenes();

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof DistrEdgeError ? error.code : String(error)),
  );
}

describe('a controller', () => {
  it('measures what joins, plans for it, and runs images on it', async () => {
    const controller = await scene().control();
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2);
    await controller.ready(2, 20_000);
    await until(() => controller.generation?.devices.length === 2);
    const { outputs, generation } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(halves(1, 2));
    expect(generation).toBe(controller.generation?.number);
    expect(
      scene()
        .of('profiled')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(['a', 'b']);
    await until(() => scene().of('link').length >= 3);
    expect(scene().of('fallback')).toEqual([]);
  });

  it('plans anew for those that are left, and again for one that is back', async () => {
    const controller = await scene().control();
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    await b.close();
    await until(() => controller.generation?.devices.join() === 'a');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
    await scene().device(controller, 'b', 3);
    await until(() => controller.generation?.devices.join() === 'a,b');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(halves(1, 3));
  });

  it('does without a device that cannot measure the model', async () => {
    const controller = await scene().control();
    await scene().device(controller, 'weak', 9, {
      measure: async () => {
        throw new DistrEdgeError('ENGINE_FAILED', 'what is a Relu?');
      },
    });
    await scene().device(controller, 'a', 1);
    await until(() =>
      scene()
        .of('problem')
        .some(({ error }) => error.message === 'what is a Relu?'),
    );
    await until(() => controller.generation?.devices.join() === 'a');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
  });

  it('is ready without a device that says it is there and never measures the model', async () => {
    const controller = await scene().control();
    let end = (): void => undefined;
    const measure = (): Promise<never> =>
      new Promise((_, reject) => {
        end = () => reject(new DistrEdgeError('CANCELLED', 'the test is over'));
      });
    await scene().device(controller, 'ghost', 9, { measure });
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2);
    await controller.ready(2, 20_000);
    expect(controller.generation?.devices.join()).toBe('a,b');
    expect(await codeOf(controller.ready(3, 50))).toBe('DEADLINE');
    end();
  });

  it('keeps its deadline, and refuses inputs that are none', async () => {
    const controller = await scene().control({ whole: () => new Promise(() => undefined) });
    expect(await codeOf(controller.infer(inputs, { deadlineMs: 50 }))).toBe('DEADLINE');
    expect(await codeOf(controller.ready(1, 50))).toBe('DEADLINE');
    await scene().device(controller, 'a', 1);
    await until(() => controller.generation !== undefined);
    expect(await codeOf(controller.infer({}))).toBe('SHAPE_MISMATCH');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(1));
    await controller.close();
    expect(await codeOf(controller.infer(inputs))).toBe('CANCELLED');
  });

  it('runs images whole where no device is left, and says so', async () => {
    const controller = await scene().control();
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(all(WHOLE));
    const a = await scene().device(controller, 'a', 1);
    await until(() => controller.generation !== undefined);
    await a.close();
    await until(() => controller.generation === undefined);
    expect(await controller.infer(inputs)).toMatchObject({ generation: 0 });
    expect(
      scene()
        .of('fallback')
        .map(({ to }) => to),
    ).toEqual(['whole', 'whole']);
  });
});
