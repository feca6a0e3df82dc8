/**
 * A stream of images while providers are stopped for moments, too short for them to be lost: what an image takes, where late
 * ones are begun again elsewhere and where they are waited for.
 */
import { analyse, compile, planByRule } from '@distredge/core';
import { connectResilient, createTcpTransport, type Turn } from '@distredge/runtime';
import { HurtProvider, sleep, Work } from './_fault-cluster.js';
import { seeded } from './_seeded.js';

export interface FreezeOptions {
  readonly providers: number;
  readonly images: number;
  /** From one freeze to the next, in ms, on average. */
  readonly everyMs: number;
  /** How long each lasts, in ms, on average. */
  readonly lastsMs: number;
  readonly seed: number;
}

export interface FreezeReport {
  /** What each image took, in ms. */
  readonly ms: readonly number[];
  readonly wrong: number;
  readonly freezes: number;
  /** Images that were begun again, and those of them that were done elsewhere first. */
  readonly late: number;
  readonly overtaken: number;
  /** Providers that were lost. */
  readonly lost: number;
}

/** No provider is lost for being silent as long as these freezes last, in ms. */
const SILENCE_MS = 30_000;

/** Streams the same images twice, once with either policy, two hundred of each at a time, so that both see the same machine. */
export async function runFreezes(options: FreezeOptions): Promise<{ waits: FreezeReport; overtakes: FreezeReport }> {
  const { images, seed } = options;
  const work = await Work.create(seed);
  const analysis = analyse(work.graph);
  const providers = Array.from({ length: options.providers }, () => new HurtProvider());
  const weights = providers.map(() => 1);
  const program = compile(work.graph, planByRule(analysis, { volumes: 3, weights }), analysis);
  await Promise.all(providers.map((provider) => provider.start()));
  const contestant = async (overtake: boolean) => {
    const report = { ms: [] as number[], wrong: 0, freezes: 0, late: 0, overtaken: 0, lost: 0 };
    const cluster = await connectResilient({
      transport: createTcpTransport(),
      addresses: providers.map(({ address }) => address),
      silenceMs: SILENCE_MS,
      overtake,
      programsFor: (devices) => [{ program, devices }],
      whole: async (inputs) => ({ ...(await work.whole.run(inputs)).outputs }),
      report: (turn: Turn) => {
        if (turn.type === 'late') report.late += 1;
        if (turn.type === 'raced' && turn.by === 'second') report.overtaken += 1;
        if (turn.type === 'lost') report.lost += 1;
      },
    });
    return { report, cluster, random: seeded(seed) };
  };
  const both = [await contestant(false), await contestant(true)];
  try {
    for (let from = 0; from < images; from += BATCH) {
      for (const { report, cluster, random } of both) {
        const batch = { over: false };
        const freezing = freeze(providers, options, random, batch);
        for (let index = from; index < Math.min(images, from + BATCH); index++) {
          const started = performance.now();
          const outputs = await cluster.infer(work.images[index % work.images.length]?.inputs ?? {});
          report.ms.push(performance.now() - started);
          if (!work.right(index, outputs)) report.wrong += 1;
          // As from a camera: what is late holds up itself only.
          await sleep(2);
        }
        batch.over = true;
        report.freezes += await freezing;
      }
    }
  } finally {
    for (const { cluster } of both) await cluster.close();
    await Promise.all(providers.map((provider) => provider.close()));
    await work.whole.close();
  }
  const [waits, overtakes] = both as [(typeof both)[0], (typeof both)[0]];
  return { waits: waits.report, overtakes: overtakes.report };
}

/** Images of one policy before it is the other one's turn. */
const BATCH = 200;

/** Stops one provider after another for a moment until the batch is over; resolves to how often. */
async function freeze(
  providers: readonly HurtProvider[],
  { everyMs, lastsMs }: FreezeOptions,
  random: () => number,
  batch: { readonly over: boolean },
): Promise<number> {
  for (let count = 0; ; count++) {
    const end = performance.now() + everyMs * (0.5 + random());
    while (performance.now() < end && !batch.over) await sleep(5);
    if (batch.over) return count;
    const provider = providers[Math.floor(random() * providers.length)] as HurtProvider;
    provider.freeze();
    await sleep(lastsMs * (0.5 + random()));
    provider.thaw();
  }
}
