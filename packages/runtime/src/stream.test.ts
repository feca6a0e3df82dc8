/** Streams over lanes that the test ends image by image: order, room, back-pressure, errors and early ends. */
import { floatTensor, type Tensor } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { until } from './fixtures.js';
import { type Lane, type StreamResult, streamImages } from './stream.js';

type Tensors = Readonly<Record<string, Tensor>>;

const image = (index: number): Tensors => ({ x: floatTensor([index], [1]) });

/** A lane whose images are done when the test says so. */
class Hand implements Lane {
  readonly inFlight: number;
  readonly weight: number;
  readonly begun: Tensors[] = [];
  readonly #ends: { resolve: (outputs: Record<string, Tensor>) => void; reject: (error: Error) => void }[] = [];

  constructor(inFlight: number, weight = 1) {
    this.inFlight = inFlight;
    this.weight = weight;
  }

  infer(inputs: Tensors): Promise<Record<string, Tensor>> {
    this.begun.push(inputs);
    return new Promise((resolve, reject) => this.#ends.push({ resolve, reject }));
  }

  end(at: number, error?: Error): void {
    if (error === undefined) this.#ends[at]?.resolve({ ...this.begun[at] });
    else this.#ends[at]?.reject(error);
  }
}

/** A source that counts what was taken of it. */
class Source {
  taken = 0;
  left = false;
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Tensors> {
    try {
      for (let index = 0; index < this.#count; index++) {
        this.taken += 1;
        yield image(index);
      }
    } finally {
      this.left = true;
    }
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** Takes all results in the background. */
function collect(stream: AsyncGenerator<StreamResult>): { results: StreamResult[]; done: Promise<void> } {
  const results: StreamResult[] = [];
  const done = (async () => {
    for await (const result of stream) results.push(result);
  })();
  done.catch(() => undefined);
  return { results, done };
}

describe('a stream', () => {
  it('takes as many images as there is room for, and hands out results in their order', async () => {
    const [lane, source] = [new Hand(3), new Source(5)];
    const { results, done } = collect(streamImages([lane], source));
    await until(() => lane.begun.length === 3);
    await settle();
    expect(source.taken).toBe(3);
    lane.end(2);
    lane.end(1);
    await settle();
    // The first one is not done: its place is taken, and so are those of the others that wait behind it.
    expect(results).toEqual([]);
    expect(source.taken).toBe(3);
    lane.end(0);
    await until(() => lane.begun.length === 5);
    lane.end(4);
    lane.end(3);
    await done;
    expect(results.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    expect(results.map(({ outputs }) => outputs)).toEqual([0, 1, 2, 3, 4].map(image));
    expect(source.left).toBe(true);
  });

  it('stops its source while nobody takes results', async () => {
    const [lane, source] = [new Hand(2), new Source(100)];
    const stream = streamImages([lane], source);
    const first = stream.next();
    for (let at = 0; at < 2; at++) {
      await until(() => lane.begun.length > at);
      lane.end(at);
    }
    expect((await first).value).toMatchObject({ index: 0 });
    await settle();
    lane.end(2);
    await settle();
    expect(source.taken).toBe(3);
    await stream.return(undefined);
    await until(() => source.left);
  });

  it('may have less room than its lanes', async () => {
    const [lane, source] = [new Hand(8), new Source(4)];
    const { results, done } = collect(streamImages([lane], source, { inFlight: 1 }));
    for (let at = 0; at < 4; at++) {
      await until(() => lane.begun.length === at + 1);
      await settle();
      expect(source.taken).toBe(at + 1);
      lane.end(at);
    }
    await done;
    expect(results.length).toBe(4);
  });

  it('gives each lane images by its weight', async () => {
    const lanes = [new Hand(4, 1), new Hand(4, 3)];
    const { done } = collect(streamImages(lanes, new Source(4)));
    await until(() => lanes.reduce((sum, { begun }) => sum + begun.length, 0) === 4);
    expect(lanes.map(({ begun }) => begun.length)).toEqual([1, 3]);
    for (const lane of lanes) for (let at = 0; at < 4; at++) lane.end(at);
    await done;
  });

  it.each(['a lane', 'the source'])('ends with the error of %s, in its place', async (whose) => {
    const lane = new Hand(4);
    async function* images() {
      yield image(0);
      yield image(1);
      if (whose === 'the source') throw new Error('out of images');
      yield image(2);
    }
    const { results, done } = collect(streamImages([lane], images()));
    await until(() => lane.begun.length >= 2);
    if (whose === 'a lane') lane.end(1, new Error('out of images'));
    else lane.end(1);
    await settle();
    lane.end(0);
    await expect(done).rejects.toThrow('out of images');
    expect(results.map(({ index }) => index)).toEqual(whose === 'a lane' ? [0] : [0, 1]);
  });

  it('that is left puts its source away, even one that is being asked', async () => {
    const lane = new Hand(2);
    let asked = 0;
    const never = {
      [Symbol.asyncIterator]: () => ({
        next: (): Promise<IteratorResult<Tensors>> => {
          asked += 1;
          return asked === 1 ? Promise.resolve({ done: false, value: image(0) }) : new Promise(() => undefined);
        },
        return: (): Promise<IteratorResult<Tensors>> => new Promise(() => undefined),
      }),
    };
    const stream = streamImages([lane], never);
    const first = stream.next();
    await until(() => lane.begun.length === 1);
    lane.end(0);
    await first;
    await until(() => asked === 2);
    await stream.return(undefined);
  });

  it('may be empty, and refuses no room at all', async () => {
    expect(await streamImages([new Hand(1)], []).next()).toMatchObject({ done: true });
    await expect(streamImages([new Hand(1)], [], { inFlight: 0 }).next()).rejects.toMatchObject({ code: 'USAGE' });
  });
});
