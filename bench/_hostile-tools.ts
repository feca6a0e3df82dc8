/** What attacks are made of: seeded mutations of bytes and JSON, counts of what came of them, and campaigns that watch memory. */
import { sleep } from './_fault-cluster.js';
import { seeded } from './_seeded.js';

/** A connection that is not over, or a question that is not answered, after this long hangs. */
export const HUNG_MS = 60_000;

/** Counts things by name. */
export class Tally {
  readonly counts: Map<string, number> = new Map();

  add(name: string, times = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times);
  }

  print(): void {
    const rows = [...this.counts].sort(([, a], [, b]) => b - a);
    for (const [name, count] of rows.slice(0, 16)) console.log(`  ${String(count).padStart(8)}  ${name}`);
    const rest = rows.slice(16).reduce((sum, [, count]) => sum + count, 0);
    if (rest > 0) console.log(`  ${String(rest).padStart(8)}  others, of ${rows.length - 16} kinds`);
  }
}

/** What stands in another's place: numbers out of range, other types, long texts, names that objects have by birth. */
const ODD: readonly unknown[] = [
  -1,
  0,
  1e9,
  1e300,
  0.5,
  null,
  '',
  'x'.repeat(10_000),
  [],
  {},
  [[[]]],
  true,
  Number.MAX_SAFE_INTEGER,
  '__proto__',
  '../../etc/passwd',
  '\u0000\u001b[2J',
];

/** Seeded choices, and what they make of sound input. */
export class Mutator {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  /** A whole number from 0, below `limit`. */
  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** `bytes` with one to three things wrong. */
  bytes(bytes: Uint8Array): Buffer {
    let copy = Buffer.from(bytes);
    for (let count = 1 + this.below(3); count > 0 && copy.length > 0; count--) {
      const at = this.below(copy.length);
      switch (this.below(6)) {
        case 0:
          copy[at] = this.below(256);
          break;
        case 1:
          copy = copy.subarray(0, at);
          break;
        case 2:
          copy = Buffer.concat([copy.subarray(0, at), Buffer.from([this.below(256)]), copy.subarray(at)]);
          break;
        case 3:
          copy = Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(copy.length, at + 1 + this.below(64)))]);
          break;
        case 4:
          copy = Buffer.concat([copy.subarray(0, Math.min(copy.length, 4096)), copy.subarray(at)]);
          break;
        default:
          if (copy.length >= 4) copy.writeUInt32LE(this.below(2 ** 32), Math.min(at, copy.length - 4));
      }
    }
    return copy;
  }

  /** A JSON message with one value, or one field, put in another's place. `message` is left as it was. */
  json(message: object): Buffer {
    let place = message as Record<string, unknown>;
    for (let depth = this.below(6); ; depth--) {
      const keys = Object.keys(place);
      const key = keys[this.below(keys.length)] ?? 'x';
      const inner = place[key];
      if (depth > 0 && typeof inner === 'object' && inner !== null && Object.keys(inner).length > 0) {
        place = inner as Record<string, unknown>;
        continue;
      }
      const had = Object.hasOwn(place, key);
      const name = this.below(8) === 0 ? '__proto__x' : key;
      const before = place[name];
      const gone = had && this.below(4) === 0;
      if (gone) delete place[key];
      else place[name] = this.one(ODD);
      const bytes = Buffer.from(JSON.stringify(message));
      // Put back, rather than copied before: a program is large.
      if (gone) place[key] = inner;
      else if (name === key && had) place[key] = before;
      else delete place[name];
      return bytes;
    }
  }
}

/** Resident memory in MB, after a collection where there is one to ask for. */
function resident(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage.rss() / 1e6;
}

/** What went wrong, for the verdict. */
export const failures: string[] = [];

/**
 * The least memory in the last fifth of a campaign may be a quarter and this, in MB, above the least in its second fifth. The least, since
 * a thread that plans has up to 200 MB of young objects, more or less of them at any moment; what attacks leave behind raises the least too.
 */
const GROWTH_MB = 100;
/** Memory is looked at so often in a campaign. */
const LOOKS = 50;

/**
 * Runs `count` attacks, `width` at a time, and says what came of them and of the memory. `attack` resolves to how many it was;
 * none where it could do nothing. `now` and then `look` is called, whose failures count.
 */
export async function campaign(
  name: string,
  count: number,
  said: Tally,
  width: number,
  attack: () => Promise<number>,
): Promise<void> {
  if (count <= 0) return;
  let done = 0;
  let begun = 0;
  let [early, late, most] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
  let looks = 0;
  const look = (): void => {
    const now = resident();
    looks += 1;
    if (looks > LOOKS / 5 && looks <= (2 * LOOKS) / 5) early = Math.min(early, now);
    if (looks > (4 * LOOKS) / 5) late = Math.min(late, now);
    most = Math.max(most, now);
  };
  let lastSaid = performance.now();
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      const more = await attack();
      begun += more - 1;
      done += more;
      while (done > ((looks + 1) * count) / LOOKS) look();
      if (performance.now() - lastSaid > 5000) {
        lastSaid = performance.now();
        process.stderr.write(`${name}: ${done} of ${count}, ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB\n`);
      }
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  await sleep(200);
  const seconds = (performance.now() - started) / 1000;
  while (looks < LOOKS) look();
  console.log(
    `\n${name}: ${done} in ${seconds.toFixed(0)} s; resident ${early.toFixed(0)} MB at least in the second fifth, ${late.toFixed(0)} MB in the last, ${most.toFixed(0)} MB at most`,
  );
  said.print();
  if (late > early * 1.25 + GROWTH_MB)
    failures.push(`${name}: memory grew from ${early.toFixed(0)} to ${late.toFixed(0)} MB`);
}
