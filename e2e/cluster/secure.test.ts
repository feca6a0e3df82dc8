/** A cluster with certificates, on this machine: joining by code, what is refused, revocation, and what doctor and devices say. */
import { describe, expect, test } from 'vitest';
import { distredge, folder, json, until } from '../support/cli.js';
import { clustersEndWithTests, device, home, type Member, photoCnn, up } from './support.js';

clustersEndWithTests();
const dir = folder();
const photos = dir.file('photos.onnx', photoCnn(4));

const SERVE = [
  '--listen',
  '127.0.0.1:0',
  '--secure',
  '--profile-budget',
  '0.3',
  '--budget',
  '0.5',
  '--image',
  '-',
  '--verify',
];

/** The code that is good now, once it is another one than `used`. */
async function code(controller: Member, used = 0): Promise<string> {
  await until(() => controller.all('code').length > used, `another code: ${controller.story()}`);
  return String(controller.all('code').at(-1)?.['code']);
}

/** The environment of commands that look at this file's clusters. */
const env = (): Record<string, string> => ({ XDG_STATE_HOME: home(), XDG_CACHE_HOME: home() });

describe('a cluster with certificates', { timeout: 180_000 }, () => {
  test('lets devices in by one code each, runs over TLS, and puts a revoked device out at once', async () => {
    const controller = await up([photos, ...SERVE, '--cluster', 'home', '--devices', '2']);
    const [inA, inB] = [`${dir.path}/a`, `${dir.path}/b`];
    const first = await code(controller);
    const a = device(controller.address, 'a', ['--code', first, '--folder', inA]);
    const { id } = await a.hears('joined');
    const second = await code(controller, 1);
    expect(second).not.toBe(first);

    const again = await distredge(
      ['join', controller.address, '--code', first, '--name', 'x', '--folder', `${dir.path}/x`],
      env(),
    );
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('error JOIN_REFUSED')]);
    const guess = await distredge(
      ['join', controller.address, '--code', 'AAAA-AAAA-AAAA-AAAA', '--name', 'x', '--folder', `${dir.path}/x`],
      env(),
    );
    // The last letter of a code is a check.
    expect([guess.code, guess.stderr]).toEqual([2, expect.stringContaining('error USAGE')]);
    const plain = await distredge(['devices', controller.address, '--json'], env());
    expect(plain.code).toBe(1);

    const b = device(controller.address, 'b', ['--code', second, '--folder', inB]);
    await b.hears('joined');
    const answer = await controller.image();
    expect(answer).toMatchObject({ exact: true });
    expect(answer['plan']).toBeGreaterThan(0);

    const look = [controller.address, '--secure', '--folder', inA, '--json'];
    const devices = json(await distredge(['devices', ...look], env())) as {
      devices: { name: string; there: boolean }[];
    };
    expect(devices.devices.map(({ name, there }) => `${name} ${there}`).sort()).toEqual(['a true', 'b true']);
    const healthy = json(await distredge(['doctor', ...look], env())) as {
      ok: boolean;
      checks: { what: string; result: string }[];
    };
    expect(healthy, JSON.stringify(healthy)).toMatchObject({ ok: true });
    expect(healthy.checks.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['certificate', 'clock', 'controller', 'device a', 'device b']),
    );

    const gone = await distredge(['devices', '--cluster', 'home', '--revoke', String(id)], env());
    expect([gone.code, gone.stderr]).toEqual([0, '']);
    await controller.hears('device', 0, (line) => line['id'] === id && line['change'] === 'lost');
    expect(await controller.image()).toMatchObject({ exact: true });
    await until(
      () => !((controller.all('plan').at(-1)?.['devices'] ?? []) as string[]).includes(String(id)),
      'a plan without it',
    );
    a.signal('SIGKILL');
    // Its certificate lets it in no more.
    const back = await distredge(['devices', ...look], env());
    expect(back.code).toBe(1);

    expect(await controller.ends()).toBe(130);
    await b.ends();
  });

  test('takes a device back with the identity that it kept, and without a controller says what is wrong', async () => {
    const controller = await up([photos, ...SERVE, '--cluster', 'work', '--devices', '1']);
    const kept = `${dir.path}/kept`;
    const first = device(controller.address, 'k', ['--code', await code(controller), '--folder', kept]);
    const { id } = await first.hears('joined');
    expect(await first.ends()).toBe(130);
    const second = device(controller.address, 'k', ['--secure', '--folder', kept]);
    expect(await second.hears('joined')).toMatchObject({ id });
    expect(await controller.image()).toMatchObject({ exact: true });
    expect(await controller.ends()).toBe(130);
    await second.ends();

    const doctor = await distredge(['doctor', controller.address, '--json'], env());
    expect(doctor.code).toBe(1);
    const { checks } = json(doctor) as { checks: { what: string; result: string; advice?: string }[] };
    expect(checks.at(-1)).toMatchObject({
      what: 'control plane',
      result: 'bad',
      advice: expect.stringContaining('distredge up'),
    });
  });

  test('is needed beyond this machine', async () => {
    const joining = await distredge(['join', '192.0.2.77:7400', '--folder', `${dir.path}/none`], env());
    expect([joining.code, joining.stderr]).toEqual([1, expect.stringContaining('error IDENTITY_INVALID')]);
    expect(joining.stderr).toContain('--code');
    const broker = await distredge(['join', '--broker', 'mqtt://192.0.2.77'], env());
    expect([broker.code, broker.stderr]).toEqual([2, expect.stringContaining('error ADDRESS_NOT_LOOPBACK')]);
  });
});
