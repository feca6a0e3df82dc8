/** A process whose last act is to close a listener ends when that is done, and not before. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const SCRIPT = `
import { connect } from 'node:net';
import { createTcpTransport, parseAddress } from '@distredge/runtime';
const listener = await createTcpTransport().listen('127.0.0.1:0', () => ({ frame() {}, closed() {} }));
// The other end stays open, and keeps no process alive either.
const socket = connect({ ...parseAddress(listener.address), allowHalfOpen: true });
await new Promise((resolve) => socket.once('connect', resolve));
socket.on('error', () => {}).resume().unref();
await listener.close();
console.log('closed');
`;

it('waits for the connections that linger', async () => {
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '--eval', SCRIPT], { timeout: 60_000 });
  expect((await run).stdout).toBe('closed\n');
});
