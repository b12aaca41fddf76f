/** The real binary, on a free port, killed and started again as the test wants. */

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** From the start of the process to its ready file. */
const READY_DEADLINE_MS = 20_000;
const POLL_MS = 20;
/** Lines of its log shown when a test fails. */
const LOG_LINES_KEPT = 200;

/** The program under test. */
export function binary() {
  const named = process.env.ROOKERY_BIN;
  if (!named) throw new Error('ROOKERY_BIN must name the rookery binary');
  return named;
}

export class Server {
  #process = null;
  #exited = null;
  #listen = '127.0.0.1:0';
  /** The newest lines of its output. */
  log = [];

  /** Starts one; `flags` follow the usual ones. */
  static async start(flags = []) {
    const server = new Server();
    server.binary = binary();
    server.flags = flags;
    server.folder = await mkdtemp(join(tmpdir(), 'rookery-browser-'));
    await server.up();
    return server;
  }

  /** Starts the process; after the first time on the port it had. */
  async up() {
    const readyFile = join(this.folder, 'ready.json');
    await rm(readyFile, { force: true });
    const child = spawn(this.binary, [
      'serve', '--dev', '--listen', this.#listen, '--admin-listen', '127.0.0.1:0',
      '--data', join(this.folder, 'data'), '--ready-file', readyFile, ...this.flags,
    ], { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    this.#exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => this.#remember(String(chunk)));
    }
    const { url, admin } = await this.#ready(readyFile, child);
    this.admin = admin;
    // A node without the role of a gateway has no clients.
    if (!url) return;
    this.url = url;
    this.#listen = new URL(url).host;
  }

  /** Ends it without warning, as a power cut would. */
  async kill() {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  /** Whether it says that it is ready to serve. */
  async isReady() {
    return (await fetch(`${this.admin}/readyz`)).ok;
  }

  /** Ends it and removes its data. */
  async end() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #ready(file, child) {
    const deadline = Date.now() + READY_DEADLINE_MS;
    while (Date.now() < deadline) {
      if (child.exitCode !== null) {
        throw new Error(`the server ended with ${child.exitCode}:\n${this.log.join('\n')}`);
      }
      try {
        return JSON.parse(await readFile(file, 'utf8'));
      } catch {
        // Not there, or not whole, yet.
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    }
    throw new Error(`the server was not ready in time:\n${this.log.join('\n')}`);
  }

  #remember(text) {
    this.log.push(...text.split('\n').filter(Boolean));
    this.log.splice(0, Math.max(0, this.log.length - LOG_LINES_KEPT));
  }
}
