/**
 * Revoking a device from another process than the one that runs the cluster: only that one may open the authority, so a wish is
 * laid into the authority's folder, which is this user's alone, and answered there.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import { type ClusterAuthority, createClusterAuthority } from '@distredge/runtime';
import { onEnd } from '../lifecycle.js';
import { authorityFolder } from './secure.js';

const LOOK_MS = 500;
/** A running controller answers well before this. */
const ANSWER_MS = 5000;
const MOST_BYTES = 4096;

const wishes = (cluster: string): string => join(authorityFolder(cluster), 'revoke');

/** Answers wishes until the command ends. */
export async function answerRevocations(
  cluster: string,
  authority: ClusterAuthority,
  log: (line: string) => void,
): Promise<void> {
  const folder = wishes(cluster);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  let over = false;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    for (const name of await readdir(folder).catch(() => [])) {
      if (!/^[0-9a-f]{1,64}$/.test(name)) continue;
      await rm(join(folder, name), { force: true });
      const answer = await authority.revoke(name).then(
        () => {
          log(`${name} was revoked`);
          return {};
        },
        (error: unknown) =>
          error instanceof DistrEdgeError ? error.toJSON() : { code: 'INTERNAL', message: String(error) },
      );
      await writeFile(join(folder, `${name}.done`), JSON.stringify(answer), { mode: 0o600 }).catch(() => undefined);
    }
    if (!over) timer = setTimeout(() => void look(), LOOK_MS);
  };
  onEnd(async () => {
    over = true;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  });
  timer = setTimeout(() => void look(), LOOK_MS);
}

/** Has a device revoked, by the controller that runs, or here where none does. Rejects with `USAGE` for an unknown device or cluster. */
export async function requestRevocation(cluster: string, id: string): Promise<void> {
  const known = await stat(join(authorityFolder(cluster), 'authority.json')).catch(() => undefined);
  if (known === undefined) {
    throw new DistrEdgeError('USAGE', 'no cluster of this name was founded on this machine', {
      where: '--cluster',
      got: cluster,
      hint: 'run this where distredge up runs, as the same user',
    });
  }
  const folder = wishes(cluster);
  if ((await stat(folder).catch(() => undefined)) === undefined) {
    const authority = await createClusterAuthority(authorityFolder(cluster), { clusterName: cluster });
    await authority.revoke(id);
    return;
  }
  const done = join(folder, `${id}.done`);
  await rm(done, { force: true });
  await writeFile(join(folder, id), '', { mode: 0o600 });
  const end = Date.now() + ANSWER_MS;
  while (Date.now() < end) {
    const text = await readFile(done, 'utf8').catch(() => undefined);
    if (text !== undefined && text !== '' && text.length < MOST_BYTES) {
      await rm(done, { force: true });
      const { code, message, ...facts } = JSON.parse(text) as Record<string, string>;
      if (code === undefined) return;
      throw new DistrEdgeError(code as ErrorCode, message ?? '', facts);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await rm(join(folder, id), { force: true });
  throw new DistrEdgeError('DEADLINE', 'the controller did not answer', {
    where: folder,
    hint: `if no distredge up runs for this cluster, remove ${folder} and try again`,
  });
}
