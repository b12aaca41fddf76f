/**
 * The client against a server that loses connections at random: whatever is lost on the way, the
 * client ends with the server's log, and each message it sent is there once.
 *
 * Seeded: `STORM_SEED=7 node --test` repeats one run.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RookeryClient } from '../rookery.js';
import { ManualClock, ada, bob, settled } from './sandbox.js';

const SEEDS = process.env.STORM_SEED ? [Number(process.env.STORM_SEED)] : Array.from({ length: 60 }, (_, i) => i + 1);
const STEPS = 250;
/** Frames a client may need to come to rest. */
const DRAIN_STEPS_MAX = 2_000;
/** Small, so that resumes often fall back to a snapshot. */
const RESUME_EVENTS_MAX = 12;
const SNAPSHOT_EVENTS = 10;

function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One room, honest about everything except that its connections break. */
class ModelServer {
  log = [];
  sent = new Map();
  cursor = 0;
  /** The newest connection: frames on their way in and out. */
  wire = null;

  constructor(random) {
    this.random = random;
    const server = this;
    this.WebSocket = class {
      constructor() {
        Object.assign(this, { incoming: [], outgoing: [], listening: false, opened: false });
        server.wire = this;
      }
      send(data) {
        this.incoming.push(JSON.parse(data));
      }
      close() {
        if (server.wire === this) server.wire = null;
      }
    };
  }

  append(actor, body) {
    const event = { room: 'r', epoch: 1, offset: this.log.length + 1, timeMs: this.log.length, actor, ...body };
    this.log.push(event);
    if (event.message && actor.id === ada.id) this.cursor = event.offset;
    if (this.wire?.listening) this.wire.outgoing.push({ event });
    return event.offset;
  }

  /** The log with marks folded into their messages. */
  folded() {
    const log = structuredClone(this.log);
    for (const event of log) {
      const mark = event.messageEdited ?? event.messageDeleted ?? event.reactionAdded ?? event.reactionRemoved;
      if (!mark) continue;
      const { message } = log[mark.target - 1];
      message.revision = event.offset;
      message.reactions ??= [];
      if (event.messageEdited) Object.assign(message, { text: mark.text, editedMs: event.timeMs });
      else if (event.messageDeleted) Object.assign(message, { deleted: true, text: '', reactions: [] });
      else {
        let reaction = message.reactions.find(({ emoji }) => emoji === mark.emoji);
        if (!reaction) message.reactions.push((reaction = { emoji: mark.emoji, users: [] }));
        reaction.users = reaction.users.filter((user) => user !== event.actor.id);
        if (event.reactionAdded) reaction.users.push(event.actor.id);
        message.reactions = message.reactions.filter(({ users }) => users.length > 0);
      }
    }
    return log;
  }

  unread() {
    return this.folded().filter(({ offset, actor, message }) =>
      message && !message.deleted && actor.id !== ada.id && offset > this.cursor).length;
  }

  /** Bob does something, now. */
  bobActs() {
    const alive = this.folded().filter(({ message }) => message && !message.deleted);
    const chosen = alive[Math.floor(this.random() * alive.length)];
    const what = this.random();
    if (!chosen || what < 0.5) return this.append(bob, { message: { text: `bob ${this.log.length}` } });
    const target = chosen.offset;
    if (what < 0.65) return this.append(chosen.actor, { messageEdited: { target, text: `edit ${this.log.length}` } });
    if (what < 0.75) return this.append(chosen.actor, { messageDeleted: { target } });
    const emoji = this.random() < 0.5 ? '👍' : '🎉';
    const there = chosen.message.reactions?.some((entry) => entry.emoji === emoji && entry.users.includes('bob'));
    return this.append(bob, { [there ? 'reactionRemoved' : 'reactionAdded']: { target, emoji } });
  }

