/** A cluster whose plans are made by OSDS where there is time, going on from what it has learnt. */
import { expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { clustersEndWithTests, device, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn(4, 16, 64));

test('a cluster is planned for by OSDS, again for a device that joins later, and answers exactly', {
  timeout: 180_000,
}, async () => {
  const serve = ['--listen', '127.0.0.1:0', '--profile-budget', '0.3', '--budget', '0.5', '--planner', 'osds'];
  const controller = await up([photos, ...serve, '--devices', '2', '--random', '5', '--verify', '--once']);
  const devices = [device(controller.address, 'a')];
  await until(() => controller.all('plan').length > 0, `a plan in ${controller.story()}`, 60_000);
  devices.push(device(controller.address, 'b'));
  await until(() => controller.over, `the end of ${controller.story()}`, 90_000);
  expect(controller.exit?.code, controller.story()).toBe(0);
  expect(controller.all('image')).toHaveLength(5);
  for (const image of controller.all('image')) expect(image).toMatchObject({ exact: true });
  expect(controller.all('problem')).toEqual([]);
  for (const member of devices) expect(await member.ends()).toBe(130);
});
