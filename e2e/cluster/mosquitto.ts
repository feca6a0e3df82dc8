/** Debian's mosquitto as a cluster's broker: with TLS, a user name and a password; stopped and started again at will. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { until } from '../support/cli.js';

const USER = 'fleet';
const PASSWORD = 'p@ss:word';

function works(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore', timeout: 10_000 });
    return true;
  } catch (error) {
    return (error as { status?: unknown }).status != null;
  }
}

/** Where mosquitto is; undefined where it is not installed, or nothing is that makes certificates. */
export function findMosquitto(): string | undefined {
  if (!works('openssl', ['version'])) return undefined;
  return ['mosquitto', '/usr/sbin/mosquitto'].find((program) => works(program, ['-h']));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve());
  });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Mosquitto {
  readonly url: string;
  readonly ca: string;
  readonly #program: string;
  readonly #config: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(program: string, folder: string, port: number) {
    this.#program = program;
    this.#port = port;
    this.url = `mqtts://${USER}:${encodeURIComponent(PASSWORD)}@localhost:${port}`;
    this.ca = join(folder, 'cert.pem');
    this.#config = join(folder, 'mosquitto.conf');
    const key = join(folder, 'key.pem');
    const passwords = join(folder, 'passwords');
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        key,
        '-out',
        this.ca,
      ],
      { stdio: 'ignore' },
    );
    execFileSync('mosquitto_passwd', ['-b', '-c', passwords, USER, PASSWORD], { stdio: 'ignore' });
    // It keeps nothing: whatever it knows after a restart, it was told again.
    const lines = [
      `listener ${port} 127.0.0.1`,
      `cafile ${this.ca}`,
      `certfile ${this.ca}`,
      `keyfile ${key}`,
      'allow_anonymous false',
      `password_file ${passwords}`,
      'persistence false',
      // It would give up root rights, and could then not read what is in this folder.
      'user root',
    ];
    writeFileSync(this.#config, `${lines.join('\n')}\n`);
  }

  static async start(program: string, folder: string): Promise<Mosquitto> {
    const at = join(folder, 'mosquitto');
    mkdirSync(at, { recursive: true });
    const broker = new Mosquitto(program, at, await freePort());
    await broker.start();
    return broker;
  }

  async start(): Promise<void> {
    const child = spawn(this.#program, ['-c', this.#config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    let told = '';
    child.stderr?.on('data', (data) => {
      told += data;
    });
    let open = false;
    const probe = setInterval(() => {
      const socket = connect(this.#port, '127.0.0.1');
      socket.once('connect', () => {
        open = true;
        socket.destroy();
      });
      socket.on('error', () => undefined);
    }, 50);
    try {
      await until(() => open || child.exitCode !== null, 'mosquitto', 10_000);
    } finally {
      clearInterval(probe);
    }
    if (child.exitCode !== null) throw new Error(`mosquitto ended: ${told}`);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}
