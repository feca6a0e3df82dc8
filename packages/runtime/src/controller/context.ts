/** What the parts of a controller share: what it was given, what is known of devices, and ways to tell what happens. */
import type { ControllerOptions } from './contract.js';
import type { Directory } from './directory.js';
import type { ControllerEvent } from './events.js';
import type { Registry } from './registry.js';
import type { ServedModel } from './task.js';

export interface Context {
  readonly options: ControllerOptions;
  /** What is served; undefined for a controller that keeps the registry only. */
  readonly model: ServedModel | undefined;
  readonly directory: Directory;
  readonly registry: Registry;
  readonly closed: boolean;
  /** Devices that plans do without. */
  readonly suspects: ReadonlySet<string>;
  tell(event: ControllerEvent): void;
  /** Something went wrong in the background. */
  problem(error: unknown): void;
  /** Whoever waits for a change looks again. */
  wake(): void;
}
