/** Several images of a cluster under way at once. */
import { expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { clustersEndWithTests, device, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn(4, 16, 64));

test('a cluster answers images in their order while several are under way, and ends with the last', {
  timeout: 180_000,
}, async () => {
  const serve = ['--listen', '127.0.0.1:0', '--profile-budget', '0.3', '--budget', '0.3', '--devices', '2'];
  const controller = await up([
    photos,
    ...serve,
    '--random',
    '12',
    '--seed',
    '5',
    '--in-flight',
    '4',
    '--verify',
    '--once',
  ]);
  const devices = ['a', 'b'].map((name) => device(controller.address, name));
  await until(() => controller.over, `the end of ${controller.story()}`, 90_000);
  expect(controller.exit?.code, controller.story()).toBe(0);
  const images = controller.all('image');
  expect(images.map(({ image }) => image)).toEqual(Array.from({ length: 12 }, (_, index) => `random ${5 + index}`));
  for (const image of images) expect(image).toMatchObject({ exact: true });
  expect(controller.all('fallback')).toEqual([]);
  for (const member of devices) expect(await member.ends()).toBe(130);
});
