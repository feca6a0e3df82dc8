/** A provider with a fake engine, in memory, and requesters that speak for themselves. Only tests import it. */
import type { Program } from '@distredge/core';
import {
  dialRaw,
  engineOf,
  type FakeEngine,
  HELLO,
  type Mischief,
  prepareMessage,
  type RawEnd,
  sendBlobs,
} from './fixtures.js';
import { FrameKind, type Transport } from './link/link.js';
import { createMemoryTransport } from './link/memory.js';
import { BEGIN_CHANNEL } from './protocol.js';
import { type Provider, type ProviderOptions, startProvider } from './provider.js';

export interface Scene {
  readonly provider: Provider;
  readonly transport: Transport;
  readonly engines: FakeEngine[];
  readonly log: string[];
  dial(): Promise<RawEnd>;
  /** A requester whose program is loaded; ready where it needs no peer. */
  prepared(): Promise<RawEnd>;
}

export async function scene(
  program: Program,
  options: Partial<ProviderOptions> & { device?: number; mischief?: Mischief } = {},
): Promise<Scene> {
  const { device = 0, mischief, ...more } = options;
  const transport = createMemoryTransport();
  const engines: FakeEngine[] = [];
  const log: string[] = [];
  const provider = await startProvider({
    transport,
    listen: 'p',
    engineName: 'fake',
    createEngine: () => {
      const engine = engineOf(program, device, mischief);
      engines.push(engine);
      return engine;
    },
    log: (line) => log.push(line),
    ...more,
  });
  const dial = (): Promise<RawEnd> => dialRaw(transport, 'p');
  const prepared = async (): Promise<RawEnd> => {
    const end = await dial();
    await end.say(HELLO);
    await end.hears('welcome');
    await end.say(prepareMessage(program, device, program.plan.devices === 1 ? ['p'] : ['p', 'q']));
    await sendBlobs(end, program, device);
    return end;
  };
  return { provider, transport, engines, log, dial, prepared };
}

/** The messages from the requester to the device, by number, with their sizes. */
export const given = (program: Program): [number, number][] =>
  program.messages.flatMap(({ from, bytes }, index): [number, number][] => (from === -1 ? [[index, bytes]] : []));

export async function begin(end: RawEnd, program: Program, request: number): Promise<void> {
  await end.send(FrameKind.data, request, BEGIN_CHANNEL, 0);
  for (const [channel, bytes] of given(program)) await end.send(FrameKind.data, request, channel, bytes);
}
