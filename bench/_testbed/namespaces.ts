/**
 * A star of network namespaces: one with a bridge, the access point, and one for each member, linked to it by a veth pair.
 * Both ends of a pair are shaped by `tc tbf`, so a member's link has the same rate each way. Nothing of it is visible in the
 * host's own namespace, and all of it goes with the namespaces.
 *
 * Names hold the process that made them, so that what a killed one left behind is found and removed by the next.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DistrEdgeError } from '@distredge/core';
import { removeQuotas } from './quota.js';

const execute = promisify(execFile);

const PREFIX = 'dedge-testbed';
const NAME = new RegExp(`^${PREFIX}-(\\d+)-(ap|\\d+)$`);
const FOLDER = new RegExp(`^${PREFIX}-(\\d+)-\\w+$`);
const TOOL_MS = 30_000;
/** A packet on the wire and what it carries: rates are those of tensor bytes, so headers are given rate on top. */
const FRAME_BYTES = 1514;
const CARRIED_BYTES = 1448;
/** A queue never drops: the sender's window is what limits it. */
const QUEUE_BYTES = 64 * 2 ** 20;
/**
 * Sockets for links that are slow and lose nothing: a control that keeps the queue before the link filled, as most systems have
 * (one that estimates the link's rate, bbr, sends below it for a while whenever the rate grows, and pauses to probe), and nothing
 * sent twice only because it waits in that queue.
 */
const SOCKETS = { tcp_congestion_control: 'reno', tcp_slow_start_after_idle: 0, tcp_early_retrans: 0 } as const;
const SUBNET = '10.77.0.0/16';
const PATIENCE_S = 20;
/** Packets that a connection may have on its way from its first message on. */
const WINDOW = 400;
/** For how long a link may send at full speed after a pause, in seconds, so that a timer that is late costs no rate; at least two packets. */
const BURST_S = 0.001;

/** What is missing to build a testbed, in words; undefined where nothing is. */
export function missing(): string | undefined {
  if (process.platform !== 'linux') return 'Linux: it is made of network namespaces';
  const tools = ['ip', 'tc'].filter(
    (tool) => !['/usr/sbin', '/sbin', '/usr/bin', '/bin'].some((at) => existsSync(`${at}/${tool}`)),
  );
  if (tools.length > 0) return `${tools.join(' and ')} (package iproute2)`;
  if (process.getuid?.() !== 0) return 'root, for network namespaces: run it with sudo';
  return undefined;
}

export class Testnet {
  readonly #pid: number;
  readonly #members: number;

  private constructor(members: number) {
    this.#pid = process.pid;
    this.#members = members;
  }

  /** Builds a star of so many members; links are not shaped yet. Rejects with `LINK_FAILED` and the tool's words. */
  static async build(members: number): Promise<Testnet> {
    const net = new Testnet(members);
    try {
      await net.#build();
      return net;
    } catch (error) {
      await net.close();
      throw error;
    }
  }

  async #build(): Promise<void> {
    const all = [...Array(this.#members).keys()];
    await batch(
      'ip',
      [],
      [
        `netns add ${this.#accessPoint}`,
        ...all.map((member) => `netns add ${this.namespaceOf(member)}`),
        ...all.map(
          (member) =>
            `link add ${portOf(member)} netns ${this.#accessPoint} type veth peer name eth0 netns ${this.namespaceOf(member)}`,
        ),
      ],
    );
    await batch(
      'ip',
      ['-n', this.#accessPoint],
      [
        'link add br0 type bridge mcast_snooping 0',
        'link set br0 up',
        ...all.flatMap((member) => [`link set ${portOf(member)} master br0`, `link set ${portOf(member)} up`]),
      ],
    );
    for (const member of all) {
      await batch(
        'ip',
        ['-n', this.namespaceOf(member)],
        [
          'link set lo up',
          `address add ${addressOf(member)}/16 dev eth0 noprefixroute`,
          'link set eth0 up',
          `route add ${SUBNET} dev eth0 rto_min ${PATIENCE_S}s initcwnd ${WINDOW} initrwnd ${WINDOW}`,
        ],
      );
      await this.#settle(member);
    }
  }

  /** Sockets that send as long as there is something to be sent, whatever this machine is set to. */
  async #settle(member: number): Promise<void> {
    const lines = Object.entries(SOCKETS).map(([name, value]) => `echo ${value} > /proc/sys/net/ipv4/${name}`);
    await tool('ip', ['netns', 'exec', this.namespaceOf(member), 'sh', '-ec', lines.join('; ')]);
  }

  get #accessPoint(): string {
    return `${PREFIX}-${this.#pid}-ap`;
  }

