import { expect, it } from 'vitest';
import { INPUT, smallProgram } from './fixtures.js';
import { OpenImage } from './open-image.js';
import { now, type Progressed } from './protocol.js';
import { progressOf, traceOf } from './run-timeline.js';

const told = (request: number, at: number): Progressed => ({
  type: 'progressed',
  request,
  at,
  steps: [{ step: 0, waitFrom: at - 5, start: at - 4, end: at - 1 }],
  messages: [{ message: 1, arrived: at - 4 }],
  arriving: [{ message: 2, bytes: 100 }],
});

it('an image under way is told of by those who have opened it; the others tell of the one before', () => {
  const image = new OpenImage(7, smallProgram(2), { x: INPUT }, [3]);
  const at = image.started + 20;
  const progress = progressOf(image, [
    { device: 0, told: told(7, at), arriving: undefined },
    { device: 1, told: told(6, at), arriving: undefined },
    { device: 2, told: undefined, arriving: undefined },
  ]);
  expect(progress.steps).toEqual([{ step: 0, waitFrom: 15, start: 16, end: 19 }]);
  expect(progress.messages).toEqual([{ message: 1, arrived: 16 }]);
  expect(progress.arriving).toEqual([{ message: 2, bytes: 100 }]);
  expect([...progress.at]).toEqual([
    [0, 20],
    [1, 20],
  ]);
  expect(progress.elapsedMs).toBeLessThanOrEqual(now() - image.started);
});

it('times of a done image count from when it was handed in, and devices without work tell nothing', () => {
  const last = { started: 1000, totalMs: 50, arrivals: [{ message: 4, arrived: 1049 }] };
  const { type: _, at: __, arriving: ___, ...traced } = told(1, 1030);
  const trace = traceOf(last, [{ device: 1, told: { ...traced, type: 'traced', residentBytes: 9 } }], 3);
  expect(trace).toEqual({
    totalMs: 50,
    steps: [{ step: 0, waitFrom: 25, start: 26, end: 29 }],
    messages: [
      { message: 1, arrived: 26 },
      { message: 4, arrived: 49 },
    ],
    residentBytes: [undefined, 9, undefined],
  });
});
