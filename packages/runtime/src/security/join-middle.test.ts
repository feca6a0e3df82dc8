/** Joining with a machine in the middle. */
import { once } from 'node:events';
import { createServer, type TLSSocket } from 'node:tls';
import { DistrEdgeError } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { rejection } from '../link/recorder.js';
import { testCluster } from './fixtures.js';
import { joinCluster } from './join-client.js';
import { JOIN_ALPN } from './join-protocol.js';
import {
  attacker,
  cleanUps,
  cluster,
  framed,
  helloOn,
  newFolder,
  reasons,
  serve,
  told,
  tryJoin,
} from './join-scene.js';

describe('a machine in the middle', () => {
  /** Listens with a certificate of its own, and does with every connection what `meet` says. */
  async function middle(meet: (socket: TLSSocket, ownCa: string) => void): Promise<string> {
    const own = await testCluster('Home');
    cleanUps.push(() => own.remove());
    const { certificate, key } = own.authority.identity;
    const options = { key, cert: certificate, minVersion: 'TLSv1.3', ALPNProtocols: [JOIN_ALPN] } as const;
    const listener = createServer(options, (socket) => {
      socket.on('error', () => {});
      cleanUps.push(() => socket.destroy());
      meet(socket, own.authority.identity.ca);
    }).listen(0, '127.0.0.1');
    cleanUps.push(() => listener.close());
    await once(listener, 'listening');
    return `127.0.0.1:${(listener.address() as { port: number }).port}`;
  }

  it('that passes every byte on gets neither end to believe the other', async () => {
    const address = await serve();
    const before = cluster.authority.devices().length;
    const heard: Buffer[] = [];
    const tapped = await middle((victim) => {
      void attacker(address).then((onward) => {
        victim.on('data', (bytes: Buffer) => {
          heard.push(bytes);
          onward.write(bytes);
        });
        onward.on('data', (bytes: Buffer) => victim.write(bytes));
        onward.on('end', () => victim.end());
      });
    });
    const { code } = cluster.authority.issueCode();
    await rejection(tryJoin(tapped, code), 'JOIN_REFUSED');
    expect(reasons()).toEqual(['wrong-code']);
    expect(cluster.authority.devices()).toHaveLength(before);
    const said = Buffer.concat(heard).toString();
    expect(said).toContain('hello');
    expect(said).not.toContain('CERTIFICATE REQUEST');
    expect(said).not.toContain(code.replace(/-/g, '').slice(3, 15));
    // One wrong guess is all that it was worth: the code still works where nobody stands between.
    await tryJoin(address, code);
  });

  it.each([
    ['of its own, to which its certificate fits', (ownCa: string) => ownCa],
    ['of the cluster', () => cluster.authority.identity.ca],
  ])('that plays the controller with the CA %s is found out before it hears what the device asks', async (_, ca) => {
    const heard: Buffer[] = [];
    const fake = await middle((victim, ownCa) => {
      victim.on('data', (bytes: Buffer) => heard.push(bytes));
      victim.write(framed({ type: 'welcome', proof: 'ab'.repeat(32), clusterName: 'Home', ca: ca(ownCa) }));
    });
    const error = await rejection(tryJoin(fake, cluster.authority.issueCode().code), 'PEER_REFUSED');
    expect(error).toMatchObject({ got: 'a wrong proof', hint: expect.stringContaining('somebody on the network') });
    expect(Buffer.concat(heard).toString()).not.toContain('CERTIFICATE REQUEST');
  });

  it('cannot answer with the proof of the device', async () => {
    const fake = await middle((victim, ca) => {
      victim.once('data', (bytes: Buffer) => {
        const { proof } = JSON.parse(bytes.subarray(4).toString()) as { proof: string };
        victim.write(framed({ type: 'welcome', proof, clusterName: 'Home', ca }));
      });
    });
    const error = await rejection(tryJoin(fake, cluster.authority.issueCode().code), 'PEER_REFUSED');
    expect(error.got).toBe('a wrong proof');
  });

  it('cannot use a proof that it heard on another connection', async () => {
    const address = await serve();
    const { code } = cluster.authority.issueCode();
    const first = await attacker(address);
    const second = await attacker(address);
    second.write(await helloOn(second, code, first));
    await told(1);
    expect(reasons()).toEqual(['wrong-code']);
    // The same, on its own connection, would have been right.
    const third = await attacker(address);
    third.write(await helloOn(third, code));
    const [answer] = (await once(third, 'data')) as [Buffer];
    expect(answer.toString()).toContain('welcome');
  });

  it('that accepts and says nothing is given up with DEADLINE', async () => {
    const silent = await middle(() => {});
    const { code } = cluster.authority.issueCode();
    const options = { address: silent, code, deviceName: 'pi', folder: newFolder(), deadlineMs: 300 };
    const error: unknown = await joinCluster(options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DistrEdgeError);
    expect((error as DistrEdgeError).code).toBe('DEADLINE');
  });
});
