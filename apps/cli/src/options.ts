/** The options that several commands share, parsed and checked. */
import { DistrEdgeError, type VolumeRule } from '@distredge/core';
import { plannerNames } from '@distredge/planner';
import { NORMALIZATIONS, type NormalizationName } from '@distredge/zoo';
import { type Command, Option } from 'commander';
import type { ModelOptions } from './model-file.js';

export function usage(option: string, expected: string, got: string): DistrEdgeError {
  return new DistrEdgeError('USAGE', `'${got}' is no value for ${option}`, { expected });
}

/** A whole number in a range. */
export function wholeNumber(option: string, low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high)
      throw usage(option, `a whole number from ${low} to ${high}`, text);
    return value;
  };
}

/** A time in seconds. */
export function seconds(option: string, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || !(value > 0) || value > most)
      throw usage(option, `seconds, more than 0 and at most ${most}`, text);
    return value;
  };
}

/** The name of a planner. */
export function plannerName(text: string): string {
  if (!plannerNames.includes(text)) throw usage('--planner', `one of ${plannerNames.join(', ')}`, text);
  return text;
}

export function volumeRule(text: string): VolumeRule {
  if (text === 'blocks' || text === 'layers') return text;
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > 10_000)
    throw usage('--volumes', 'blocks, layers or a number of volumes from 1 to 10000', text);
  return count;
}

export function weightList(text: string): number[] {
  const weights = text.split(',').map((item) => (/^\d+(\.\d+)?$/.test(item.trim()) ? Number(item) : Number.NaN));
  if (!weights.every((weight) => weight <= 1e6) || weights.every((weight) => weight === 0)) {
    throw usage('--weights', 'numbers from 0 to 1000000, not all 0, as in 2,1,1', text);
  }
  return weights;
}

export function normalization(text: string): NormalizationName {
  if (!Object.hasOwn(NORMALIZATIONS, text)) throw usage('--normalize', Object.keys(NORMALIZATIONS).join(', '), text);
  return text as NormalizationName;
}

/** As far as the core goes along. */
const MAX_DIM = 2 ** 20;

/** `--shape NAME=1,3,224,224`, repeatable. */
function shapeOption(text: string, before: Record<string, number[]>): Record<string, number[]> {
  const at = text.lastIndexOf('=');
  const dims = text
    .slice(at + 1)
    .split(',')
    .map((dim) => (/^\d+$/.test(dim) ? Number(dim) : 0));
  if (at < 1 || !dims.every((dim) => dim >= 1 && dim <= MAX_DIM))
    throw usage('--shape', `NAME=1,3,224,224, each size from 1 to ${MAX_DIM}`, text);
  return { ...before, [text.slice(0, at)]: dims };
}

function sizeOption(text: string): { height: number; width: number } {
  const match = /^(\d+)(?:x(\d+))?$/.exec(text);
  const height = Number(match?.[1]);
  const width = Number(match?.[2] ?? match?.[1]);
  if (match === null || height < 1 || width < 1 || height > 16_384 || width > 16_384)
    throw usage('--size', 'a side or HEIGHTxWIDTH, as in 320 or 480x640', text);
  return { height, width };
}

/** An option that names a plan file, instead of those that make a plan by rule. */
export function planOption(without: readonly string[]): Option {
  return new Option('--plan <file>', 'divide as this plan says (distredge plan makes one)').conflicts([...without]);
}

/** Options that bind dimensions a model leaves open. */
export function withShapes(command: Command): Command {
  return command
    .option('--shape <name=dims>', 'shape of an input whose dimensions are open (repeatable)', shapeOption, {})
    .option('--size <HxW>', 'height and width where an image input leaves them open (default 320x320)', sizeOption);
}

/** The model options among a command's parsed ones. */
export function modelOptions(options: {
  shape?: Record<string, number[]>;
  size?: { height: number; width: number };
}): ModelOptions {
  return {
    ...(options.shape === undefined ? {} : { shapes: options.shape }),
    ...(options.size === undefined ? {} : { size: options.size }),
  };
}

/** The shares of `count` devices: as given, or equal. */
export function sharesOf(weights: readonly number[] | undefined, count: number): number[] {
  if (weights === undefined) return new Array<number>(count).fill(1);
  if (weights.length !== count)
    throw usage(
      '--weights',
      `one number for each of the ${count} devices, as in ${new Array(count).fill(1).join(',')}`,
      weights.join(','),
    );
  return [...weights];
}
