/** A cluster over real links, in namespaces of this machine: one becomes slow, one is cut; with certificates and TLS, as between machines. */
import { mkdtempSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { canMakeLan, Lan } from './lan.js';
import { clustersEndWithTests, Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const possible = canMakeLan();
let lan: Lan | undefined;
afterEach(() => {
  lan?.remove();
  lan = undefined;
});

const why = possible ? '' : ' (skipped: network namespaces and tc need root on Linux)';

/** A cluster of so many devices, each behind a link of 400 Mbit/s. */
async function shaped(photos: string, count: number) {
  const net = new Lan();
  lan = net;
  const commands = Array.from({ length: count }, () => net.add(400));
  const serve = ['--listen', `${net.host}:7400`, '--cluster', 'lan', '--devices', `${count}`];
  const controller = await up([
    photos,
    ...serve,
    ...['--profile-budget', '0.5', '--budget', '0.5', '--image', '-', '--verify'],
  ]);
  const devices: Member[] = [];
  for (const [index, command] of commands.entries()) {
    await until(() => controller.all('code').length > index, `a code: ${controller.story()}`);
    const code = String(controller.all('code').at(-1)?.['code']);
    const own = ['--name', `d${index}`, '--folder', mkdtempSync(`${dir.path}/d`)];
    const device = new Member(['join', controller.address, '--code', code, ...own], {}, command);
    await device.hears('joined');
    devices.push(device);
  }
  const used = (): string[] => (controller.all('plan').at(-1)?.['devices'] ?? []) as string[];
  expect(await controller.image()).toMatchObject({ exact: true });
  await until(() => used().length === count, `a plan with all: ${controller.story()}`);
  return { net, controller, devices, used };
}

describe.skipIf(!possible)(`a cluster over shaped links${why}`, { timeout: 240_000 }, () => {
  test('plans anew when a link becomes slow, and does without a device whose link is cut', async () => {
    const photos = dir.file('photos.onnx', photoCnn(6, 64, 128));
    const { net, controller, devices } = await shaped(photos, 2);
    for (let image = 0; image < 5; image++) await controller.image();

    // A hundredth and less of what it was: late rows, or pings that wait behind them, tell of it.
    const heard = controller.lines.length;
    net.rate(1, 3);
    const slow = (): number =>
      controller.lines.findIndex((line, at) => at >= heard && line.event === 'link' && Number(line['mbps']) < 20);
    for (let image = 0; image < 60 && slow() < 0; image++)
      expect(await controller.image()).toMatchObject({ exact: true });
    expect(slow(), controller.story()).toBeGreaterThan(0);
    // What is found out is planned for: another plan, or the same one knowingly.
    const judged = (): boolean =>
      controller.lines.slice(slow()).some(({ event }) => event === 'plan' || event === 'kept');
    await until(judged, `a plan for the slow link: ${controller.story()}`);
    expect(await controller.image()).toMatchObject({ exact: true });

    net.plug(0, 'down');
    const answer = await controller.image();
    expect(answer, controller.story()).toMatchObject({ exact: true });
    net.plug(0, 'up');
    for (const member of [controller, ...devices]) expect(await member.ends()).toBe(130);
  });

  test('does without a device while its link to another one is cut, of which nobody else sees anything', async () => {
    const photos = dir.file('mixed.onnx', photoCnn(6, 64, 128, { mixed: true }));
    const { net, controller, devices, used } = await shaped(photos, 2);
    net.between(0, 1, 'cut');
    for (let image = 0; image < 10 && used().length > 1; image++)
      expect(await controller.image(), controller.story()).toMatchObject({ exact: true });
    await until(() => used().length === 1, `a plan for one: ${controller.story()}`, 60_000);
    expect(await controller.image()).toMatchObject({ exact: true });

    net.between(0, 1, 'mended');
    await until(() => used().length === 2, `a plan for both again: ${controller.story()}`, 120_000);
    expect(await controller.image()).toMatchObject({ exact: true });
    for (const member of [controller, ...devices]) expect(await member.ends()).toBe(130);
  });
});
