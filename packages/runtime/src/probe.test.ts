/** Whether a provider is there: good ones, silent ones, others, and none. */
import { describe, expect, it } from 'vitest';
import { engineOf, RawEnd, smallProgram, until } from './fixtures.js';
import type { Link } from './link/link.js';
import { createMemoryTransport } from './link/memory.js';
import { answers } from './probe.js';
import type { Control } from './protocol.js';
import { startProvider } from './provider.js';

/** Something that answers with these words to whatever it hears. */
async function stranger(...words: readonly Control[]) {
  const transport = createMemoryTransport();
  const ends: RawEnd[] = [];
  await transport.listen('p', (link: Link) => {
    const end = new RawEnd();
    ends.push(end);
    const handlers = end.handlers(link);
    return {
      ...handlers,
      frame(frame) {
        handlers.frame(frame);
        for (const word of words) void end.say(word).catch(() => undefined);
      },
    };
  });
  return { transport, ends };
}

describe('a probe', () => {
  it('finds a provider, again and again, and leaves no link behind', async () => {
    const transport = createMemoryTransport();
    const program = smallProgram(1);
    const log: string[] = [];
    const provider = await startProvider({
      transport,
      listen: 'p',
      engineName: 'fake',
      createEngine: () => engineOf(program, 0),
      log: (line) => log.push(line),
    });
    for (let times = 0; times < 20; times++) expect(await answers(transport, 'p', 20_000)).toBe(true);
    await provider.close();
    expect(await answers(transport, 'p', 20_000)).toBe(false);
    expect(log).toEqual([]);
  });

  it('takes silence for absence, and hangs up', async () => {
    const { transport, ends } = await stranger();
    expect(await answers(transport, 'p', 30)).toBe(false);
    await until(() => ends[0]?.closed !== undefined);
  });

  it.each<[string, Control]>([
    ['another version', { type: 'welcome', version: 99, engine: 'e', pid: 1 }],
    ['other words', { type: 'ready', residentBytes: 1 }],
    ['a refusal', { type: 'failed', error: { code: 'PROTOCOL', message: 'no' } }],
  ])('takes %s for absence', async (_, word) => {
    const { transport, ends } = await stranger(word);
    expect(await answers(transport, 'p', 20_000)).toBe(false);
    await until(() => ends[0]?.closed !== undefined);
  });
});
