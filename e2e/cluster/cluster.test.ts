/** A live cluster on this machine: devices join, images are exact, devices are killed and frozen and come back. */
import { describe, expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { clustersEndWithTests, device, type Line, type Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn());

const SERVE = ['--listen', '127.0.0.1:0', '--profile-budget', '0.3', '--budget', '0.5', '--image', '-', '--verify'];

/** Ids of the devices of the plan in force. */
function inForce(controller: Member): string[] {
  return (controller.all('plan').at(-1)?.['devices'] ?? []) as string[];
}

function exact(answer: Line): void {
  expect(answer['exact'], JSON.stringify(answer)).toBe(true);
  expect(answer['relError']).toBeLessThanOrEqual(1e-4);
}

/** Measuring and planning among processes that share few cores takes its time. */
describe('a cluster', { timeout: 180_000 }, () => {
  test('of two devices answers exactly, also after one is killed, and takes it back', async () => {
    const controller = await up([photos, ...SERVE, '--devices', '2']);
    const devices = { a: device(controller.address, 'a'), b: device(controller.address, 'b') };
    const first = await controller.image();
    exact(first);
    expect(first['plan']).toBeGreaterThan(0);
    expect(inForce(controller)).toEqual(['a', 'b']);

    devices.b.signal('SIGKILL');
    exact(await controller.image());
    await controller.hears('device', 0, ({ id, change }) => id === 'b' && change === 'lost');
    await until(() => inForce(controller).join() === 'a', 'a plan without b');
    const alone = await controller.image();
    exact(alone);
    expect(alone['plan']).toBeGreaterThan(0);

    const again = device(controller.address, 'b');
    await until(() => inForce(controller).join() === 'a,b', `a plan with b again: ${controller.story()}`, 60_000);
    exact(await controller.image());

    expect(await controller.ends()).toBe(130);
    for (const member of [devices.a, again]) expect(await member.ends()).toBe(130);
  });

  test('does without a device that is frozen, and takes it back when it goes on', async () => {
    const controller = await up([photos, ...SERVE, '--devices', '2']);
    const [a, b] = [device(controller.address, 'a'), device(controller.address, 'b')];
    exact(await controller.image());
    a.signal('SIGSTOP');
    try {
      const answer = await controller.image();
      exact(answer);
      await until(() => inForce(controller).join() === 'b', `a plan without a: ${controller.story()}`);
    } finally {
      a.signal('SIGCONT');
    }
    await until(() => inForce(controller).join() === 'a,b', `a plan with a again: ${controller.story()}`, 60_000);
    exact(await controller.image());
    expect(await controller.ends()).toBe(130);
    for (const member of [a, b]) await member.ends();
  });

  test('without devices, and after all are gone, still answers, and says so', async () => {
    const controller = await up([photos, ...SERVE, '--devices', '0']);
    // Nobody is waited for.
    const alone = await controller.image();
    exact(alone);
    expect(alone['plan']).toBe(0);
    expect(controller.all('fallback').at(-1)).toMatchObject({ to: 'whole' });
    const a = device(controller.address, 'a');
    await controller.hears('plan');
    expect((await controller.image())['plan']).toBeGreaterThan(0);
    await a.ends();
    await controller.hears('device', 0, ({ change }) => change === 'left');
    const last = await controller.image();
    exact(last);
    expect(last['plan']).toBe(0);
    expect(await controller.ends()).toBe(130);
  });

  test('says of a bad image what is wrong, and goes on', async () => {
    const controller = await up([photos, ...SERVE, '--devices', '0']);
    controller.child.stdin?.write(`${dir.path}/none.jpg\n`);
    const { error } = (await controller.hears('failed')) as Line & { error: { code: string } };
    expect(error.code).toBe('FILE');
    exact(await controller.image());
    expect(await controller.ends()).toBe(130);
  });
});
