/** What the learning agent costs: one update, alone and with others in one call, and one action; `npm run bench -- ddpg`. */
import { DDPG_DEFAULTS, DdpgAgent } from '@distredge/planner';
import { createOrtGraphRunner } from '@distredge/runtime';

/** As for four devices: their latencies and a layer's sizes; three cuts. */
const STATE = 12;
const ACTION = 3;
const ROUNDS = 40;
const CALLS = [1, 4, 16];

function median(times: number[]): number {
  return times.sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}

const numbers = (size: number): number[] => Array.from({ length: size }, () => 2 * Math.random() - 1);

const agent = await DdpgAgent.create(createOrtGraphRunner(), { stateSize: STATE, actionSize: ACTION });
for (let step = 0; step < 1000; step++) {
  const [state, nextState] = [numbers(STATE), numbers(STATE)];
  const action = agent.explore(state, 0.3);
  agent.remember({ state, action, reward: Math.random(), nextState, done: step % 5 === 4 });
}
await agent.train(50);

// The kinds take turns, so that a busy machine is busy for all.
const times = new Map(CALLS.map((updates) => [updates, [] as number[]]));
const cpu = new Map(CALLS.map((updates) => [updates, 0]));
const acting: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  for (const [updates, list] of times) {
    const used = process.cpuUsage();
    const start = performance.now();
    await agent.train(updates);
    list.push((performance.now() - start) / updates);
    const { user, system } = process.cpuUsage(used);
    cpu.set(updates, (cpu.get(updates) ?? 0) + (user + system) / 1000 / updates / ROUNDS);
  }
  const state = numbers(STATE);
  const start = performance.now();
  for (let call = 0; call < 20; call++) agent.act(state);
  acting.push((performance.now() - start) / 20);
}
await agent.close();

const { actorHidden, criticHidden, batchSize } = DDPG_DEFAULTS;
console.log(
  `actor ${[STATE, ...actorHidden, ACTION].join('-')}, critic ${[STATE + ACTION, ...criticHidden, 1].join('-')},`,
);
console.log(
  `batch ${batchSize}, one thread; medians of ${ROUNDS} rounds, the fastest, and the CPU time of all threads`,
);
for (const [updates, list] of times) {
  const middle = median(list);
  const name = `${updates} update${updates === 1 ? '' : 's'} a call`.padEnd(18);
  const facts = `fastest ${list[0]?.toFixed(2)}, CPU ${cpu.get(updates)?.toFixed(2)}`;
  console.log(`${name} ${middle.toFixed(2)} ms an update (${facts}), ${(1000 / middle).toFixed(0)} updates/s`);
}
console.log(`${'acting'.padEnd(18)} ${median(acting).toFixed(3)} ms`);
