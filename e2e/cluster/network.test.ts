/** A cluster over real links, in namespaces of this machine: one becomes slow, one is cut; with certificates and TLS, as between machines. */
import { afterAll, describe, expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { canMakeLan, Lan } from './lan.js';
import { clustersEndWithTests, Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn(6, 64, 128));
const possible = canMakeLan();
let lan: Lan | undefined;
afterAll(() => lan?.remove());

const why = possible ? '' : ' (skipped: network namespaces and tc need root on Linux)';

describe.skipIf(!possible)(`a cluster over shaped links${why}`, { timeout: 240_000 }, () => {
  test('plans anew when a link becomes slow, and does without a device whose link is cut', async () => {
    const net = new Lan();
    lan = net;
    const commands = [net.add(400), net.add(400)];
    const controller = await up([
      photos,
      '--listen',
      `${net.host}:7400`,
      '--cluster',
      'lan',
      '--devices',
      '2',
      '--profile-budget',
      '0.5',
      '--budget',
      '0.5',
      '--image',
      '-',
      '--verify',
    ]);
    const devices: Member[] = [];
    for (const [index, command] of commands.entries()) {
      await until(() => controller.all('code').length > index, `a code: ${controller.story()}`);
      const code = String(controller.all('code').at(-1)?.['code']);
      const args = [
        'join',
        controller.address,
        '--code',
        code,
        '--name',
        `d${index}`,
        '--folder',
        `${dir.path}/d${index}`,
      ];
      const device = new Member(args, {}, command);
      await device.hears('joined');
      devices.push(device);
    }
    const used = (): string[] => (controller.all('plan').at(-1)?.['devices'] ?? []) as string[];
    expect(await controller.image()).toMatchObject({ exact: true });
    await until(() => used().length === 2, `a plan with both: ${controller.story()}`);
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
});
