/** Whether a provider is there: it is dialled, greeted, and has answered. */
import { FrameKind, type Link, type Transport } from './link/link.js';
import { PROTOCOL_VERSION, parseControl, sendControl } from './protocol.js';

/** Largest answer to a greeting, in bytes. */
const MAX_ANSWER = 65_536;

/** Resolves with whether a provider of this version greets back in time. Never rejects, and leaves no link behind. */
export async function answers(transport: Transport, address: string, ms: number): Promise<boolean> {
  let settle: (answered: boolean) => void = () => undefined;
  const answered = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  const timer = setTimeout(() => settle(false), ms);
  const dialled = transport.dial(
    address,
    () => ({
      allocate: (header) => {
        if (header.kind !== FrameKind.control || header.length > MAX_ANSWER) throw new Error('no greeting');
        return new Uint8Array(header.length);
      },
      frame: (frame) => {
        const message = parseControl(frame);
        settle(message.type === 'welcome' && message.version === PROTOCOL_VERSION);
      },
      closed: () => settle(false),
    }),
    { deadlineMs: ms },
  );
  const close = (link: Link): void => link.close();
  dialled.then(
    (link) => {
      sendControl(link, { type: 'hello', version: PROTOCOL_VERSION }).catch(() => settle(false));
    },
    () => settle(false),
  );
  try {
    return await answered;
  } finally {
    clearTimeout(timer);
    dialled.then(close, () => undefined);
  }
}