  answer(wire, { id, ...frame }) {
    const ack = (result) => wire.outgoing.push({ ack: { id, ...result } });
    if (frame.authenticate) {
      wire.outgoing.push({ welcome: { sessionId: 's', user: ada, heartbeatIntervalMs: 10_000, limits: {} } });
    } else if (frame.join) ack({ joined: this.join(wire, frame.join) });
    else if (frame.send) ack({ appended: this.send(frame.send) });
    else if (frame.markRead) {
      this.cursor = Math.max(this.cursor, frame.markRead.offset);
      ack({ cursor: { room: 'r', offset: this.cursor, unread: this.unread() } });
    } else if (frame.history) {
      const events = this.folded().slice(0, frame.history.beforeOffset - 1).slice(-7);
      ack({ history: { room: 'r', events, head: this.log.length } });
    } else ack({ pong: {} });
  }

  join(wire, { afterOffset }) {
    wire.listening = true;
    const head = this.log.length;
    const state = { room: { id: 'r' }, head, cursor: this.cursor, unread: this.unread() };
    if (afterOffset === undefined) return { ...state, events: this.folded().slice(-SNAPSHOT_EVENTS) };
    if (head - afterOffset > RESUME_EVENTS_MAX) {
      return { ...state, reset: true, events: this.folded().slice(-SNAPSHOT_EVENTS) };
    }
    return { ...state, events: structuredClone(this.log.slice(afterOffset)) };
  }

  send({ text, clientId }) {
    const duplicate = this.sent.has(clientId);
    if (!duplicate) this.sent.set(clientId, this.append(ada, { message: { text, clientId } }));
    return { room: 'r', offset: this.sent.get(clientId), duplicate };
  }

  /** Moves one thing one step: opening, a frame in, or a frame out. */
  step() {
    const { wire } = this;
    if (!wire) return false;
    if (!wire.opened) {
      wire.opened = true;
      wire.onopen();
    } else if (wire.incoming.length > 0 && (wire.outgoing.length === 0 || this.random() < 0.5)) {
      this.answer(wire, wire.incoming.shift());
    } else if (wire.outgoing.length > 0) {
      wire.onmessage({ data: JSON.stringify(wire.outgoing.shift()) });
    } else return false;
    return true;
  }

  /** Breaks the connection: what is on its way, in either direction, is lost. */
  cut() {
    const { wire } = this;
    this.wire = null;
    wire?.onclose({ code: 1006, reason: '' });
  }
}

for (const seed of SEEDS) {
  test(`a client in a storm ends with the server's log (seed ${seed})`, async () => {
    const random = generator(seed);
    const clock = new ManualClock();
    const server = new ModelServer(random);
    const client = new RookeryClient({
      url: 'ws://test', name: 'Ada', WebSocket: server.WebSocket, clock, autoJoin: false,
    });
    const drain = async () => {
      for (let quiet = 0, steps = 0; quiet < 3; steps++) {
        assert.ok(steps < DRAIN_STEPS_MAX, 'the client comes to rest');
        quiet = server.step() ? 0 : quiet + 1;
        await settled();
      }
    };
    client.connect();
    await drain();
    const joining = client.join('r');
    await drain();
    const { log } = await joining;
    const sent = [];
    for (let step = 0; step < STEPS; step++) {
      const what = random();
      if (what < 0.15) server.bobActs();
      else if (what < 0.22) sent.push(client.send('r', `ada ${step}`));
      else if (what < 0.25) client.markRead('r');
      else if (what < 0.33) client.loadOlder('r').catch(() => {});
      else if (what < 0.36) server.cut();
      else if (what < 0.37) log.trim(4);
      else if (what < 0.5) await clock.pass(200);
      else server.step();
      await settled();
    }
    for (let round = 0; round < 4; round++) {
      await drain();
      await clock.pass(20_000);
    }
    await drain();
    assert.deepEqual(log.pending, []);
    assert.deepEqual([log.last, log.head], [server.log.length, server.log.length]);
    for (const clientId of sent) {
      assert.equal(server.log.filter(({ message }) => message?.clientId === clientId).length, 1);
    }
    const expected = server.folded().filter(({ offset, message }) => message && offset >= log.first);
    assert.deepEqual(log.items.map(shown), expected.map(({ offset, message }) => shown({ offset, ...message })));
    assert.equal(log.unread, server.unread());
    client.close();
  });
}

/** What a reader sees of a message. */
function shown({ offset, text, deleted = false, editedMs = 0, reactions = [] }) {
  return { offset, text, deleted, editedMs: deleted ? 0 : editedMs, reactions };
}
