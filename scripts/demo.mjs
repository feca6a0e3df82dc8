// npm run demo: builds without a word unless it fails, then runs the demo of the command line. Arguments go to the demo.
import { program, root, tool } from './lib.mjs';

if (tool('tsc', ['-b']) !== 0) process.exit(1);
process.exit(program(process.execPath, [`${root}/apps/cli/dist/main.js`, 'demo', ...process.argv.slice(2)]).status);
