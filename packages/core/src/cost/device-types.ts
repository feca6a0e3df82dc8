/**
 * Device types that a cluster file may name. Stand-ins for measured profiles: their numbers are calibrated on published rates
 * of whole models, and say little about a particular device. `distredge profile` measures a real one.
 */
import type { DeviceModelSpec } from './device-model.js';

export const DEVICE_TYPES: Readonly<Record<string, DeviceModelSpec>> = {
  /** Raspberry Pi 3. */
  pi3: { kind: 'cpu', cores: 4, gflops: 6, launch_us: 30, mem_gbps: 2, memory_mb: 700 },
  /** Raspberry Pi 4. */
  pi4: { kind: 'cpu', cores: 4, gflops: 24, launch_us: 20, mem_gbps: 4, memory_mb: 3000 },
  /** Raspberry Pi 5. */
  pi5: { kind: 'cpu', cores: 4, gflops: 70, launch_us: 12, mem_gbps: 10, memory_mb: 7000 },
  /** A laptop's processor. */
  laptop: { kind: 'cpu', cores: 8, gflops: 450, launch_us: 8, mem_gbps: 30, memory_mb: 12_000 },
  /** A phone's graphics processor. */
  phone: { kind: 'gpu', slots: 6, tile: [64, 32], gflops: 180, launch_us: 90, mem_gbps: 25, memory_mb: 3000 },
  /** Jetson Nano. */
  nano: { kind: 'gpu', slots: 4, tile: [64, 32], gflops: 390, launch_us: 40, mem_gbps: 20, memory_mb: 3000 },
  /** Jetson TX2. */
  tx2: { kind: 'gpu', slots: 8, tile: [64, 64], gflops: 950, launch_us: 35, mem_gbps: 45, memory_mb: 6500 },
  /** Jetson AGX Xavier. */
  xavier: { kind: 'gpu', slots: 32, tile: [128, 64], gflops: 4500, launch_us: 20, mem_gbps: 110, memory_mb: 14_000 },
};
