/**
 * Synthetic device models: what a device takes for an op, from a handful of numbers. A stand-in for a measured profile, with
 * the staircases that measured devices show: a `cpu` deals rows to its cores, a `gpu` runs waves of tiles.
 */
import type { DeviceCosts } from './task.js';
import type { WorkHeadOp, Workload, WorkOp, WorkShape } from './workload.js';

interface DeviceNumbers {
  /** 10⁹ operations per second; a multiply-add counts 2. */
  readonly gflops: number;
  /** Time to start one op, in µs. */
  readonly launch_us: number;
  /** 10⁹ bytes per second, for ops that only move or combine values and for the weights of fully connected layers. */
  readonly mem_gbps: number;
  /** 10⁶ bytes for weights and rows. */
  readonly memory_mb: number;
}

export interface CpuModel extends DeviceNumbers {
  readonly kind: 'cpu';
  readonly cores: number;
}

export interface GpuModel extends DeviceNumbers {
  readonly kind: 'gpu';
  /** Tiles computed at the same time. */
  readonly slots: number;
  /** Pixels and output channels of one tile. */
  readonly tile: readonly [number, number];
}

export type DeviceModelSpec = CpuModel | GpuModel;

/** What a device of this kind takes for the ops of a workload. */
export function deviceModelCosts(workload: Workload, model: DeviceModelSpec, id: string): DeviceCosts {
  const { head } = workload;
  const sum = (ops: readonly WorkHeadOp[]): number => ops.reduce((total, op) => total + headOpMs(model, op), 0);
  const cut = head?.cut;
  return {
    id,
    memoryBytes: model.memory_mb * 1e6,
    opMs: workload.ops.map((op) => opTimes(workload, model, op)),
    readMsPerByte: Float64Array.from(workload.ops, (op) => (op.multiplyAdds > 0 ? 0 : msPerByte(model))),
    headBeforeMs: sum(head?.before ?? []),
    headCutMs:
      cut === undefined
        ? new Float64Array(0)
        : Float64Array.from({ length: cut.channels + 1 }, (_, channels) => fullyConnectedMs(model, cut, channels)),
    headAfterMs: sum(head?.after ?? []),
  };
}

function msPerByte({ mem_gbps }: DeviceNumbers): number {
  return 1 / (mem_gbps * 1e6);
}

function launchMs({ launch_us }: DeviceNumbers): number {
  return launch_us / 1000;
}

/** Time for 0 … all rows of an op; of an op that multiplies nothing, without what it reads. */
function opTimes({ tensors }: Workload, model: DeviceModelSpec, op: WorkOp): Float64Array {
  const written = op.outputs.reduce((sum, tensor) => sum + (tensors[tensor]?.bytesPerRow ?? 0), 0);
  return Float64Array.from({ length: op.rows + 1 }, (_, rows) => {
    if (rows === 0) return 0;
    return launchMs(model) + (op.multiplyAdds > 0 ? arithmeticMs(model, op, rows) : rows * written * msPerByte(model));
  });
}

/** Multiply-adds of some rows, by whole rounds of cores or whole waves of tiles. */
function arithmeticMs(model: DeviceModelSpec, { multiplyAdds, width, channels }: WorkShape, rows: number): number {
  const operations =
    model.kind === 'cpu'
      ? Math.ceil(rows / model.cores) * model.cores * width * channels * 2 * multiplyAdds
      : wavesOf(model, rows * width, channels) * model.slots * model.tile[0] * model.tile[1] * 2 * multiplyAdds;
  return operations / (model.gflops * 1e6);
}

function wavesOf({ tile, slots }: GpuModel, pixels: number, channels: number): number {
  return Math.ceil((Math.ceil(pixels / tile[0]) * Math.ceil(channels / tile[1])) / slots);
}

function fullyConnectedMs(model: DeviceModelSpec, op: WorkHeadOp, channels: number): number {
  if (channels === 0) return 0;
  const operations = 2 * op.multiplyAdds * channels * op.rows * op.width;
  const weightBytes = (op.weightBytes * channels) / op.channels;
  return launchMs(model) + Math.max(operations / (model.gflops * 1e6), weightBytes * msPerByte(model));
}

function headOpMs(model: DeviceModelSpec, op: WorkHeadOp): number {
  if (op.fullyConnected) return fullyConnectedMs(model, op, op.channels);
  return launchMs(model) + (op.multiplyAdds > 0 ? arithmeticMs(model, op, op.rows) : op.movedBytes * msPerByte(model));
}
