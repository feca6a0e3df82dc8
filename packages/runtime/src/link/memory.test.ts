import { expect, it } from 'vitest';
import { describeLinkCompliance } from './compliance.js';
import { createMemoryTransport } from './memory.js';
import { Recorder, rejection } from './recorder.js';

describeLinkCompliance('the in-memory twin', createMemoryTransport);

it('keeps the names of two transports apart', async () => {
  const [one, other] = [createMemoryTransport(), createMemoryTransport()];
  const recorder = new Recorder();
  const listener = await one.listen('camera', recorder.handlers());
  await rejection(other.dial('camera', recorder.handlers()), 'LINK_FAILED');
  const second = await other.listen('camera', recorder.handlers());
  expect([listener.address, second.address]).toEqual(['camera', 'camera']);
  await listener.close();
  await second.close();
});

it('refuses the empty name', async () => {
  await rejection(createMemoryTransport().listen('', new Recorder().handlers()), 'ADDRESS_INVALID');
});

it('resets a dialler whose listener closed before it could accept', async () => {
  const transport = createMemoryTransport();
  const [near, far] = [new Recorder(), new Recorder()];
  const listener = await transport.listen('camera', far.handlers());
  const dialling = transport.dial('camera', near.handlers());
  await listener.close();
  await dialling;
  expect(await near.closed()).toMatchObject({ code: 'LINK_CLOSED' });
  expect(far.hasLink).toBe(false);
});
