/**
 * Kills, freezes and cuts off local providers at random moments of a stream; `npm run bench -- faults [FAULTS] [SEED] [-v]`. With
 * `--freezes IMAGES`: short freezes only, and what images take where late ones are begun again elsewhere, and where they wait.
 */
import { runFaults } from './_fault-run.js';
import { runFreezes } from './_freezes.js';

const quantile = (values: readonly number[], share: number): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return `${(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(0)}`.padStart(6);
};

if (process.argv[2] === '--freezes') {
  await freezes(Number(process.argv[3] ?? 2000));
  process.exit();
}

/** The tail of latency with and without beginning late images again. */
async function freezes(images: number): Promise<void> {
  const options = { providers: 3, images, everyMs: 1000, lastsMs: 200, seed: 1 };
  const { waits, overtakes } = await runFreezes(options);
  console.log(
    `${images} images each, taking turns; one of ${options.providers} providers stopped every ${options.everyMs} ms for ${options.lastsMs} ms (both ± half)`,
  );
  console.log(
    '                     an image took (ms)\n                   median   90 %   99 % 99.9 %   most  freezes  begun again  done elsewhere first  lost  wrong',
  );
  for (const [name, report] of [
    ['late ones wait', waits],
    ['begun again', overtakes],
  ] as const) {
    const cells = [0.5, 0.9, 0.99, 0.999, 1].map((share) => quantile(report.ms, share)).join(' ');
    const counts = [report.freezes, report.late, report.overtaken, report.lost, report.wrong];
    const widths = [9, 13, 22, 6, 7];
    console.log(
      `${name.padEnd(18)} ${cells}${counts.map((count, at) => `${count}`.padStart(widths[at] ?? 8)).join('')}`,
    );
  }
  process.exitCode = waits.wrong + overtakes.wrong + waits.lost + overtakes.lost > 0 ? 1 : 0;
}

const verbose = process.argv.includes('-v');
const [faults = 200, seed = 1] = process.argv
  .slice(2)
  .filter((item) => /^\d+$/.test(item))
  .map(Number);
const started = performance.now();
const report = await runFaults({
  providers: 3,
  faults,
  seed,
  inFlight: 3,
  ...(verbose
    ? { log: (line: string) => console.log(`${((performance.now() - started) / 1000).toFixed(2)} ${line}`) }
    : {}),
});
console.log(
  `${report.faults.length} faults in ${((performance.now() - started) / 1000).toFixed(0)} s, seed ${seed}: ${report.images} images, ${report.wrong} wrong, ${report.outOfOrder} out of order, 0 lost, 0 hung; ${report.whole} run whole`,
);
console.log(
  '         faults   noticed after (ms)        next image after (ms)\n                  median    90 %    most   median    90 %    most',
);
for (const kind of ['kill', 'freeze', 'cut']) {
  const own = report.faults.filter((fault) => fault.kind === kind);
  const row = [own.map(({ detectMs }) => detectMs), own.map(({ recoverMs }) => recoverMs)].flatMap((values) => [
    quantile(values, 0.5),
    quantile(values, 0.9),
    quantile(values, 1),
  ]);
  console.log(`${kind.padEnd(9)}${`${own.length}`.padStart(6)}  ${row.join('  ')}`);
}
process.exitCode = report.wrong + report.outOfOrder > 0 ? 1 : 0;
