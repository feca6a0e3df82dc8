/** A TLS connection for one exchange of messages, of joining or renewing, with a deadline. */
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import { parseAddress } from '../link/address.js';
import { socketFailure } from '../link/socket.js';

/** Connects. `options` say what is believed of the other end. Rejects with `LINK_FAILED`, `DEADLINE`, or what they throw. */
export function dial(options: ConnectionOptions, address: string, deadlineMs: number): Promise<TLSSocket> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, host, port });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(socketFailure('DEADLINE', `No answer within ${deadlineMs} ms`, address, { code: 'ETIMEDOUT' }));
    }, deadlineMs);
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer);
      const ours = error instanceof DistrEdgeError;
      reject(ours ? error : socketFailure('LINK_FAILED', `No connection to ${address}`, address, error));
    };
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      // What fails from here on is told by whoever reads.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}
