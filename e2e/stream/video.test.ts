/** `run --video` as a user would: folders and pipes of pictures, in order, right, and past the end of a provider. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { distredge, endWithTests, failing, folder, json, MAIN, startProvider, within } from '../support/cli.js';
import { smallCnn } from '../support/models.js';

endWithTests();
const files = folder();
const model = files.file('small.onnx', smallCnn());
const [WIDTH, HEIGHT, COUNT] = [16, 24, 8];

const pixels = (seed: number): Buffer =>
  Buffer.from(Array.from({ length: WIDTH * HEIGHT * 3 }, (_, at) => (at * (2 * seed + 5)) % 251));

function png(seed: number): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(WIDTH, 0);
  head.writeUInt32BE(HEIGHT, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const rows = Array.from({ length: HEIGHT }, (_, row) =>
    Buffer.concat([Buffer.of(0), pixels(seed).subarray(row * WIDTH * 3, (row + 1) * WIDTH * 3)]),
  );
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(Buffer.concat(rows))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

const ppm = (seed: number): Buffer => Buffer.concat([Buffer.from(`P6 ${WIDTH} ${HEIGHT} 255\n`), pixels(seed)]);

interface Line {
  readonly index: number;
  readonly name: string;
  readonly outputs: readonly { readonly min: number; readonly max: number; readonly top1: number }[];
}

/** Runs the command with pictures on its standard input, written as `write` does. */
async function piped(
  args: readonly string[],
  write: (stdin: NodeJS.WritableStream) => Promise<void> | void,
): Promise<{ code: number | null; lines: Record<string, unknown>[]; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, 'run', model, '--video', '-', '--json', ...args]);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  child.stdin.on('error', () => undefined);
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    await write(child.stdin);
    child.stdin.end();
    const code = await within(closed, 45_000, 'the end of the stream');
    const lines = stdout.trimEnd().split('\n');
    return { code, stderr, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  } finally {
    child.kill('SIGKILL');
  }
}

/** What `run --image` says of each picture. */
async function answers(devices: string): Promise<Line['outputs'][]> {
  const found: Line['outputs'][] = [];
  for (const seed of [0, COUNT - 1]) {
    const path = files.file(`single-${seed}.png`, png(seed));
    const { outputs } = json(await distredge(['run', model, '--image', path, '--devices', devices, '--json']));
    found.push(outputs as Line['outputs']);
  }
  return found;
}

function expectSame(got: Line['outputs'] | undefined, wanted: Line['outputs'] | undefined): void {
  const range = (wanted?.[0]?.max ?? 0) - (wanted?.[0]?.min ?? 0);
  for (const key of ['min', 'max'] as const)
    expect(Math.abs((got?.[0]?.[key] ?? Number.NaN) - (wanted?.[0]?.[key] ?? 0))).toBeLessThanOrEqual(1e-4 * range);
}

describe('a stream of pictures', () => {
  it('of a folder comes back in order of the names, each as it is alone', { timeout: 120_000 }, async () => {
    const providers = [await startProvider(), await startProvider()];
    const devices = providers.map(({ address }) => address).join(',');
    const from = join(files.path, 'frames');
    mkdirSync(from);
    for (let seed = COUNT - 1; seed >= 0; seed--) writeFileSync(join(from, `f${seed}.png`), png(seed));
    writeFileSync(join(from, 'notes.txt'), 'no picture');
    const [first, last] = await answers(devices);
    for (const more of [[], ['--alternate'], ['--in-flight', '1', '--no-fallback']]) {
      const { stdout, code } = await distredge([
        'run',
        model,
        '--video',
        from,
        '--devices',
        devices,
        '--json',
        ...more,
      ]);
      expect(code).toBe(0);
      const lines = stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Line);
      expect(lines.slice(0, -1).map(({ name }) => name)).toEqual(
        Array.from({ length: COUNT }, (_, at) => `f${at}.png`),
      );
      expect(lines.at(-1)).toMatchObject({ images: COUNT, lost: 0, whole: 0, ok: true });
      expectSame(lines[0]?.outputs, first);
      expectSame(lines[COUNT - 1]?.outputs, last);
      expect(lines[0]?.outputs).not.toEqual(lines[1]?.outputs);
    }
  });

  it('of a pipe goes on when a provider is killed, and says so', { timeout: 120_000 }, async () => {
    const providers = [await startProvider(), await startProvider()];
    const devices = providers.map(({ address }) => address).join(',');
    let killed = false;
    const { code, lines, stderr } = await piped(['--devices', devices], async (stdin) => {
      for (let index = 0; index < COUNT; index++) {
        stdin.write(ppm(index));
        // By then it is connected: it has told the providers what to prepare.
        if (index === COUNT / 2) await providers[1]?.prints('preparing');
        if (index !== COUNT / 2) continue;
        await new Promise((resolve) => setTimeout(resolve, 300));
        providers[1]?.signal('SIGKILL');
        killed = true;
      }
    });
    expect({ code, killed }, stderr).toEqual({ code: 0, killed: true });
    expect(lines.slice(0, -1).map(({ index }) => index)).toEqual(Array.from({ length: COUNT }, (_, at) => at));
    expect(lines.at(-1)).toMatchObject({ images: COUNT, ok: true });
    expect(lines.at(-1)?.['lost']).toBeGreaterThan(0);
    expect(stderr).toMatch(/note: lost 127\.0\.0\.1:\d+/);
  });

  it('without providers runs here, or fails where it may not', { timeout: 120_000 }, async () => {
    const { code, lines } = await piped(['--devices', '127.0.0.1:9'], (stdin) => {
      for (const seed of [0, 1]) stdin.write(ppm(seed));
    });
    expect(code).toBe(0);
    expect(lines.at(-1)).toMatchObject({ images: 2, whole: 2, ok: true });
    const refused = await piped(['--devices', '127.0.0.1:9', '--no-fallback'], (stdin) => {
      stdin.write(ppm(0));
    });
    expect(refused.code).toBe(1);
    expect(refused.lines.at(-1)).toMatchObject({ ok: false, error: { code: 'LINK_FAILED' } });
  });

  it('is refused with a clear error where it is none', { timeout: 120_000 }, async () => {
    const empty = join(files.path, 'empty');
    mkdirSync(empty);
    const devices = ['--devices', '127.0.0.1:9'];
    expect((await failing(['run', model, '--video', empty, ...devices])).error).toMatchObject({ code: 'FILE' });
    expect((await failing(['run', model, '--video', 'nowhere', ...devices])).error).toMatchObject({ code: 'FILE' });
    expect((await failing(['run', model, '--in-flight', '2', ...devices])).error).toMatchObject({ code: 'USAGE' });
    expect((await failing(['run', model, '--video', '-', '--in-flight', '0', ...devices])).error).toMatchObject({
      code: 'USAGE',
    });
    const { code, lines } = await piped(devices, (stdin) => {
      stdin.write('something else entirely');
    });
    expect(code).toBe(1);
    expect(lines.at(-1)).toMatchObject({ ok: false, error: { code: 'IMAGE_INVALID' } });
  });
});