  namespaceOf(member: number): string {
    return `${PREFIX}-${this.#pid}-${member}`;
  }

  /** Shapes every member's link, both ways: 10⁶ bits of tensor bytes per second. */
  async shape(mbps: readonly number[]): Promise<void> {
    const queue = (rate: number): string => {
      const bits = (rate * 1e6 * FRAME_BYTES) / CARRIED_BYTES;
      const burst = Math.ceil(Math.max(2 * FRAME_BYTES, (bits / 8) * BURST_S));
      return `tbf rate ${Math.round(bits)}bit burst ${burst} limit ${QUEUE_BYTES}`;
    };
    await this.#queues(mbps.map(queue));
  }

  /** Lets all links run as fast as they can. */
  async unshape(): Promise<void> {
    await this.#queues(Array.from({ length: this.#members }, () => 'pfifo limit 10000'));
  }

  /** Keeps these members from reaching each other, or lets them again; everybody else still reaches all. */
  async part(members: readonly number[], apart: boolean): Promise<void> {
    await batch(
      'ip',
      ['-n', this.#accessPoint],
      members.map((member) => `link set ${portOf(member)} type bridge_slave isolated ${apart ? 'on' : 'off'}`),
    );
  }

  async #queues(queues: readonly string[]): Promise<void> {
    await Promise.all([
      batch(
        'tc',
        ['-n', this.#accessPoint],
        queues.map((queue, member) => `qdisc replace dev ${portOf(member)} root ${queue}`),
      ),
      ...queues.map((queue, member) =>
        batch('tc', ['-n', this.namespaceOf(member)], [`qdisc replace dev eth0 root ${queue}`]),
      ),
    ]);
  }

  /** Removes all namespaces with all that runs in them. */
  async close(): Promise<void> {
    await remove(({ pid }) => pid === this.#pid);
  }
}

/** Removes what processes left behind that did not live to clean up. Resolves with the number of namespaces. */
export async function removeLeftovers(): Promise<number> {
  for (const name of await readdir(tmpdir())) {
    const pid = FOLDER.exec(name)?.[1];
    if (pid !== undefined && !isTestbed(Number(pid))) await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
  const removed = await remove(({ pid }) => !isTestbed(pid));
  removeQuotas((pid) => !isTestbed(pid));
  return removed;
}

/** A private folder for sockets of this process; `removeLeftovers` of a later one finds it. */
export function makeFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), `${PREFIX}-${process.pid}-`));
}

/** The address of a member inside the testbed: the requester is member 0, device i member i + 1. */
export function addressOf(member: number): string {
  return `10.77.${(member + 1) >> 8}.${(member + 1) & 255}`;
}

/** The member that has this address; undefined for any other. */
export function memberAt(host: string): number | undefined {
  const [, high, low] = /^(?:::ffff:)?10\.77\.(\d+)\.(\d+)$/.exec(host) ?? [];
  return high === undefined || low === undefined ? undefined : Number(high) * 256 + Number(low) - 1;
}

const portOf = (member: number): string => `port${member}`;

async function remove(which: (name: { pid: number }) => boolean): Promise<number> {
  const { stdout } = await tool('ip', ['netns', 'list']);
  const names = stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => {
      const pid = NAME.exec(name)?.[1];
      return pid !== undefined && which({ pid: Number(pid) });
    });
  for (const name of names) {
    const inside = await tool('ip', ['netns', 'pids', name]).catch(() => ({ stdout: '' }));
    for (const pid of inside.stdout.split('\n').map(Number)) if (pid > 1 && pid !== process.pid) kill(pid);
    await tool('ip', ['netns', 'delete', name]);
  }
  return names.length;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** Whether this process lives and is a testbed: a number may have been given to another one since. */
function isTestbed(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('testbed');
  } catch {
    return false;
  }
}

async function tool(name: string, args: readonly string[]): Promise<{ stdout: string }> {
  try {
    return await execute(name, args, { timeout: TOOL_MS });
  } catch (error) {
    throw failed(name, args.join(' '), error);
  }
}

/** Runs many commands in one process of the tool. */
function batch(name: string, args: readonly string[], lines: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(name, [...args, '-batch', '-'], { timeout: TOOL_MS }, (error) => {
      if (error === null) resolve();
      else reject(failed(name, lines[0] ?? '', error));
    });
    // What it says when it ends before it read everything tells more.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(`${lines.join('\n')}\n`);
  });
}

function failed(name: string, where: string, cause: unknown): DistrEdgeError {
  const got = ((cause as { stderr?: string }).stderr ?? String(cause)).trim().split('\n')[0] ?? '';
  return new DistrEdgeError('LINK_FAILED', `${name} did not do what the testbed needs`, { where, got, cause });
}
