/** Speed-up of a split run over one core, of onnxruntime's own threads, and of dividing alone, for several models; `npm run bench -- speedup MODEL…`. */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));
const MODELS = [
  'architectures/vgg16.onnx.gz',
  'trained/mlsd_512x512_large.onnx',
  'architectures/unet.onnx.gz',
  'architectures/resnet18.onnx.gz',
].map((name) => `../shared/models/${name}`);

interface Report {
  readonly model: string;
  readonly single: { readonly medianMs: number };
  readonly split: {
    readonly medianMs: number;
    readonly volumes: number;
    readonly residentBytes: readonly (number | null)[];
  };
  readonly oneProvider: { readonly medianMs: number };
  readonly ortThreads: { readonly medianMs: number };
  readonly speedup: number;
  readonly threadsSpeedup: number;
  readonly divisionSpeedup: number;
}

const given = process.argv.slice(2);
console.log(`${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}; medians, taking turns`);
console.log(
  'model                  one core   1 provider   2 providers   2 threads   split   threads   division   resident sets (MB)',
);
for (const path of given.length > 0 ? given : MODELS) {
  const stdout = execFileSync(process.execPath, [MAIN, 'bench', path, '--workers', '2', '--json'], {
    encoding: 'utf8',
  });
  const { model, single, split, oneProvider, ortThreads, speedup, threadsSpeedup, divisionSpeedup } = JSON.parse(
    stdout,
  ) as Report;
  const time = (ms: number, width: number): string => `${ms.toFixed(1)} ms`.padStart(width);
  const memory = split.residentBytes.map((bytes) => (bytes === null ? '-' : (bytes / 1e6).toFixed(0))).join(' ');
  const ratio = (value: number, width: number): string => `${value.toFixed(2)}×`.padStart(width);
  const times = [time(single.medianMs, 11), time(oneProvider.medianMs, 13), time(split.medianMs, 14)];
  const ratios = [ratio(speedup, 8), ratio(threadsSpeedup, 10), ratio(divisionSpeedup, 11)];
  console.log([model.padEnd(20), ...times, time(ortThreads.medianMs, 12), ...ratios, '   ', memory].join(''));
}
