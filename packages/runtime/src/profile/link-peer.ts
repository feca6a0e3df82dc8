/** The process at the other end of a link that is measured: answers messages until its parent is gone. Started by `link.ts`. */
import { createTcpTransport } from '../link/tcp.js';
import { answerMessages } from './link.js';

const listener = await answerMessages(createTcpTransport(), '127.0.0.1:0');
process.send?.(listener.address);
process.once('disconnect', () => process.exit());
