/**
 * The one suite that every `Engine` has to pass. Only tests import it. It is one function, long as it is, so that no engine is held to a
 * part of it; all of it shares an engine and two models.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DataType,
  DistrEdgeError,
  DTYPE_BYTES,
  floats,
  floatTensor,
  intTensor,
  type Tensor,
} from '@distredge/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Engine, EngineOptions } from './engine.js';
import { ONNX_TYPE, onnxModel, vectorModel } from './fixtures.js';

const NO_WEIGHTS: ReadonlyMap<string, Uint8Array> = new Map();
const x = (...values: number[]): Tensor => floatTensor(values, [values.length]);
const values = (tensor: Tensor | undefined): number[] => [...floats(tensor as Tensor)];
const stagedFolders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('distredge-weights-'));

/** Expects a rejection with `ENGINE_FAILED` and these facts. */
async function failure(promise: Promise<unknown>, facts: object = {}): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(DistrEdgeError);
  expect(error).toMatchObject({ code: 'ENGINE_FAILED', ...facts });
}

/** Holds the engines of `makeEngine` to the contract in `engine.ts`. */
export function describeEngineCompliance(name: string, makeEngine: (options?: EngineOptions) => Engine): void {
  describe(`${name} keeps the engine contract`, () => {
    let engine: Engine;
    /** Models on vectors of open length: a + b, −x, x as it is. */
    let add: number;
    let neg: number;

    beforeAll(async () => {
      engine = makeEngine({ threads: 1 });
      add = await engine.load({ model: vectorModel('Add', ['a', 'b'], 'sum'), weights: NO_WEIGHTS });
      neg = await engine.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS });
    });
    afterEach(() => engine.clearSlots());
    afterAll(() => engine.close());

    /** −x, from a tensor or a slot, handed back. */
    const negate = (source: { tensor: Tensor } | { slot: number }) =>
      engine.run({ model: neg, inputs: [{ name: 'x', ...source }], outputs: [{ name: 'y', fetch: true }] });

    /** Fills a slot with −x. */
    const fill = (slot: number, ...numbers: number[]) =>
      engine.run({
        model: neg,
        inputs: [{ name: 'x', tensor: x(...numbers) }],
        outputs: [{ name: 'y', slot, fetch: false }],
      });

    it('computes, for every size of an open dimension', async () => {
      for (const numbers of [[1, 2, 3], [4], [5, 6, 7, 8]]) {
        const { outputs } = await negate({ tensor: x(...numbers) });
        expect(outputs).toHaveLength(1);
        expect(outputs[0]).toMatchObject({ dtype: 'float32', shape: [numbers.length] });
        expect(values(outputs[0])).toEqual(numbers.map((value) => -value));
      }
    });

    it('names itself and tells when it computed, on the wall clock', async () => {
      expect(engine.name).toMatch(/^\S+ \d+\.\d+/);
      const before = performance.timeOrigin + performance.now();
      const { start, end } = await negate({ tensor: x(1) });
      const after = performance.timeOrigin + performance.now();
      expect(start).toBeGreaterThan(before - 5);
      expect(end).toBeGreaterThanOrEqual(start);
      expect(end).toBeLessThan(after + 5);
    });

    it.each(Object.keys(ONNX_TYPE) as (keyof typeof ONNX_TYPE)[])('carries %s tensors bit by bit', async (dtype) => {
      const model = await engine.load({ model: vectorModel('Identity', ['x'], 'y', dtype), weights: NO_WEIGHTS });
      const bytes = Uint8Array.from({ length: 3 * DTYPE_BYTES[dtype] }, (_, i) => (dtype === 'bool' ? i % 2 : i + 1));
      const tensor: Tensor = { dtype, shape: [3], data: bytes.slice() };
      const { outputs } = await engine.run({
        model,
        inputs: [{ name: 'x', tensor }],
        outputs: [{ name: 'y', fetch: true }],
      });
      expect(outputs).toEqual([{ dtype, shape: [3], data: bytes }]);
    });

    it('reads inputs that are views at any offset', async () => {
      const bytes = new Uint8Array(64);
      const data = bytes.subarray(3, 15);
      data.set(x(1, 2, 3).data);
      const { outputs } = await negate({ tensor: { dtype: 'float32', shape: [3], data } });
      expect(values(outputs[0])).toEqual([-1, -2, -3]);
      expect(bytes.byteLength).toBe(64);
    });

    it('reads two inputs that share one buffer', async () => {
      const tensor = x(1, 2);
      const inputs = [
        { name: 'a', tensor },
        { name: 'b', tensor },
      ];
      const { outputs } = await engine.run({ model: add, inputs, outputs: [{ name: 'sum', fetch: true }] });
      expect(values(outputs[0])).toEqual([2, 4]);
    });

    it('reads shared memory', async () => {
      const data = new Uint8Array(new SharedArrayBuffer(8));
      data.set(x(1, 2).data);
      expect(values((await negate({ tensor: { dtype: 'float32', shape: [2], data } })).outputs[0])).toEqual([-1, -2]);
    });

    it('takes empty tensors, again and again', async () => {
      const empty = x();
      for (let i = 0; i < 2; i++) expect((await negate({ tensor: empty })).outputs).toEqual([x()]);
    });

    it('keeps slots between calls and models', async () => {
      expect((await fill(7, 1, 2)).outputs).toEqual([]);
      for (let i = 0; i < 2; i++) {
        const { outputs } = await engine.run({
          model: add,
          inputs: [
            { name: 'b', slot: 7 },
            { name: 'a', tensor: x(10, 10) },
          ],
          outputs: [{ name: 'sum', fetch: true }],
        });
        expect(values(outputs[0])).toEqual([9, 8]);
      }
    });

    it('hands an output back and keeps it in slots, independently', async () => {
      const { outputs } = await engine.run({
        model: neg,
        inputs: [{ name: 'x', tensor: x(1, 2) }],
        outputs: [
          { name: 'y', slot: 0, fetch: true },
          { name: 'y', slot: 1, fetch: false },
        ],
      });
      outputs[0]?.data.fill(0);
      await engine.run({
        model: add,
        inputs: [
          { name: 'a', slot: 0 },
          { name: 'b', slot: 1 },
        ],
        outputs: [{ name: 'sum', fetch: false }],
        release: [0],
      });
      expect(values((await negate({ slot: 1 })).outputs[0])).toEqual([1, 2]);
      await failure(negate({ slot: 0 }));
    });

    it('overwrites a slot, also from itself', async () => {
      await fill(3, 1);
      await fill(3, 2, 3);
      await engine.run({
        model: neg,
        inputs: [{ name: 'x', slot: 3 }],
        outputs: [{ name: 'y', slot: 3, fetch: false }],
      });
      expect(values((await negate({ slot: 3 })).outputs[0])).toEqual([-2, -3]);
    });

    it('releases slots after the call that names them, and all on demand', async () => {
      await fill(1, 5);
      await fill(2, 6);
      const inputs = [{ name: 'x', slot: 1 }];
      await engine.run({ model: neg, inputs, outputs: [{ name: 'y', fetch: false }], release: [1, 99] });
      await failure(negate({ slot: 1 }), { expected: 'one of the slots 2', got: 'slot 1' });
      await engine.clearSlots();
      await failure(negate({ slot: 2 }), { expected: 'one of the slots (none is filled)' });
    });

    it('serves calls in order, without waiting for the caller', async () => {
      const waiting = [fill(0, 1), negate({ slot: 0 }), fill(0, 2), negate({ slot: 0 })];
      const cleared = engine.clearSlots();
      await failure(negate({ slot: 0 }));
      await cleared;
      const results = await Promise.all(waiting);
      expect([values(results[1]?.outputs[0]), values(results[3]?.outputs[0])]).toEqual([[1], [2]]);
    });

    describe('with fixed calls', () => {
      const f32 = (name: string, length: number, more: { slot?: number; fetch: boolean }) => ({
        name,
        dtype: 'float32' as const,
        shape: [length],
        ...more,
      });

      it('runs them in order, again and again, on whichever inputs it is told', async () => {
        const [first, second, third] = [x(1, 2), x(10, 20), x(100, 200)];
        const calls = await engine.fix([
          {
            model: neg,
            inputs: [[{ name: 'x', tensor: first }], [{ name: 'x', tensor: second }]],
            outputs: [f32('y', 2, { slot: 0, fetch: true })],
          },
          {
            model: add,
            inputs: [
              [
                { name: 'a', slot: 0 },
                { name: 'b', tensor: third },
              ],
              [
                { name: 'a', slot: 0 },
                { name: 'b', tensor: third },
              ],
            ],
            outputs: [f32('sum', 2, { fetch: true })],
            release: [0],
          },
        ]);
        for (let round = 1; round <= 3; round++) {
          for (const [set, given] of [first, second].entries()) {
            given.data.set(x(round * (set + 1), round).data);
            const { start, end } = await calls.run(0, set);
            expect(end).toBeGreaterThanOrEqual(start);
            expect(values(calls.outputs(0)[0])).toEqual([-round * (set + 1), -round]);
            await calls.run(1, set);
            expect(values(calls.outputs(1)[0])).toEqual([100 - round * (set + 1), 200 - round]);
          }
        }
        expect(values(third)).toEqual([100, 200]);
      });

      it('gives no later slot the memory of one that is still read', async () => {
        const source = x(1, 2, 3);
        const input = (slot: number) => [[{ name: 'x', slot }]];
        const keep = (slot: number) => [f32('y', 3, { slot, fetch: false })];
        const calls = await engine.fix([
          { model: neg, inputs: [[{ name: 'x', tensor: source }]], outputs: keep(0) },
          { model: neg, inputs: input(0), outputs: keep(1) },
          { model: neg, inputs: input(1), outputs: keep(2), release: [1] },
          { model: neg, inputs: input(0), outputs: keep(3), release: [0] },
          { model: neg, inputs: input(2), outputs: [f32('y', 3, { fetch: true })] },
          { model: neg, inputs: input(3), outputs: [f32('y', 3, { fetch: true })] },
        ]);
        for (let call = 0; call < 6; call++) await calls.run(call, 0);
        expect(values(calls.outputs(4)[0])).toEqual([1, 2, 3]);
        expect(values(calls.outputs(5)[0])).toEqual([-1, -2, -3]);
      });

      it('rejects where a model makes another size than was said', async () => {
        const calls = await engine.fix([
          { model: neg, inputs: [[{ name: 'x', tensor: x(1, 2) }]], outputs: [f32('y', 3, { fetch: true })] },
        ]);
        await expect(calls.run(0, 0)).rejects.toBeInstanceOf(DistrEdgeError);
      });
    });

    it('goes on after a failed call', async () => {
      await failure(negate({ slot: 5 }));
      expect(values((await negate({ tensor: x(4) })).outputs[0])).toEqual([-4]);
    });

    it('returns outputs in the order of the call', async () => {
      const model = onnxModel({
        nodes: [
          { op: 'Neg', inputs: ['x'], outputs: ['n'] },
          { op: 'Abs', inputs: ['x'], outputs: ['p'] },
        ],
        inputs: [{ name: 'x', type: 'float32', shape: [1] }],
        outputs: ['n', 'p'].map((output) => ({ name: output, type: 'float32', shape: [1] }) as const),
      });
      const handle = await engine.load({ model, weights: NO_WEIGHTS });
      for (const order of [['p', 'n'], ['n', 'p'], ['p']]) {
        const { outputs } = await engine.run({
          model: handle,
          inputs: [{ name: 'x', tensor: x(3) }],
          outputs: order.map((output) => ({ name: output, fetch: true })),
        });
        expect(outputs.map((tensor) => values(tensor))).toEqual(order.map((output) => [output === 'n' ? -3 : 3]));
      }
    });

    describe('weights outside the model', () => {
      /** y = x + w, with w of two elements at an offset of a blob. */
      const biased = (location: string, offset: number): Uint8Array =>
        onnxModel({
          nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
          inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
          outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
          weights: [{ name: 'w', shape: [2], location, offset }],
        });
      const blob = (): Uint8Array => {
        const bytes = new Uint8Array(40).subarray(5, 29);
        bytes.set(x(1, 2, 30, 40).data, 4);
        return bytes;
      };
      const inputs = () => [{ name: 'x', tensor: x(100, 200) }];
      const outputs = [{ name: 'y', fetch: true }];

      it.each(['w.bin', 'features.0/weight', '../w'])('reads them at an offset of the blob %s', async (location) => {
        const weights = new Map([[location, blob()]]);
        const [first, second] = await Promise.all(
          [4, 12].map((offset) => engine.load({ model: biased(location, offset), weights })),
        );
        // The blob stays with the caller, who may reuse it at once.
        weights.get(location)?.fill(0);
        const run = async (model: number) =>
          values((await engine.run({ model, inputs: inputs(), outputs })).outputs[0]);
        expect(await run(first as number)).toEqual([101, 202]);
        expect(await run(second as number)).toEqual([130, 240]);
      });

      it('leaves no file behind, whether loading succeeds or not', async () => {
        const before = stagedFolders();
        const weights = new Map([['w', blob()]]);
        await engine.load({ model: biased('w', 0), weights });
        await failure(engine.load({ model: biased('w', 20), weights }), {
          got: expect.stringContaining('out of bounds'),
        });
        await failure(engine.load({ model: new Uint8Array([1, 2, 3]), weights }));
        // Other test files may stage weights meanwhile, so only ours count: those that stay.
        await expect.poll(() => stagedFolders().filter((folder) => !before.includes(folder))).toEqual([]);
      });

      it.each(['missing', 'package.json', '../package.json', '/etc/hostname'])(
        'reads no file: %s',
        async (location) => {
          for (const weights of [NO_WEIGHTS, new Map([['w', blob()]])]) {
            await failure(engine.load({ model: biased(location, 0), weights }));
          }
        },
      );
    });

    describe('models of one key', () => {
      const outputs = [{ name: 'y', fetch: true }];
      const nothing = { model: new Uint8Array([1, 2, 3]), weights: NO_WEIGHTS };
      const run = async (engine: Engine, model: number) =>
        values((await engine.run({ model, inputs: [{ name: 'x', tensor: x(3) }], outputs })).outputs[0]);

      it('are loaded once, and outlive the engine that loaded them', async () => {
        const key = randomUUID();
        const first = makeEngine();
        const model = await first.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS, key });
        const second = makeEngine();
        // What it is given is not even looked at.
        const same = await second.load({ ...nothing, key });
        expect(await run(second, same)).toEqual([-3]);
        await first.close();
        expect(await run(second, same)).toEqual([-3]);
        await second.close();
        const third = makeEngine();
        const again = await third.load({ ...nothing, key });
        expect(await run(third, again)).toEqual([-3]);
        await third.unload(again);
        await failure(run(third, again), { message: 'no such model is loaded' });
        await failure(run(third, model + 1000));
        await third.close();
      });

      it('are loaded anew where threads differ, the key does, or there is none', async () => {
        const key = randomUUID();
        const first = makeEngine();
        await first.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS, key });
        const second = makeEngine({ threads: 2 });
        await failure(second.load({ ...nothing, key }));
        await failure(first.load({ ...nothing, key: randomUUID() }));
        await failure(first.load(nothing));
        await Promise.all([first.close(), second.close()]);
      });
    });

    describe('models whose runs all have the same shapes', () => {
      const model = vectorModel('Neg', ['x'], 'y');
      const outputs = [{ name: 'y', fetch: true }];
      const negated = async (handle: number, ...numbers: number[]): Promise<number[]> => {
        const run = { model: handle, inputs: [{ name: 'x', tensor: x(...numbers) }], outputs };
        return values((await engine.run(run)).outputs[0]);
      };

      it('compute those, and no others wrongly', async () => {
        const only = await engine.load({ model, weights: NO_WEIGHTS, shapes: { x: [2] }, everyRun: true });
        expect(await negated(only, 1, 2)).toEqual([-1, -2]);
        const other = await negated(only, 1, 2, 3).catch((error: unknown) => error);
        if (other instanceof Error) expect(other).toMatchObject({ code: 'ENGINE_FAILED' });
        else expect(other).toEqual([-1, -2, -3]);
        expect(await negated(only, 3, 4)).toEqual([-3, -4]);
        await engine.unload(only);
      });

      it('do not stand in for models of their key that have others', async () => {
        const key = randomUUID();
        const loaded = [];
        for (const shapes of [{ x: [2] }, { x: [3] }])
          loaded.push(await engine.load({ model, weights: NO_WEIGHTS, key, shapes, everyRun: true }));
        loaded.push(await engine.load({ model, weights: NO_WEIGHTS, key, shapes: { x: [3] } }));
        const [two, three, any] = loaded as [number, number, number];
        expect(await negated(two, 1, 2)).toEqual([-1, -2]);
        expect(await negated(three, 1, 2, 3)).toEqual([-1, -2, -3]);
        expect(await negated(any, 1)).toEqual([-1]);
        for (const handle of loaded) await engine.unload(handle);
      });

      it('are computed as they are where the shapes are none that they take', async () => {
        for (const shapes of [{ x: [2, 2] }, {}]) {
          const handle = await engine.load({ model, weights: NO_WEIGHTS, shapes, everyRun: true });
          expect(await negated(handle, 1)).toEqual([-1]);
          await engine.unload(handle);
        }
      });
    });

    describe('weights in a file', () => {
      it('are read from there; the file may go once they are loaded, and is not changed', async () => {
        const folder = mkdtempSync(join(tmpdir(), 'engine-compliance-'));
        try {
          const path = join(folder, 'blob');
          writeFileSync(path, x(7, 8).data);
          const handles: number[] = [];
          // The second is no file name.
          for (const location of ['w', 'a/b']) {
            const model = onnxModel({
              nodes: [{ op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }],
              inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
              outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
              weights: [{ name: 'w', shape: [2], location, offset: 0 }],
            });
            handles.push(await engine.load({ model, weights: new Map([[location, { path, bytes: 8 }]]) }));
          }
          expect(readdirSync(folder)).toEqual(['blob']);
          expect([...readFileSync(path)]).toEqual([...x(7, 8).data]);
          rmSync(path);
          for (const model of handles) {
            const inputs = [{ name: 'x', tensor: x(1, 2) }];
            const result = await engine.run({ model, inputs, outputs: [{ name: 'y', fetch: true }] });
            expect(values(result.outputs[0])).toEqual([8, 10]);
          }
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      });
    });

    describe('refuses', () => {
      const outputs = [{ name: 'y', fetch: true }];

      it('bytes that are no model, in the own words of the engine', async () => {
        const model = new TextEncoder().encode('no model');
        await failure(engine.load({ model, weights: NO_WEIGHTS }), {
          where: 'model of 8 bytes',
          got: expect.stringMatching(/protobuf/i),
        });
      });

      it('a model that is unknown or unloaded', async () => {
        const model = await engine.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS });
        await engine.unload(model);
        const facts = { where: `model ${model}`, expected: expect.stringMatching(/^one of \d+(, \d+)+$/) };
        await failure(engine.run({ model, inputs: [{ name: 'x', tensor: x(1) }], outputs }), facts);
        await failure(engine.unload(model), facts);
        await failure(engine.unload(-1), { where: 'model -1' });
      });

      it('inputs that the model does not have, and too few', async () => {
        const given = (name: string) => ({ name, tensor: x(1) });
        await failure(engine.run({ model: add, inputs: [given('x')], outputs }), { expected: 'a, b', got: 'x' });
        await failure(engine.run({ model: neg, inputs: [given('x'), given('z')], outputs }), { got: 'x, z' });
        await failure(engine.run({ model: neg, inputs: [], outputs }), { expected: 'x', got: '' });
      });

      it('outputs that the model does not have, and none', async () => {
        const inputs = [{ name: 'x', tensor: x(1) }];
        const call = { model: neg, inputs, outputs: [{ name: 'q', fetch: true }] };
        await failure(engine.run(call), { expected: 'some of y', got: 'q' });
        await failure(engine.run({ ...call, inputs: [{ name: 'x', tensor: x(1) }], outputs: [] }), { got: 'none' });
      });

      it('an input of another type, with the words of the engine', async () => {
        const where = `model ${neg}`;
        await failure(negate({ tensor: intTensor([1]) }), { where, got: expect.stringMatching(/int64/) });
      });

      it('an input of the wrong rank', async () => {
        await failure(negate({ tensor: floatTensor([1], [1, 1]) }), { got: expect.stringMatching(/rank/i) });
      });

      it('an input whose bytes do not fit its shape', async () => {
        await failure(negate({ tensor: { ...x(1, 2), shape: [3] } }), {
          where: `model ${neg}, input x`,
          expected: '12 bytes for float32[3]',
          got: '8 bytes',
        });
      });

      it('an input that was moved away', async () => {
        const tensor = x(1);
        structuredClone(tensor.data, { transfer: [tensor.data.buffer as ArrayBuffer] });
        await failure(negate({ tensor }), { got: '0 bytes' });
      });

      it.each(['bfloat16', 'complex64'])('an input of type %s, which it cannot carry', async (dtype) => {
        const tensor = { dtype: dtype as DataType, shape: [1], data: new Uint8Array(2) };
        await failure(negate({ tensor }), { got: dtype });
      });

      it('everything after close, which waits for what was asked before', async () => {
        const closed = makeEngine();
        const model = await closed.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS });
        const run = () => closed.run({ model, inputs: [{ name: 'x', tensor: x(1) }], outputs });
        const running = run();
        const closing = closed.close();
        await failure(run(), { message: 'the engine is closed' });
        expect(values((await running).outputs[0])).toEqual([-1]);
        await closing;
        await closed.close();
        for (const call of [
          closed.load({ model: vectorModel('Neg', ['x'], 'y'), weights: NO_WEIGHTS }),
          closed.unload(model),
          closed.clearSlots(),
        ]) {
          await failure(call, { message: 'the engine is closed' });
        }
      });
    });

    it.each([0, -1, 1.5, Number.NaN])('refuses %d threads', (threads) => {
      expect(() => makeEngine({ threads })).toThrow(expect.objectContaining({ code: 'USAGE' }));
    });
  });
}
