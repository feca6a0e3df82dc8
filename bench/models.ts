/** Exactness of every model in a folder: split over 2, 3, 5 and 16 providers against unsplit; `npm run bench -- models DIR…`. */
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../apps/cli/dist/main.js', import.meta.url));

interface Report {
  readonly ok: boolean;
  readonly volumes?: number;
  readonly splitFlopShare?: number;
  readonly collectives?: number;
  readonly outputs?: readonly { readonly relError: number }[];
  readonly error?: { readonly code: string; readonly message: string };
}

function verify(path: string, workers: number): Promise<Report> {
  return new Promise((resolve, reject) => {
    const args = [MAIN, 'verify', path, '--workers', `${workers}`, '--json'];
    execFile(process.execPath, args, { maxBuffer: 64 * 2 ** 20 }, (error, stdout) => {
      if (stdout === '') reject(error ?? new Error('no answer'));
      else resolve(JSON.parse(stdout) as Report);
    });
  });
}

const given = process.argv.slice(2);
const counts = given.filter((text) => /^\d+$/.test(text)).map(Number);
const folders = given.filter((text) => !/^\d+$/.test(text));
const paths = (folders.length > 0 ? folders : ['../shared/models/trained', '../shared/models/architectures']).flatMap(
  (path) => (statSync(path).isDirectory() ? readdirSync(path).map((file) => `${path}/${file}`) : [path]),
);
let failures = 0;
for (const path of paths) {
  for (const workers of counts.length > 0 ? counts : [2, 3, 5, 16]) {
    const report = await verify(path, workers);
    if (!report.ok) failures += 1;
    const error = Math.max(...(report.outputs ?? []).map(({ relError }) => relError));
    const facts =
      report.error === undefined
        ? `error ${error.toExponential(1)}, ${report.volumes} volumes, ${(100 * (report.splitFlopShare ?? 0)).toFixed(1)} % divided, ${report.collectives} collectives`
        : `${report.error.code}: ${report.error.message}`;
    console.log(`${report.ok ? 'ok    ' : 'NOT OK'} ${path.split('/').at(-1)} × ${workers}: ${facts}`);
  }
}
console.log(failures === 0 ? 'all exact' : `${failures} not exact`);
process.exitCode = failures === 0 ? 0 : 1;
