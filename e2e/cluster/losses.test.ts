/** Devices of a live cluster are lost while images are on their way: every image is answered, exactly. */
import { expect, test } from 'vitest';
import { folder, until } from '../support/cli.js';
import { clustersEndWithTests, device, type Line, type Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn());

const SERVE = ['--listen', '127.0.0.1:0', '--profile-budget', '0.3', '--budget', '0.5', '--image', '-', '--verify'];

/** Ids of the devices of the plan in force. */
const inForce = (controller: Member): string[] => (controller.all('plan').at(-1)?.['devices'] ?? []) as string[];

/** Has images run one after another until it is told to stop; then gives the answers. */
function imagesAllTheTime(controller: Member): () => Promise<readonly Line[]> {
  let over = false;
  const answers = (async () => {
    const all: Line[] = [];
    while (!over) all.push(await controller.image());
    return all;
  })();
  answers.catch(() => undefined);
  return () => {
    over = true;
    return answers;
  };
}

test('one device is killed, another one freezes and comes back', { timeout: 240_000 }, async () => {
  const controller = await up([photos, ...SERVE, '--devices', '3']);
  const devices = new Map(['a', 'b', 'c'].map((name) => [name, device(controller.address, name)]));
  await controller.image();
  await until(() => inForce(controller).length > 1, `a plan for some: ${controller.story()}`, 60_000);
  const isReady = (line: Line): boolean => inForce(controller).includes(String(line['without']));
  const killed = String((await controller.hears('standby', 0, isReady))['without']);
  const stop = imagesAllTheTime(controller);

  // What stood by takes over: nothing is planned or loaded for it.
  const before = controller.all('plan').length;
  devices.get(killed)?.signal('SIGKILL');
  await until(() => controller.all('plan').length > before, `a plan without ${killed}: ${controller.story()}`, 60_000);
  expect(controller.all('plan')[before], controller.story()).toMatchObject({ planMs: 0, prepareMs: 0 });
  expect(controller.all('plan')[before]?.['devices']).not.toContain(killed);

  const frozen = inForce(controller)[0] ?? '';
  devices.get(frozen)?.signal('SIGSTOP');
  try {
    await until(() => !inForce(controller).includes(frozen), `a plan without ${frozen}: ${controller.story()}`, 60_000);
  } finally {
    devices.get(frozen)?.signal('SIGCONT');
  }
  // Once it answers again it is planned for, if only to find that the other one is enough.
  const heard = controller.lines.length;
  const planned = (): boolean => controller.lines.slice(heard).some(({ event }) => ['plan', 'kept'].includes(event));
  await until(planned, `a plan for ${frozen} again: ${controller.story()}`, 60_000);

  const answers = await stop();
  expect(answers.length).toBeGreaterThan(2);
  for (const answer of answers) expect(answer, controller.story()).toMatchObject({ exact: true });
  expect(await controller.ends()).toBe(130);
  devices.delete(killed);
  for (const member of devices.values()) await member.ends();
});
