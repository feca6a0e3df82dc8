/**
 * A device of the testbed: the product's provider on an address of its own namespace, which nobody outside the testbed can
 * reach; hence without encryption. Its engine computes truly, and then waits for the device's time where it is paced.
 */
import { DistrEdgeError } from '@distredge/core';
import {
  createOrtEngine,
  createOrtEngineFor,
  createPacedEngine,
  createTcpTransport,
  engineName,
  startProvider,
} from '@distredge/runtime';
import { Station } from './access-point.js';
import { addressOf } from './namespaces.js';
import type { Lateness, Order } from './orders.js';
import { hurry, serve, settings } from './serve.js';
import { testbedTransport } from './transport.js';

const { member, accessPoint, paced } = settings();
let pace: Extract<Order, { kind: 'pace' }> = { kind: 'pace', stepMs: {}, latencyMs: [], reuse: false };
let dilation = 0;
let lateness: Lateness = { times: 0, worstMs: 0 };

const station = accessPoint === undefined ? undefined : await Station.open(accessPoint);
const provider = await startProvider({
  transport: testbedTransport(createTcpTransport(), {
    self: member,
    station,
    latencyMs: (from) => dilation * (pace.latencyMs[from] ?? 0),
  }),
  listen: `${addressOf(member)}:0`,
  engineName: paced ? `${engineName()}, paced` : engineName(),
  // Plans of a changing network are prepared beforehand, all at once.
  maxJobs: 64,
  createEngine: (program) => {
    if (!paced) return createOrtEngineFor(program);
    return createPacedEngine(createOrtEngine(), {
      stepMs: program.steps.map(({ step }) => {
        const ms = pace.stepMs[step];
        if (ms !== undefined) return ms;
        throw new DistrEdgeError('INTERNAL', 'nobody said how long a step takes', { where: `step ${step}` });
      }),
      dilation: () => dilation,
      reuse: pace.reuse,
      late: (_, ms) => {
        lateness = { times: lateness.times + 1, worstMs: Math.max(lateness.worstMs, ms) };
      },
    });
  },
});

serve(provider.address, (order) => {
  if (order.kind === 'pace') pace = order;
  if (order.kind === 'dilate') {
    dilation = order.dilation;
    hurry(dilation > 0);
  }
  if (order.kind !== 'lateness') return undefined;
  const told = lateness;
  lateness = { times: 0, worstMs: 0 };
  return told;
});
