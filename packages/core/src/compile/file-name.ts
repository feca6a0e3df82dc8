/** Names of weights as file names: an engine that finds a weight in a file can map it, and need not copy it. */

/** File systems take names of 255 bytes. */
const MAX_LENGTH = 200;

/**
 * A name for external data that is a plain file name on every system: letters, digits, `_`, `-` between them, and single dots.
 * Different names stay different. Other characters stand as `_hex_`, and `_` as `__`; a name that would get too long stays as
 * it is, and whoever loads the model keeps that weight in memory.
 */
export function fileNameOf(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9.-]|^[.-]|\.(?![A-Za-z0-9])/gu, (character) =>
    character === '_' ? '__' : `_${(character.codePointAt(0) ?? 0).toString(16)}_`,
  );
  return plain.length > MAX_LENGTH ? name : plain;
}
