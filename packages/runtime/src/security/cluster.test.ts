/** A requester and two providers whose links are TLS, with a certificate each: images pass, and stop when a device is revoked. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineOf, INPUT, OUTPUT, smallProgram, until } from '../fixtures.js';
import { rejection } from '../link/recorder.js';
import { createTcpTransport } from '../link/tcp.js';
import { createTlsTransport } from '../link/tls.js';
import { type Provider, startProvider } from '../provider.js';
import { connect } from '../requester.js';
import type { Identity } from './contract.js';
import { type TestCluster, testCluster } from './fixtures.js';

const program = smallProgram(2);
let cluster: TestCluster;
let providers: { readonly identity: Identity; readonly provider: Provider }[] = [];

beforeAll(async () => {
  cluster = await testCluster();
  providers = await Promise.all(
    ['one', 'two'].map(async (name, device) => {
      const identity = await cluster.device(name);
      const provider = await startProvider({
        transport: createTlsTransport(identity),
        listen: '127.0.0.1:0',
        engineName: 'fake',
        createEngine: () => engineOf(program, device),
      });
      return { identity, provider };
    }),
  );
});
afterAll(async () => {
  await Promise.all(providers.map(({ provider }) => provider.close()));
  await cluster.remove();
});

const addresses = () => providers.map(({ provider }) => provider.address);

describe('a cluster over TLS', () => {
  it('is closed to a requester without a certificate', async () => {
    const transport = createTcpTransport();
    const error: unknown = await connect(program, { transport, addresses: addresses() }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(PROVIDER_LOST|LINK_CLOSED|LINK_FAILED|FRAME_INVALID)$/),
    });
  });

  it('computes images, and ends when one of its devices is revoked', async () => {
    const { identity } = cluster.authority;
    const failures: Error[] = [];
    const lane = await connect(program, {
      transport: createTlsTransport(identity),
      addresses: addresses(),
      failed: (error) => failures.push(error),
    });
    for (let image = 0; image < 3; image++) {
      const outputs = await lane.infer({ x: INPUT });
      expect(Object.keys(outputs)).toEqual([OUTPUT]);
    }
    const [one, two] = providers;
    await cluster.authority.revoke(two?.identity.deviceId ?? '');
    await one?.identity.revocations.accept(identity.revocations.pem);
    await until(() => failures.length > 0);
    await expect(lane.infer({ x: INPUT })).rejects.toThrow();
    await lane.close();
    const again = connect(program, { transport: createTlsTransport(identity), addresses: addresses() });
    await rejection(again, 'PEER_REFUSED');
  });
});
