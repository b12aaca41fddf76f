/**
 * What the tests share: events by hand, a clock that moves when told, a socket that is a script.
 */

import { RookeryClient } from '../rookery.js';

export const ada = { id: 'ada', name: 'Ada' };
export const bob = { id: 'bob', name: 'Bob' };

/** An event of room `r`. */
export function event(offset, body, actor = bob) {
  return { room: 'r', epoch: 1, offset, timeMs: 1_000 * offset, actor, ...body };
}

export const message = (offset, text, actor = bob, rest = {}) =>
  event(offset, { message: { text, ...rest } }, actor);
export const edited = (offset, target, text, actor = bob) =>
  event(offset, { messageEdited: { target, text } }, actor);
export const deleted = (offset, target, actor = bob) =>
  event(offset, { messageDeleted: { target } }, actor);
export const reacted = (offset, target, emoji, actor = bob) =>
  event(offset, { reactionAdded: { target, emoji } }, actor);
export const unreacted = (offset, target, emoji, actor = bob) =>
  event(offset, { reactionRemoved: { target, emoji } }, actor);

/** Messages `from..to`, one per offset. */
export const messages = (from, to) =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i, `m${from + i}`));

/** Time that passes only in `pass`. `random` is always one half. */
export class ManualClock {
  timeMs = 1_000_000;
  timers = new Map();
  nextTimer = 1;
  now = () => this.timeMs;
  random = () => 0.5;
  setTimeout = (callback, ms) => {
    this.timers.set(this.nextTimer, { callback, atMs: this.timeMs + ms });
    return this.nextTimer++;
  };
  clearTimeout = (timer) => this.timers.delete(timer);

  /** Moves on, running each timer at its time. */
  async pass(ms) {
    const untilMs = this.timeMs + ms;
    for (;;) {
      await settled();
      const due = [...this.timers].filter(([, { atMs }]) => atMs <= untilMs);
      if (due.length === 0) break;
      due.sort(([, a], [, b]) => a.atMs - b.atMs);
      const [timer, { callback, atMs }] = due[0];
      this.timers.delete(timer);
      this.timeMs = Math.max(this.timeMs, atMs);
      callback();
    }
    this.timeMs = untilMs;
    await settled();
  }
}

/** After every promise that can settle without time or sockets. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** One scripted server end per connection, newest last in `server.sockets`. */
export class FakeServer {
  sockets = [];
  WebSocket;

  constructor() {
    const { sockets } = this;
    this.WebSocket = class {
      constructor(url, protocols) {
        Object.assign(this, { url, protocols, frames: [], closedWith: null });
        sockets.push(this);
      }
      send(data) {
        this.frames.push(JSON.parse(data));
      }
      close(code) {
        this.closedWith = code;
      }
      /** Frames sent so far of one command, oldest first. */
      of(command) {
        return this.frames.filter((frame) => frame[command]);
      }
      say(frame) {
        this.onmessage({ data: JSON.stringify(frame) });
      }
      ack(frame, result) {
        this.say({ ack: { id: frame.id, ...result } });
      }
      refuse(frame, error) {
        this.say({ error: { id: frame.id, message: 'no', ...error } });
      }
      end(code, reason = '') {
        this.onclose({ code, reason });
      }
    };
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  /** Opens the newest socket and welcomes it. */
  async welcome(rest = {}) {
    this.socket.onopen();
    this.socket.say({
      welcome: { sessionId: 's', user: ada, heartbeatIntervalMs: 10_000, limits: {}, ...rest },
    });
    await settled();
  }
}

/** A client of a fake server, not yet connected. Its states are written down. */
export function sandbox(options = {}) {
  const clock = new ManualClock();
  const server = new FakeServer();
  const client = new RookeryClient({
    url: 'ws://test/v1/ws', name: 'Ada', WebSocket: server.WebSocket, clock, autoJoin: false, ...options,
  });
  const states = [];
  client.on('state', (change) => states.push(change));
  return { clock, server, client, states };
}

/** A connected client that has joined room `r` with the given answer. */
export async function joinedSandbox(joined = { head: 0 }, options = {}) {
  const box = sandbox(options);
  box.client.connect();
  await box.server.welcome();
  const joining = box.client.join('r');
  await settled();
  box.server.socket.ack(box.server.socket.of('join')[0], { joined });
  box.room = await joining;
  await settled();
  return box;
}
