/** The same cluster on a broker of its own: mosquitto with TLS and a password, which ends and comes back. */
import { afterAll, describe, expect, test } from 'vitest';
import { distredge, folder, json, until } from '../support/cli.js';
import { findMosquitto, Mosquitto } from './mosquitto.js';
import { clustersEndWithTests, Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn(4));
const program = findMosquitto();
let broker: Mosquitto | undefined;
afterAll(() => broker?.stop());

const why = program === undefined ? ' (skipped: mosquitto or openssl is not installed here)' : '';

describe.skipIf(program === undefined)(`an external broker${why}`, { timeout: 180_000 }, () => {
  test('serves two clusters, refuses strangers, and may be gone for a while', async () => {
    broker = await Mosquitto.start(program ?? '', dir.path);
    const at = (url: string, cluster: string): string[] => [
      '--broker',
      url,
      '--broker-ca',
      broker?.ca ?? '',
      '--cluster',
      cluster,
    ];
    const own = at(broker.url, 'plant-7');
    const serve = ['--profile-budget', '0.3', '--budget', '0.5', '--image', '-', '--verify', '--devices', '2'];
    const controller = await up([photos, ...serve, ...own]);
    const other = await up([...at(broker.url, 'plant-8')]);
    const devices = ['a', 'b'].map((name) => new Member(['join', '--name', name, ...own]));
    expect(await controller.image()).toMatchObject({ exact: true });
    expect(controller.all('plan').length).toBeGreaterThan(0);
    expect(other.all('device')).toEqual([]);

    const stranger = await distredge([
      'join',
      '--name',
      'x',
      ...at(broker.url.replace(/:[^:@]*@/, ':wrong@'), 'plant-7'),
    ]);
    expect([stranger.code, stranger.stderr]).toEqual([1, expect.stringContaining('error LINK_FAILED')]);
    expect(stranger.stderr).not.toContain('wrong');
    const unknownCa = await distredge(['join', '--name', 'x', '--broker', broker.url, '--cluster', 'plant-7']);
    expect([unknownCa.code, unknownCa.stderr]).toEqual([1, expect.stringContaining('error LINK_FAILED')]);

    await broker.stop();
    await controller.hears('broker', 0, ({ connected }) => connected === false);
    expect(await controller.image()).toMatchObject({ exact: true });
    expect((await controller.image())['plan']).toBeGreaterThan(0);
    // A plan for other rates may come into force, as always; for fewer devices none.
    expect(controller.all('device').filter(({ change }) => change === 'lost')).toEqual([]);

    const heard = controller.lines.length;
    await broker.start();
    await controller.hears('broker', heard, ({ connected }) => connected === true);
    for (const device of devices) await device.hears('log', 0, ({ line }) => line === 'the broker is away');
    // It kept nothing, and knows everything again.
    let there: string[] = [];
    for (let tries = 0; tries < 20 && there.length < 2; tries++) {
      const { devices: list } = json(await distredge(['devices', ...own, '--json'])) as {
        devices: { id: string; there: boolean }[];
      };
      there = list.filter((one) => one.there).map(({ id }) => id);
    }
    expect(there.sort()).toEqual(['a', 'b']);
    devices[0]?.signal('SIGKILL');
    await until(
      () => controller.all('device').some(({ id, change }) => id === 'a' && change === 'lost'),
      'the last will',
    );
    expect(await controller.image()).toMatchObject({ exact: true });
    for (const member of [controller, other]) expect(await member.ends()).toBe(130);
    await devices[1]?.ends();
  });
});
