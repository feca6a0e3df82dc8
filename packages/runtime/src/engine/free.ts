/**
 * Gives the memory of a dead buffer back at once. Left to the garbage collector, buffers outside its heap pile up: an idle
 * process would keep a model's weights twice, and every run would write its output into fresh, unmapped pages (measured:
 * 0.40 instead of 0.12 ms for a run with 0.4 MB of output, 0.8 instead of 0.45 ms for 3.2 MB). Freeing costs 4–8 µs.
 */
import { MessageChannel } from 'node:worker_threads';

/** `ArrayBuffer.prototype.transfer`, which Node has from version 21 on. */
interface Transferable {
  transfer?(length: number): ArrayBuffer;
}

/**
 * A port that nobody listens to: what is moved there is dropped with its memory. It has to be old: what is sent before the
 * event loop has seen the other end close waits for that.
 */
const { port1: nowhere, port2: farEnd } = new MessageChannel();
farEnd.close();

/**
 * Detaches the buffer behind these bytes and frees it now: every view of it becomes empty. For a buffer that the caller owns
 * alone. Bytes that only view a part of their buffer are left as they are, and so is what cannot be detached.
 */
export function free(bytes: ArrayBufferView): void {
  const buffer = bytes.buffer;
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength === 0 || bytes.byteLength !== buffer.byteLength) return;
  try {
    const { transfer } = buffer as ArrayBuffer & Transferable;
    if (transfer !== undefined) {
      transfer.call(buffer, 0);
    } else {
      nowhere.postMessage(null, [buffer]);
    }
  } catch {
    // Memory that Node pins (a pooled Buffer) stays with its owner.
  }
}
