/** Small tasks for the tests of the baselines: networks of windows over rows, on devices with a rate. */
import type {
  DeviceCosts,
  Network,
  NetworkLink,
  PlanningTask,
  WorkHead,
  Workload,
  WorkOp,
  WorkRead,
  WorkTensor,
} from '@distredge/core';

interface Layer {
  /** Tensors it reads; the last one made where left out. */
  readonly reads?: readonly number[];
  readonly kernel?: number;
  readonly stride?: number;
  readonly channels?: number;
  readonly multiplyAdds?: number;
  readonly weightBytes?: number;
  readonly whole?: boolean;
}

const WIDTH = 10;

/** A network being written: tensor 0 is its input, `WIDTH` columns wide. */
export class Net {
  readonly #tensors: WorkTensor[];
  readonly #ops: WorkOp[] = [];
  readonly #forced: number[] = [];

  constructor(rows: number, channels = 3) {
    this.#tensors = [{ name: 'input', rows, bytesPerRow: WIDTH * channels * 4 }];
  }

  /** Adds a layer; returns its tensor. */
  layer({
    reads,
    kernel = 3,
    stride = 1,
    channels = 4,
    multiplyAdds = 9,
    weightBytes = 0,
    whole = false,
  }: Layer = {}): number {
    const from = reads ?? [this.#tensors.length - 1];
    const rows = Math.ceil((this.#tensors[from[0] as number] as WorkTensor).rows / stride);
    const name = `layer${this.#ops.length}`;
    const tensor = this.#tensors.push({ name, rows, bytesPerRow: WIDTH * channels * 4 }) - 1;
    this.#ops.push({
      name,
      type: 'Conv',
      multiplyAdds,
      width: WIDTH,
      channels,
      outputs: [tensor],
      reads: from.map((read) => this.#window(read, rows, kernel, stride, whole)),
      rows,
      weightBytes,
      whole,
    });
    return tensor;
  }

  #window(tensor: number, rows: number, kernel: number, stride: number, whole: boolean): WorkRead {
    const height = (this.#tensors[tensor] as WorkTensor).rows;
    const pad = (kernel - 1) >> 1;
    const first = (j: number): number => Math.min(height - 1, Math.max(0, j * stride - pad));
    const after = (j: number): number => Math.min(height, j * stride - pad + kernel);
    return {
      tensor,
      from: Int32Array.from({ length: rows }, (_, j) => (whole ? 0 : first(j))),
      to: Int32Array.from({ length: rows }, (_, j) => (whole ? height : Math.max(after(j), first(j) + 1))),
    };
  }

  /** Rows must be exchanged before the next layer. */
  exchange(): void {
    if (this.#ops.length > 0) this.#forced.push(this.#ops.length);
  }

  /** The workload; its outputs are the tensors given, or what a head of one fully connected layer makes of the last tensor. */
  workload(outputs: readonly number[] | 'head'): Workload {
    const last = this.#tensors.length - 1;
    const fully: WorkHead = {
      reads: [last],
      before: [],
      cut: {
        name: 'fc',
        type: 'Gemm',
        rows: 1,
        width: 1,
        channels: 8,
        multiplyAdds: 100,
        fullyConnected: true,
        weightBytes: 800,
        movedBytes: 0,
      },
      after: [],
      resultBytes: 32,
    };
    return {
      model: 'net',
      tensors: this.#tensors,
      inputs: 1,
      ops: this.#ops,
      forced: this.#forced.filter((op) => op < this.#ops.length),
      outputs: outputs === 'head' ? [] : outputs,
      head: outputs === 'head' ? fully : undefined,
    };
  }
}

interface Device {
  /** Operations per ms. */
  readonly rate: number;
  readonly launchMs?: number;
  readonly memoryBytes?: number;
  readonly mbps?: number;
}

/** A task on devices whose time is a launch and then in proportion to the operations. */
export function taskOn(
  workload: Workload,
  devices: readonly Device[],
  {
    mbps = 100,
    latencyMs = 0,
    medium = 'switched',
  }: Partial<NetworkLink> & { readonly medium?: Network['medium'] } = {},
): PlanningTask {
  const costs = devices.map(({ rate, launchMs = 0, memoryBytes = Number.POSITIVE_INFINITY }, index): DeviceCosts => {
    const channels = workload.head?.cut?.channels ?? 0;
    return {
      id: `device${index}`,
      memoryBytes,
      opMs: workload.ops.map(({ rows, multiplyAdds, width, channels: made }) =>
        Float64Array.from({ length: rows + 1 }, (_, r) =>
          r === 0 ? 0 : launchMs + (2 * r * multiplyAdds * width * made) / rate,
        ),
      ),
      readMsPerByte: new Float64Array(workload.ops.length),
      headBeforeMs: 0,
      headCutMs:
        workload.head === undefined
          ? new Float64Array()
          : Float64Array.from({ length: channels + 1 }, (_, n) => (200 * n) / rate),
      headAfterMs: 0,
    };
  });
  const links = devices.map((device): NetworkLink => ({ mbps: device.mbps ?? mbps, latencyMs }));
  return { workload, costs, network: { medium, requester: { mbps, latencyMs }, devices: links } };
}

/** Numbers in [0, 1) that depend on the seed alone. */
export function randomFrom(seed: number): () => number {
  let state = (seed * 2_654_435_769 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A random network with branches, strides and several outputs, on a random cluster. */
export function randomTask(seed: number): PlanningTask {
  const random = randomFrom(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const net = new Net(12 + below(30));
  const outputs: number[] = [];
  let last = net.layer();
  for (let count = 2 + below(7); count > 0; count--) {
    const kind = below(8);
    if (kind === 0) net.exchange();
    const weightBytes = below(3000);
    if (kind <= 2) {
      const side = net.layer({ reads: [last], kernel: 1, weightBytes });
      last = net.layer({ reads: [last, side], kernel: 1, multiplyAdds: 0 });
    } else if (kind === 3) last = net.layer({ reads: [last], kernel: 2, stride: 2, multiplyAdds: 0 });
    else if (kind === 4) last = net.layer({ reads: [last], whole: true });
    else last = net.layer({ reads: [last], kernel: 1 + 2 * below(3), channels: 1 + below(8), weightBytes });
    if (below(4) === 0) outputs.push(last);
  }
  const end = below(2) === 0;
  const workload = net.workload(end ? 'head' : [...new Set([...outputs, last])]);
  const devices = Array.from({ length: 1 + below(6) }, () => ({
    rate: 200 + below(20_000),
    launchMs: random() * 0.05,
    mbps: 20 + below(300),
    // Some too small for the whole model; at least one is large enough for it.
    memoryBytes: below(3) === 0 ? 4_000 + below(40_000) : Number.POSITIVE_INFINITY,
  }));
  devices[0] = { ...(devices[0] as (typeof devices)[number]), memoryBytes: Number.POSITIVE_INFINITY };
  return taskOn(workload, devices, {
    mbps: 50 + below(300),
    latencyMs: random(),
    medium: below(3) === 0 ? 'shared' : 'switched',
  });
}
