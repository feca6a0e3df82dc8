/** Real models, split over three provider processes by the built command line. Skipped where the model folder is absent. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../shared/models/', import.meta.url));
const MAIN = fileURLToPath(new URL('../apps/cli/dist/main.js', import.meta.url));
const present = existsSync(ROOT);
const MODELS = present
  ? ['trained', 'architectures'].flatMap((folder) => readdirSync(`${ROOT}${folder}`).map((file) => `${folder}/${file}`))
  : ['(no model folder beside this checkout)'];

interface Report {
  readonly ok: boolean;
  readonly splitFlopShare: number;
  readonly outputs: readonly { readonly relError: number; readonly top1Equal: boolean }[];
}

async function verify(model: string, workers: number, ...more: string[]): Promise<Report> {
  const args = [MAIN, 'verify', `${ROOT}${model}`, '--workers', `${workers}`, '--json', ...more];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 64 * 2 ** 20 });
  return JSON.parse(stdout) as Report;
}

describe.skipIf(!present)('real models over three providers equal the unsplit run', () => {
  it.each(MODELS)('%s', { timeout: 240_000 }, async (model) => {
    const report = await verify(model, 3);
    expect(report.ok).toBe(true);
    expect(report.splitFlopShare).toBeGreaterThanOrEqual(0.9);
  });

  it('resnet18 with more providers than its last rows', { timeout: 240_000 }, async () => {
    const report = await verify('architectures/resnet18.onnx.gz', 9);
    expect(report.ok).toBe(true);
  });

  it('unet with every layer its own volume', { timeout: 240_000 }, async () => {
    const report = await verify('architectures/unet.onnx.gz', 2, '--volumes', 'layers');
    expect(report.ok).toBe(true);
  });
});
