import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makePrivateFolder, removeFoldersOf, removePrivateFolder } from './private-folder.js';

it('what a killed process left goes, with what is in it; what others have stays', async () => {
  const parent = mkdtempSync(join(tmpdir(), 'private-folder-test-'));
  try {
    for (const name of ['distredge-weights-4194305-a', 'distredge-weights-41943051-b', 'other-4194305-a']) {
      mkdirSync(join(parent, name));
      writeFileSync(join(parent, name, 'w'), 'x');
    }
    const own = await makePrivateFolder(parent);
    await removeFoldersOf(4194305, parent);
    expect(readdirSync(parent).sort()).toEqual(
      ['distredge-weights-41943051-b', own.slice(parent.length + 1), 'other-4194305-a'].sort(),
    );
    await removePrivateFolder(own);
    expect(existsSync(own)).toBe(false);
    await removeFoldersOf(1, join(parent, 'none'));
  } finally {
    rmSync(parent, { recursive: true, force: true });
  }
});
