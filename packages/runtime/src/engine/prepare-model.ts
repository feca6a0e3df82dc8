/**
 * What is done to a model before onnxruntime gets it. Shapes that all its runs have are written into it; convolutions that it would
 * compute directly are written by Winograd's minimal filtering where that is faster
 * ([decision 17](../../../../docs/decisions/017-winograd.md)). On other processors than x64 onnxruntime keeps no channels in blocks,
 * and nothing would be gained by that.
 */
import { readFile } from 'node:fs/promises';
import { winogradModel, withFixedShapes } from '@distredge/core';
import type { WeightSource } from '../weights/blob.js';
import type { EngineModel, EngineOptions } from './engine.js';
import { ONNXRUNTIME } from './ort-session.js';

/** Whether convolutions are written anew where nothing else is said. */
export function writesConvolutions({ winograd = process.arch === 'x64' }: EngineOptions): boolean {
  return winograd;
}

/** Name and version of an engine, with what its times depend on besides: for traces and profiles. */
export function engineName(options: EngineOptions = {}): string {
  return writesConvolutions(options) ? `${ONNXRUNTIME} with winograd` : ONNXRUNTIME;
}

/** A model as it is given to onnxruntime. */
export interface PreparedModel extends Pick<EngineModel, 'model' | 'weights'> {
  /** Weights that were made for it, of no use once it is loaded. */
  readonly made: readonly Uint8Array[];
}

/** What a session of this model is shared under: one for inputs of one shape is of no use for others. */
export function sessionKey({ key, shapes = {}, everyRun = false }: EngineModel): string | undefined {
  if (key === undefined || !everyRun) return key;
  const texts = Object.entries(shapes).map(([name, shape]) => `${name} ${shape.join('×')}`);
  return `${key} for ${texts.sort().join(', ')}`;
}

/** The model to load in place of this one; the same where nothing is to be gained. Rejects where weights cannot be read. */
export async function prepared(given: EngineModel, winograd: boolean): Promise<PreparedModel> {
  const { shapes } = given;
  const closed = given.everyRun && shapes !== undefined ? withFixedShapes(given.model, shapes) : undefined;
  const model = closed ?? given.model;
  const faster = winograd && shapes !== undefined ? winogradModel(model, shapes, closed !== undefined) : undefined;
  if (faster === undefined || !faster.reads.every((location) => given.weights.has(location)))
    return { model, weights: given.weights, made: [] };
  const data = new Map<string, Uint8Array>();
  for (const location of faster.reads) data.set(location, await bytesOf(given.weights.get(location) as WeightSource));
  const written = faster.write(data);
  const weights = new Map(given.weights);
  for (const location of faster.unread) weights.delete(location);
  for (const [location, bytes] of written.weights) weights.set(location, bytes);
  return { model: written.bytes, weights, made: [...written.weights.values()] };
}

async function bytesOf(source: WeightSource): Promise<Uint8Array> {
  return 'path' in source ? new Uint8Array(await readFile(source.path)) : source;
}
