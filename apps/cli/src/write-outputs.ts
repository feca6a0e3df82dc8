/** Writes a model's outputs as .npy files, one for each, under names that any file system takes. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DistrEdgeError, type Graph, type Tensor } from '@distredge/core';
import { fileError } from './image/file-error.js';
import { npy } from './npy.js';

/** Makes the folder where it is missing. Throws `FILE` where it or a file cannot be written. */
export async function writeOutputs(
  folder: string,
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
): Promise<void> {
  const taken = new Set<string>();
  try {
    await mkdir(folder, { recursive: true });
    for (const [index, name] of graph.outputs.entries()) {
      const plainName = name.replaceAll(/[^\w.-]/g, '_').slice(0, 200);
      const file = taken.has(plainName) ? `${plainName}-${index}` : plainName;
      taken.add(file);
      await writeFile(join(folder, `${file}.npy`), npy(name, outputs[name] as Tensor));
    }
  } catch (error) {
    throw error instanceof DistrEdgeError ? error : fileError(error, folder, 'write');
  }
}
