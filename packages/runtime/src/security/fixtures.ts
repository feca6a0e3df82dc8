/** Clusters to test with: an authority in a folder of its own, and devices that it admitted. Only tests import it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createClusterAuthority } from './authority.js';
import type { Identity } from './contract.js';
import { saveIdentity } from './identity.js';
import { makeRequest, newKeys } from './x509.js';

/** A cluster under test. */
export interface TestCluster {
  readonly folder: string;
  readonly authority: Authority;
  /** A device that was admitted; it holds the list of revocations as it is now. */
  device(name: string): Promise<Identity>;
  remove(): Promise<void>;
}

/** `memberMs`: how long certificates of devices last. */
export async function testCluster(clusterName = 'Test', memberMs?: number): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'distredge-security-'));
  const authority = (await createClusterAuthority(join(folder, 'authority'), {
    clusterName,
    ...(memberMs === undefined ? {} : { memberMs }),
  })) as Authority;
  return {
    folder,
    authority,
    async device(deviceName) {
      const keys = await newKeys();
      const { certificate } = await authority.admit(await makeRequest(keys), deviceName);
      const record = { clusterName, deviceName, certificate, key: keys.pem, ca: authority.identity.ca };
      return saveIdentity(join(folder, deviceName), record, authority.identity.revocations.pem);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
