/** Turns a failed file operation into the project's FILE error, with what to do about it. */
import { DistrEdgeError } from '@distredge/core';

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder: check the path',
  EACCES: 'the file or its folder may not be accessed by this user',
  EPERM: 'the file or its folder may not be accessed by this user',
  EISDIR: 'this is a folder: name a file in it',
  EEXIST: 'a file has this name already: name a folder',
  ENOTDIR: 'a part of the path is a file, not a folder',
  ENOSPC: 'the disk is full',
  EROFS: 'the disk is read-only: name another folder',
  ENAMETOOLONG: 'the name is too long',
};

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown error';
}

/** The FILE error for what `node:fs` threw while it tried to read or write `path`. */
export function fileError(error: unknown, path: string, doing: 'read' | 'write'): DistrEdgeError {
  const code = codeOf(error);
  const hint = HINTS[code];
  return new DistrEdgeError('FILE', `the file could not be ${doing === 'read' ? 'read' : 'written'}`, {
    where: path,
    got: code,
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}
