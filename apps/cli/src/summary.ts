/** An output in a few numbers. */
import { numbers, type Tensor } from '@distredge/core';

export interface Summary {
  readonly name: string;
  readonly shape: readonly number[];
  readonly min: number;
  readonly max: number;
  /** Index of the largest value in the flattened output. */
  readonly top1: number;
}

export function summarise(name: string, tensor: Tensor): Summary {
  const values = numbers(tensor);
  let [min, top1] = [Number.POSITIVE_INFINITY, 0];
  values.forEach((value, index) => {
    if (value < min) min = value;
    if (value > (values[top1] as number)) top1 = index;
  });
  return { name, shape: tensor.shape, min, max: values[top1] ?? Number.NaN, top1 };
}
