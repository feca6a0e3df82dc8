/**
 * What planners are told of real models and of the zoo. Skipped where the folders with models and scenarios are absent.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  type Analysis,
  analyse,
  compile,
  fromPlan,
  loadGraph,
  parseScenarios,
  referenceSimulator,
  taskOf,
  toPlan,
  type Workload,
  type WorkPlan,
  workloadOf,
} from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { describe, expect, it } from 'vitest';

const MODELS = fileURLToPath(new URL('../../shared/models/', import.meta.url));
const SCENARIOS = fileURLToPath(new URL('../../shared/scenarios/', import.meta.url));
const present = existsSync(MODELS);
const files = present
  ? ['trained', 'architectures'].flatMap((folder) =>
      readdirSync(`${MODELS}${folder}`).map((file) => `${folder}/${file}`),
    )
  : ['(no model folder beside this checkout)'];

function analysed(file: string): Analysis {
  const bytes = readFileSync(`${MODELS}${file}`);
  return analyse(loadGraph(file.endsWith('.gz') ? gunzipSync(bytes) : bytes));
}

/** Everything on one device. */
function offload({ ops, forced }: Workload, device: number): WorkPlan {
  const ends = [...forced.map((op) => op - 1), ops.length - 1];
  return { volumes: ends.map((end) => ({ end, parts: [{ device, from: 0, to: ops[end]?.rows ?? 0 }] })), head: device };
}

describe.skipIf(!present)('real models', () => {
  it.each(files)('%s', (file) => {
    const analysis = analysed(file);
    const workload = workloadOf(analysis, file);
    const { ops, tensors, inputs, forced, head } = workload;
    const made = new Set(Array.from({ length: inputs }, (_, tensor) => tensor));
    let multiplyAdds = 0;
    ops.forEach((op, index) => {
      expect(op.outputs.length).toBeGreaterThan(0);
      for (const { tensor, from, to } of op.reads) {
        expect(made.has(tensor)).toBe(true);
        expect([from.length, to.length]).toEqual([op.rows, op.rows]);
        for (let row = 0; row < op.rows; row++) {
          const [low, high] = [from[row] as number, to[row] as number];
          if (low < 0 || high <= low || high > (tensors[tensor]?.rows ?? 0)) throw new Error(`op ${index}, row ${row}`);
          if (row > 0 && (low < (from[row - 1] as number) || high < (to[row - 1] as number))) {
            throw new Error(`op ${index} goes back at row ${row}`);
          }
        }
      }
      for (const tensor of op.outputs) {
        expect(tensors[tensor]?.rows).toBe(op.rows);
        made.add(tensor);
      }
      multiplyAdds += op.multiplyAdds * op.rows * op.width * op.channels;
    });
    expect(forced).toEqual([...forced].sort((a, b) => a - b));
    for (const op of [
      ...(head?.before ?? []),
      ...(head?.cut === undefined ? [] : [head.cut]),
      ...(head?.after ?? []),
    ]) {
      multiplyAdds += op.multiplyAdds * op.rows * op.width * op.channels;
    }
    // The rest is activations, poolings and additions.
    expect((2 * multiplyAdds) / analysis.flops).toBeGreaterThan(0.9);
    expect((2 * multiplyAdds) / analysis.flops).toBeLessThanOrEqual(1);
    const plan = toPlan(workload, offload(workload, 0), 1);
    compile(analysis.graph, plan, analysis);
    expect(fromPlan(workload, plan, 1).volumes.at(-1)).toMatchObject({ end: ops.length - 1 });
  });
});

describe.skipIf(!existsSync(SCENARIOS))('known scenarios', () => {
  it('take as long on their best device as they are known to', { timeout: 240_000 }, () => {
    const text = readFileSync(`${SCENARIOS}best-known.tsv`, 'utf8');
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const known = lines.slice(1).map((line) => line.split('\t'));
    const scenarios = new Map(
      parseScenarios(JSON.parse(readFileSync(`${SCENARIOS}static.json`, 'utf8'))).map((item) => [item.id, item]),
    );
    const workloads = new Map<string, Workload>();
    for (const [id = '', milliseconds] of known) {
      const scenario = scenarios.get(id);
      if (scenario === undefined) throw new Error(`no scenario ${id}`);
      const { model, cluster } = scenario;
      const built = buildZooModel(model, { weights: 'none' });
      const workload = workloads.get(model) ?? workloadOf(analyse(loadGraph(built.bytes, built)), model);
      workloads.set(model, workload);
      const simulator = referenceSimulator(taskOf(workload, cluster));
      // Devices of one type on one link take the same time.
      const kinds = new Map(cluster.devices.map(({ type, mbps }, device) => [`${type} ${mbps}`, device]));
      const times = [...kinds.values()].map((device) => simulator.latency(offload(workload, device)));
      expect([id, Math.min(...times).toFixed(2)]).toEqual([id, milliseconds]);
    }
  });
});
