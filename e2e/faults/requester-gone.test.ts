/** Requesters that are killed or frozen in the middle of a stream: their providers free what they held and serve the next one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { distredge, endWithTests, folder, json, MAIN, startProvider, until } from '../support/cli.js';
import { smallCnn } from '../support/models.js';

endWithTests();
const files = folder();
const model = files.file('small.onnx', smallCnn());
const frame = Buffer.concat([Buffer.from('P6 16 24 255\n'), Buffer.alloc(16 * 24 * 3, 7)]);

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A stream under way, with its input still open; resolves when the first results are there. */
async function streaming(devices: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [MAIN, 'run', model, '--video', '-', '--devices', devices, '--json'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  let lines = 0;
  child.stdout?.on('data', (data: Buffer) => {
    lines += data.toString().split('\n').length - 1;
  });
  child.stdin?.on('error', () => undefined);
  for (let index = 0; index < 20; index++) child.stdin?.write(frame);
  await until(() => lines >= 5, 'the first results');
  return child;
}

describe('a requester', () => {
  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'ended by %s in mid-stream leaves its providers to the next',
    async (signal) => {
      const providers = [await startProvider(), await startProvider()];
      const devices = providers.map(({ address }) => address).join(',');
      const child = await streaming(devices);
      child.kill(signal);
      for (const provider of providers) await provider.prints('done');
      const answer = json(await distredge(['run', model, '--devices', devices, '--no-fallback', '--json']));
      expect(answer).toMatchObject({ ok: true, fallback: null });
    },
  );

  it('that is frozen does not keep others from being served', async () => {
    const provider = await startProvider();
    const child = await streaming(provider.address);
    child.kill('SIGSTOP');
    for (let times = 0; times < 2; times++) {
      const answer = json(await distredge(['run', model, '--devices', provider.address, '--no-fallback', '--json']));
      expect(answer).toMatchObject({ ok: true, fallback: null });
    }
  });
});
