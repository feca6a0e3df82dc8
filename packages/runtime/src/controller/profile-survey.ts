/** Has every device that joins measure the model, once for each of its sessions, and then the links that it brings along. */
import { PROFILE_MS } from '../profile/measure.js';
import type { Context } from './context.js';
import { type DeviceRecord, isOnline, onlineDevices } from './registry.js';
import type { ServedModel } from './task.js';

/** On top of what an order is given to do. */
const ORDER_SLACK_MS = 60_000;

export class ProfileSurvey {
  readonly #context: Context;
  /** Called after each device that has measured the model. Never rejects. */
  readonly #measured: () => Promise<void>;
  readonly #busy = new Set<string>();
  /** Devices that could not measure the model, by their session. */
  readonly #unmeasured = new Map<string, string>();

  constructor(context: Context, measured: () => Promise<void>) {
    this.#context = context;
    this.#measured = measured;
  }

  /** Whether a device is being measured, or what follows from that is under way. */
  isBusy(id: string): boolean {
    return this.#busy.has(id);
  }

  /** Has devices measure the model that have not yet, all at once. */
  look(): void {
    const { model, closed } = this.#context;
    if (model === undefined || closed) return;
    for (const device of this.#newDevices(model)) {
      this.#busy.add(device.id);
      void this.#measure(model, device).finally(() => {
        this.#busy.delete(device.id);
        // It may be back already from wherever it went meanwhile.
        this.look();
        this.#context.wake();
      });
    }
  }

  #newDevices({ hash }: ServedModel): DeviceRecord[] {
    return onlineDevices(this.#context.registry).filter(
      ({ id, profiles, announcement }) =>
        !profiles.has(hash) && !this.#busy.has(id) && this.#unmeasured.get(id) !== announcement.session,
    );
  }

  /** Never rejects. */
  async #measure({ hash }: ServedModel, { id, announcement }: DeviceRecord): Promise<void> {
    const { directory, options } = this.#context;
    const { profileMs = PROFILE_MS } = options;
    try {
      const order = { kind: 'profile', hash, budgetMs: profileMs } as const;
      await directory.order(id, order, profileMs * 4 + ORDER_SLACK_MS);
    } catch (error) {
      const there = this.#context.registry.devices.get(id);
      // A device that is gone meanwhile is asked again when it is back; what one cannot measure it is not asked again for.
      if (there !== undefined && isOnline(there) && announcement !== undefined)
        this.#unmeasured.set(id, announcement.session);
      this.#context.problem(error);
      return;
    }
    await this.#measured();
  }
}
