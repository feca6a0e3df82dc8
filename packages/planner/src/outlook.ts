/**
 * What a network may be like by the time a plan runs on it. Rates are measured, then a plan is made, then images come: a plan
 * that fits the measured rates to the last row loses more than it gained when they move on. So plans are judged by their mean
 * over the rates measured and the same rates changed once more as they changed before: the changes seen of late, as ratios.
 * Where nothing has changed, that is the measured network alone.
 */
import { type Network, type NetworkLink, type PlanSimulator, simulator } from '@distredge/core';

/** Changes remembered: as many networks more to judge every plan by. */
const CHANGES = 2;
/** A rate that changes by more than this factor has jumped, to stay there: that is not expected to happen again. */
const JUMP = 2;

export class Outlook {
  #rates: readonly number[];
  /** Ratios of every device's rate to the one before, the requester's last; the latest change first. */
  #changes: (readonly number[])[] = [];

  readonly #count: number;

  /** @param changes how many earlier changes to expect once more */
  constructor(network: Network, changes: number = CHANGES) {
    this.#rates = ratesOf(network);
    this.#count = changes;
  }

  /** The network as it was measured now, then as it may become. */
  after(network: Network): Network[] {
    const rates = ratesOf(network);
    const change = rates.map((mbps, link) => {
      const ratio = mbps / (this.#rates[link] as number);
      return ratio > JUMP || ratio < 1 / JUMP ? 1 : ratio;
    });
    if (change.some((ratio) => ratio !== 1)) this.#changes = [change, ...this.#changes].slice(0, this.#count);
    this.#rates = rates;
    return [network, ...this.#changes.map((ratios) => changed(network, ratios))];
  }
}

function ratesOf({ devices, requester }: Network): number[] {
  return [...devices, requester].map(({ mbps }) => mbps);
}

function changed({ medium, requester, devices }: Network, ratios: readonly number[]): Network {
  const by = (link: NetworkLink, ratio: number | undefined): NetworkLink => ({
    ...link,
    mbps: link.mbps * (ratio ?? 1),
  });
  return {
    medium,
    requester: by(requester, ratios[devices.length]),
    devices: devices.map((link, device) => by(link, ratios[device])),
  };
}

/**
 * Judges a plan by its mean images per second over several networks, given as a latency; events and loads are those on the
 * first one.
 * @param like simulates the first network; what it remembers is used for the others
 */
export function expected(like: PlanSimulator, networks: readonly Network[]): PlanSimulator {
  if (networks.length <= 1) return like;
  const { task } = like;
  const all = [like, ...networks.slice(1).map((network) => simulator({ ...task, network }, like))];
  return {
    task,
    latency: (plan) => all.length / all.reduce((ips, one) => ips + 1 / one.latency(plan), 0),
    loads: (plan) => like.loads(plan),
    run: (plan) => like.run(plan),
    keep: (plan) => {
      for (const one of all) one.keep?.(plan);
    },
  };
}
