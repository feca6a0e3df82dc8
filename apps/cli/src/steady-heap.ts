/**
 * A device computes for days, and other programs need its memory. Of each image some objects outlive a quick collection, and V8
 * lets a heap that began small grow to several times its size before it looks at those: measured, 1.4 KB an image, 40 MB until then. Told
 * to let it grow less, V8 collects every few images, for 20 ms each time. So the heap is looked at now and then, here.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How often the heap is looked at, in ms. */
const LOOK_MS = 5000;
/** How much what outlived quick collections may grow before all of it is collected, in bytes. That takes 10 ms here. */
const GROWTH_BYTES = 4e6;

/** The heap as `keepHeapSteady` needs it; tests put in another. */
export interface Heap {
  /** What outlived quick collections, in bytes. */
  size(): number;
  collect(): void;
}

/** Looks at a heap, again and again, and collects what it has grown by. */
export class HeapKeeper {
  readonly #heap: Heap;
  #least = Number.POSITIVE_INFINITY;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  look(): void {
    const size = this.#heap.size();
    this.#least = Math.min(this.#least, size);
    if (size <= this.#least + GROWTH_BYTES) return;
    this.#heap.collect();
    // What is left is what is needed.
    this.#least = this.#heap.size();
  }
}

/** Collects all of the heap of the thread that calls what it returns. */
export function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  return collect;
}

/** Keeps this process's memory where it is, from now on. */
export function keepHeapSteady(): void {
  const keeper = new HeapKeeper({ size: oldSpace, collect: collector() });
  setInterval(() => keeper.look(), LOOK_MS).unref();
}

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')?.space_used_size ?? 0;
}
