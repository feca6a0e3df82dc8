/** A stream of images over local providers while they are killed, frozen and cut off at random moments. */
import { analyse, compile, type Program, planByRule } from '@distredge/core';
import { connectResilient, createTcpTransport, type Turn } from '@distredge/runtime';
import { HurtProvider, sleep, Work } from './_fault-cluster.js';
import { seeded } from './_seeded.js';

type Kind = 'kill' | 'freeze' | 'cut';

export interface FaultOptions {
  readonly providers: number;
  readonly faults: number;
  readonly seed: number;
  readonly inFlight: number;
  readonly kinds?: readonly Kind[];
  /** A provider that does not answer for so long is lost, in ms. */
  readonly silenceMs?: number;
  readonly log?: (line: string) => void;
}

interface Fault {
  readonly kind: Kind;
  readonly device: number;
  /** From the fault until it was noticed, in ms. */
  readonly detectMs: number;
  /** From when it was noticed until the next image was done, in ms. */
  readonly recoverMs: number;
}

export interface FaultReport {
  readonly images: number;
  readonly wrong: number;
  readonly outOfOrder: number;
  readonly whole: number;
  readonly faults: readonly Fault[];
}

/** No wait of a run may take longer, in ms: then it hangs. */
const HANGS_MS = 60_000;

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + HANGS_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`hung: ${what}`);
    await sleep(2);
  }
}

/** Runs a stream until so many faults have happened and been recovered from. Rejects where anything hangs. */
export async function runFaults(options: FaultOptions): Promise<FaultReport> {
  const { kinds = ['kill', 'freeze', 'cut'], log = () => undefined } = options;
  const random = seeded(options.seed);
  const work = await Work.create(options.seed);
  const analysis = analyse(work.graph);
  const programs = Array.from({ length: options.providers }, (_, index): Program => {
    const weights = new Array<number>(index + 1).fill(1);
    return compile(work.graph, planByRule(analysis, { volumes: 3, weights }), analysis);
  });
  const providers = Array.from({ length: options.providers }, () => new HurtProvider());
  const turns: { readonly turn: Turn; readonly at: number }[] = [];
  const done: number[] = [];
  let [wrong, outOfOrder, over] = [0, 0, false];
  await Promise.all(providers.map((provider) => provider.start()));
  const cluster = await connectResilient({
    transport: createTcpTransport(),
    addresses: providers.map(({ address }) => address),
    inFlight: options.inFlight,
    silenceMs: options.silenceMs ?? 1200,
    retryMs: 50,
    programsFor: (devices) => [{ program: programs[devices.length - 1] as Program, devices }],
    whole: async (inputs) => ({ ...(await work.whole.run(inputs)).outputs }),
    report: (turn) => {
      turns.push({ turn, at: performance.now() });
      log(turn.type === 'lost' ? `lost ${turn.devices}: ${turn.error.message}` : JSON.stringify(turn));
    },
  });

  async function* images() {
    for (let index = 0; !over; index++) yield work.images[index % work.images.length]?.inputs ?? {};
  }
  const stream = (async () => {
    for await (const { index, outputs } of cluster.stream(images())) {
      if (index !== done.length) outOfOrder += 1;
      if (!work.right(index, outputs)) wrong += 1;
      done.push(performance.now());
    }
  })();
  let broken: unknown;
  stream.catch((error: unknown) => {
    broken = error;
  });

  const hurt = async (): Promise<Fault> => {
    await until(() => cluster.devices.length === options.providers, 'the return of all devices');
    const [imagesFirst, more] = [done.length + Math.floor(random() * 6), random() * 12];
    await until(() => done.length >= imagesFirst, 'images before a fault');
    await sleep(more);
    const device = Math.floor(random() * options.providers);
    const kind = kinds[Math.floor(random() * kinds.length)] as Kind;
    const provider = providers[device] as HurtProvider;
    const [seen, at] = [turns.length, performance.now()];
    log(`${kind} ${device}`);
    if (kind === 'kill') void provider.kill();
    else if (kind === 'freeze') provider.freeze();
    else provider.cut();
    const isLoss = ({ turn }: (typeof turns)[number]): boolean => turn.type === 'lost';
    await until(() => turns.slice(seen).some(isLoss) || broken !== undefined, `notice of ${kind}`);
    if (broken !== undefined) throw broken;
    const noticed = turns.slice(seen).find(isLoss)?.at ?? at;
    await until(() => (done.at(-1) ?? 0) > noticed, `an image after ${kind}`);
    const next = done.find((time) => time > noticed) ?? Number.NaN;
    if (kind === 'kill') await provider.start();
    else if (kind === 'freeze') provider.thaw();
    else provider.mend();
    return { kind, device, detectMs: noticed - at, recoverMs: next - noticed };
  };
  const faults: Fault[] = [];
  try {
    for (let index = 0; index < options.faults; index++) faults.push(await hurt());
    await until(() => cluster.devices.length === options.providers, 'the return of all devices');
    over = true;
    await stream;
  } finally {
    over = true;
    await cluster.close();
    await Promise.all(providers.map((provider) => provider.close()));
    await work.whole.close();
  }
  const whole = turns.filter(({ turn }) => turn.type === 'whole').length;
  return { images: done.length, wrong, outOfOrder, whole, faults };
}
