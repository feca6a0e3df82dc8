/**
 * What makes a random case shrink well: a block of a graph is a short list of numbers, and every number is read as a choice
 * among what is possible at that place. Any list is a valid block; a missing number is the first choice, so shorter lists
 * of smaller numbers mean plainer blocks.
 */

/** Reads a list of numbers as choices. */
export class Choices {
  readonly #numbers: readonly number[];
  #next = 0;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  #take(): number {
    return this.#numbers[this.#next++] ?? 0;
  }

  /** One of these; the first is the plainest. */
  of<T>(first: T, ...others: T[]): T {
    return [first, ...others][this.#take() % (others.length + 1)] as T;
  }

  /** `from` to `to`, both included; `from` is the plainest. */
  int(from: number, to: number): number {
    return from + (this.#take() % Math.max(1, to - from + 1));
  }

  /** True once in `times`; false is the plainest. */
  rarely(times: number): boolean {
    return this.int(0, times - 1) === times - 1;
  }
}
