/** Images are answered whatever happens to the devices that compute them. */
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { type Mischief, until } from '../fixtures.js';
import { all, controllerScenes, filled, halves, inputs, rows, WHOLE } from './controller-scene.js';

const scene = controllerScenes();

describe('an image', () => {
  it('begins an image that is late again, whole, and says so', async () => {
    const controller = await scene().control({ silenceMs: 60_000 });
    const hold = { on: false, go: (): void => undefined };
    const gone = new Promise<void>((resolve) => {
      hold.go = resolve;
    });
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2, { mischief: (_, what) => (what === 'run' && hold.on ? gone : undefined) });
    await controller.ready(2, 20_000);
    for (let count = 0; count < 60; count++) await controller.infer(inputs);
    const before = scene().of('late').length;
    hold.on = true;
    const { outputs, generation } = await controller.infer(inputs);
    expect([rows(outputs)[0], generation]).toEqual([WHOLE, 0]);
    const plan = controller.generation?.number;
    expect(scene().of('late').at(-1)).toMatchObject({ generation: plan, ids: expect.arrayContaining(['b']) });
    expect(scene().of('late').length).toBeGreaterThan(before);
    expect(scene().of('raced').at(-1)).toMatchObject({ generation: plan, by: 'second' });
    hold.on = false;
    hold.go();
    let last = 0;
    for (let tries = 0; tries < 200 && last !== plan; tries++) last = (await controller.infer(inputs)).generation;
    expect(last).toBe(plan);
    expect(scene().of('fallback')).toEqual([]);
    expect(
      scene()
        .of('device')
        .every(({ change }) => change === 'joined'),
    ).toBe(true);
  });

  it('finishes an image whose device failed on another plan, and says so', async () => {
    const controller = await scene().control();
    let fails = true;
    const mischief: Mischief = (_call, what) => {
      if (what === 'run' && fails) throw new DistrEdgeError('ENGINE_FAILED', 'the engine is tired');
    };
    await scene().device(controller, 'a', 1);
    await scene().device(controller, 'b', 2, { mischief });
    await until(() => controller.generation?.devices.join() === 'a,b');
    const { outputs } = await controller.infer(inputs);
    expect(rows(outputs)).toEqual(all(1));
    expect(scene().of('fallback')).toMatchObject([{ to: 'plan', error: { message: 'the engine is tired' } }]);
    // It answers orders, so it is tried again.
    fails = false;
    await until(() => controller.generation?.devices.join() === 'a,b');
    expect(rows((await controller.infer(inputs)).outputs)).toEqual(halves(1, 2));
  });

  it('never mixes plans, whatever comes and goes while images are under way', async () => {
    const controller = await scene().control({ whole: async () => filled(WHOLE) });
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    const seen = new Set<string>();
    let over = false;
    const stream = async (): Promise<number> => {
      let count = 0;
      while (!over) {
        const { outputs } = await controller.infer(inputs);
        const got = rows(outputs).join();
        expect([halves(1, 2), all(1), all(WHOLE), halves(1, 3)].map((right) => right.join())).toContain(got);
        seen.add(got);
        count++;
      }
      return count;
    };
    const streams = [stream(), stream(), stream()];
    await until(() => seen.has(halves(1, 2).join()));
    await b.close();
    await until(() => seen.has(all(1).join()));
    await scene().device(controller, 'b', 3);
    await until(() => seen.has(halves(1, 3).join()));
    over = true;
    for (const count of await Promise.all(streams)) expect(count).toBeGreaterThan(0);
  });

  it('answers a stream in order, several images at once, also when a device leaves meanwhile', async () => {
    const controller = await scene().control({ inFlight: 3 });
    await scene().device(controller, 'a', 1);
    const b = await scene().device(controller, 'b', 2);
    await until(() => controller.generation?.devices.join() === 'a,b');
    const got: number[] = [];
    let leaving: Promise<void> | undefined;
    function* images() {
      for (let image = 0; image < 60; image++) {
        if (image === 20) leaving = b.close();
        yield inputs;
      }
    }
    for await (const { index, outputs } of controller.stream(images())) {
      got.push(index);
      expect([halves(1, 2), all(1), all(WHOLE)].map((right) => right.join())).toContain(rows(outputs).join());
    }
    expect(got).toEqual(Array.from({ length: 60 }, (_, index) => index));
    await leaving;
  });

  it('ends with the controller, also on a plan that has been replaced', async () => {
    let holds = false;
    const controller = await scene().control({ overtake: false, silenceMs: 60_000 });
    await scene().device(controller, 'a', 1, {
      mischief: (_, what) => (what === 'run' && holds ? new Promise(() => undefined) : undefined),
    });
    const b = await scene().device(controller, 'b', 2);
    await scene().standingBy(controller);
    await b.close();
    // What stood by is in force.
    await until(() => controller.generation?.devices.join() === 'a');
    holds = true;
    let error: unknown;
    controller.infer(inputs).catch((caught: unknown) => {
      error = caught;
    });
    await scene().device(controller, 'c', 3);
    await until(() => controller.generation?.devices.join() === 'a,c');
    await controller.close();
    await until(() => error !== undefined, 2000);
    expect(error).toMatchObject({ code: 'CANCELLED' });
  });
});
