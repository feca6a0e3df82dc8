/** Kills, freezes and cuts off local providers at random moments of a stream; `npm run bench -- faults [FAULTS] [SEED] [-v]`. */
import { runFaults } from './_fault-run.js';

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
const quantile = (values: readonly number[], share: number): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return `${(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(0)}`.padStart(6);
};
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
