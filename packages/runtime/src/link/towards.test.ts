/** Dials that are held to a device, over TLS between members of one cluster. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestCluster, testCluster } from '../security/fixtures.js';
import type { Identity } from '../security/index.js';
import type { Listener } from './link.js';
import { Recorder, rejection } from './recorder.js';
import { createTlsTransport } from './tls.js';
import { towards } from './towards.js';

let cluster: TestCluster;
let [alpha, beta]: Identity[] = [];
let listener: Listener;
beforeAll(async () => {
  cluster = await testCluster();
  alpha = await cluster.device('alpha');
  beta = await cluster.device('beta');
  listener = await createTlsTransport(alpha).listen('127.0.0.1:0', new Recorder().handlers());
});
afterAll(async () => {
  await listener.close();
  await cluster.remove();
});

describe('a transport towards certain devices', () => {
  const dial = (id: string | undefined) => {
    return towards(createTlsTransport(beta as Identity), (address) => (address === listener.address ? id : 'x')).dial(
      listener.address,
      new Recorder().handlers(),
    );
  };

  it('links to the device that is meant, and to any where none is', async () => {
    for (const id of [alpha?.deviceId, undefined]) {
      const link = await dial(id);
      expect(link.peer?.deviceId).toBe(alpha?.deviceId);
      link.close();
    }
  });

  it('refuses another device of the same cluster', async () => {
    await rejection(dial(beta?.deviceId), 'PEER_REFUSED');
  });
});
