/** Sizes of the head that both simulators ask for. */

/** Bytes of the float32 output of some channels of the fully connected layer that can be cut. */
export function partialBytes(
  { rows, width }: { readonly rows: number; readonly width: number },
  channels: number,
): number {
  return rows * width * channels * 4;
}

/** Bytes of the weights of some ops together. */
export function weightsOf(ops: readonly { readonly weightBytes: number }[]): number {
  return ops.reduce((sum, op) => sum + op.weightBytes, 0);
}
