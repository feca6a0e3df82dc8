// Asks the registry for known vulnerabilities of what the lockfile names: `npm audit` with its arguments (--omit=dev), and an exit code
// that tells "found something" from "this registry answers no audit requests at all", as some mirrors do not: that one is
// exit code 77, "not done", which is neither a pass nor a failure. Every other trouble is a failure.
import { program } from './lib.mjs';

const args = process.argv.slice(2);
const label = ['npm audit', ...args].join(' ');
const { status, stdout, output } = program('npm', ['audit', '--json', ...args], { capture: true });

let report = {};
try {
  report = JSON.parse(stdout);
} catch {
  // Told below, with all that npm said.
}
const found = report.metadata?.vulnerabilities;
if (found) {
  for (const [name, { severity, range }] of Object.entries(report.vulnerabilities))
    console.error(`${name} ${range}: ${severity}`);
  console.log(`${label}: ${found.total} known vulnerabilities`);
  process.exit(status || (found.total ? 1 : 0));
}
if ([404, 405, 501].includes(report.statusCode) || /audit 40[45] |audit 501 /.test(output)) {
  console.log(`${label}: NOT DONE: the registry in use does not answer audit requests`);
  process.exit(77);
}
console.error(output);
console.error(`${label}: no answer (exit code ${status})`);
process.exit(1);
