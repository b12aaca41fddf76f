// @ts-check
/**
 * The client: a connection, the rooms this session listens to, and what must survive a reconnect.
 *
 * After every `welcome` it resumes each room from its last applied offset (a few at a time), then
 * sends again, under their old client ids, the messages that were not acknowledged. It asks to be a
 * member only where its user does: a room that the user left meanwhile is refused, and forgotten.
 * Reading order: `connection.js` (frames), `room.js` (the log of one room), then this file.
 */

import { Connection, RookeryError, backoffMs, platformClock, randomId } from './connection.js';
import { RoomLog } from './room.js';

export { RookeryError, backoffMs, closeAction, randomId } from './connection.js';
export { RoomLog } from './room.js';

/** Joins in flight after a reconnect: a client of many rooms must not meet its own rate limit. */
const JOINS_IN_FLIGHT_MAX = 8;
/** Sends of one room in flight. */
const SENDS_IN_FLIGHT_MAX = 32;
/** The server remembers client ids for 24 h; older sends could be doubled, so they fail instead. */
const RESEND_WITHIN_MS = 23 * 3_600_000;
/** `typing` is repeated at most this often while the user types. */
const TYPING_REPEAT_MS = 3_000;
/** Events of one page of older history. */
const OLDER_EVENTS = 50;
/** Joins in a row that may end short of the head before a pause. */
const CATCH_UP_ROUNDS_MAX = 8;

/**
 * @typedef {import('./connection.js').StateChange} StateChange
 * @typedef {import('./room.js').User} User
 * @typedef {'ONLINE'|'AWAY'|'DND'|'INVISIBLE'|'OFFLINE'} Status
 *
 * @typedef {object} Options
 * @property {string} url address of `/v1/ws`
 * @property {string} [token]
 * @property {string} [name] development servers: a name instead of a token
 * @property {() => Promise<string|null|undefined>|string|null|undefined} [getToken] asked when the
 *   server wants a new token; without an answer the client stops
 * @property {string} [device] names this app; the caller keeps it over restarts
 * @property {boolean} [autoJoin] listen to all of the user's rooms (default: true)
 * @property {any} [WebSocket] constructor, where the platform has none
 * @property {import('./connection.js').Clock} [clock]
 *
 * @typedef {object} Problem
 * @property {string} doing what did not work, as "send the message"
 * @property {RookeryError} error
 * @property {string} [room]
 */

/** One room in this session. `log` holds what is known; the rest is how we listen to it. */
export class Room {
  /** @param {string} id @param {string} self */
  constructor(id, self) {
    this.id = id;
    this.log = new RoomLog(id, self);
    /** @type {'listed'|'joining'|'live'|'lost'} `listed`: known, not listened to */
    this.state = 'listed';
    /** Whether the user asks to be let in: until that is answered, a join may make a member. */
    this.asking = false;
    /** Whether a page of older history is on its way. */
    this.loadingOlder = false;
    /** @type {Promise<void>|null} */
    this.entering = null;
    this.enterAttempt = 0;
    this.readWanted = 0;
    this.readInFlight = false;
    this.typingSentAtMs = 0;
    /** @type {any} */
    this.sendTimer = null;
    this.sendAttempt = 0;
  }
}

export class RookeryClient {
  /** @type {Map<string, Set<Function>>} */ #listeners = new Map();
  /** @type {Connection} */ #connection;
  #clock;
  #autoJoin;
  /** Counts welcomes: an answer that belongs to an earlier connection is not acted on. */
  #generation = 0;
  /** @type {Set<string>} */ #watched = new Set();
  /** @type {Status} */ #status = 'ONLINE';
  #statusSet = false;
  /** When each of `names` was in use: an old page of history must not bring old names back. */
  /** @type {Map<string, number>} */ #namedAtMs = new Map();

  /** @param {Options} options */
  constructor(options) {
    this.#clock = options.clock ?? platformClock;
    this.#autoJoin = options.autoJoin ?? true;
    /** @type {Map<string, Room>} */
    this.rooms = new Map();
    /** @type {User} this user; its id is empty before the first welcome */
    this.user = { id: '', name: '' };
    /** @type {any} the newest `welcome` */
    this.welcome = null;
    /** @type {Map<string, {status: Status, lastSeenMs: number}>} */
    this.presence = new Map();
    /** @type {Map<string, string>} the newest display names heard of, by user id */
    this.names = new Map();
    this.#connection = new Connection({
      url: options.url,
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      token: options.token,
      name: options.name,
      device: options.device,
      getToken: options.getToken,
      clock: this.#clock,
      onState: (change) => this.#emit('state', change),
      onWelcome: (welcome) => this.#welcomed(welcome),
      onFrame: (kind, body) => {
        if (kind === 'event') this.#onEvent(body);
        else if (kind === 'signal') this.#onSignal(body);
        else this.#onNotice(body);
      },
    });
  }

  /**
   * Types: `state` (StateChange), `welcome`, `room` (Room; anything about it changed), `rooms` (the
   * set of rooms changed), `presence` (user id), `added` ({room, by}), `left` (room id),
   * `problem` (Problem: something done in the background failed).
   * @param {string} type
   * @param {(detail: any) => void} listener
   * @returns {() => void} stops listening
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  get state() {
    return this.#connection.state;
  }

  get status() {
    return this.#status;
  }

  connect() {
    this.#connection.start();
  }

  close() {
    this.#connection.stop();
  }

  reconnectNow() {
    this.#connection.reconnectNow();
  }

  /** @param {string} command @param {object} [body] @returns {Promise<any>} the `ack` */
  request(command, body) {
    return this.#connection.request(command, body);
  }

  // ---- rooms ---------------------------------------------------------------------------------

  /**
   * Creates a room and listens to it. Trying again with the same `clientId` cannot make two.
   * @param {{room?: string, kind: 'GROUP'|'DIRECT'|'CHANNEL', name?: string, members?: string[],
   *   public?: boolean, clientId?: string}} wanted
   * @returns {Promise<Room>}
   */
  async createRoom(wanted) {
    const ack = await this.request('createRoom', { clientId: randomId(), ...wanted });
    const room = this.#room(ack.roomCreated.room.id);
    room.log.info = ack.roomCreated.room;
    return this.join(room.id);
  }

  /**
   * Listens to a room; becomes a member of a public group.
   * @param {string} id
   * @param {{last?: number, resume?: boolean}} [how] `last`: how many of the newest messages to fetch
   *   at first; `resume`: only if the user is a member already
   * @returns {Promise<Room>}
   */
  async join(id, { last = OLDER_EVENTS, resume = false } = {}) {
    const known = this.rooms.get(id);
    if (known?.state === 'live') return known;
    // Being refused a resume is no answer to who asks to be let in.
    if (!resume && known?.entering && !known.asking) await known.entering.catch(() => {});
    const fresh = !this.rooms.has(id);
    const room = this.#room(id);
    if (room.state === 'live') return room;
    if (!resume) room.asking = true;
    try {
      await (room.entering ?? this.#enter(room, last));
    } catch (error) {
      if (fresh) this.#forget(id);
      throw error;
    }
    return room;
  }

  /**
   * Gives up membership (a group) or stops listening (a channel, a direct room).
   * @param {string} id
   */
  async leave(id) {
    const sessionOnly = this.rooms.get(id)?.log.info.kind === 'DIRECT';
    await this.request('leave', sessionOnly ? { room: id, sessionOnly } : { room: id });
    this.#forget(id);
  }

  /**
   * Loads a page below what is held.
   * @param {string} id
   * @returns {Promise<boolean>} false: there is nothing older, or a page is on its way
   */
  async loadOlder(id) {
    const room = this.rooms.get(id);
    if (!room?.log.known || room.loadingOlder || room.log.complete) return false;
    const { first } = room.log;
    room.loadingOlder = true;
    this.#emit('room', room);
    try {
      const { history } = await this.request('history', {
        room: id, beforeOffset: first, limit: OLDER_EVENTS,
      });
      for (const event of history.events ?? []) this.#learn(event);
      const unchanged = room.log.first === first;
      if (!room.log.applyOlder(history) && unchanged) {
        throw new RookeryError({ code: 'INTERNAL', message: 'the page does not end where asked' });
      }
      return true;
    } finally {
      room.loadingOlder = false;
      this.#emit('room', room);
    }
  }

  // ---- messages ------------------------------------------------------------------------------

  /**
   * Sends a message. It shows as pending in the room's log at once and is sent again, under the
   * same client id, until the server has decided.
   * @param {string} id
   * @param {string} text
   * @returns {string} its client id
   */
  send(id, text) {
    const room = this.#known(id);
    const clientId = randomId();
    room.log.addPending(clientId, text, this.#clock.now());
    room.typingSentAtMs = 0; // The message itself ends the typing.
    this.#emit('room', room);
    this.#pump(room);
    return clientId;
  }

  /** Sends a failed message again, under its client id. @param {string} id @param {string} clientId */
  retry(id, clientId) {
    const room = this.#known(id);
    room.log.retryPending(clientId);
    this.#emit('room', room);
    this.#pump(room);
  }

  /** Gives a failed message up. @param {string} id @param {string} clientId */
  discard(id, clientId) {
    const room = this.#known(id);
    room.log.dropPending(clientId);
    this.#emit('room', room);
  }

  /** @param {string} room @param {number} target @param {string} text */
  edit(room, target, text) {
    return this.request('edit', { room, target, text });
  }

  /** @param {string} room @param {number} target */
  delete(room, target) {
    return this.request('delete', { room, target });
  }

  /** @param {string} room @param {number} target @param {string} emoji */
  react(room, target, emoji) {
    return this.request('react', { room, target, emoji });
  }

  /** @param {string} room @param {number} target @param {string} emoji */
  unreact(room, target, emoji) {
    return this.request('unreact', { room, target, emoji });
  }

  /**
   * Marks a room read up to an offset: here at once, at the server as soon as it can be told.
   * @param {string} id
   * @param {number} [offset] default: everything applied
   */
  markRead(id, offset) {
    const room = this.#known(id);
    const wanted = Math.min(offset ?? room.log.last, room.log.last);
    if (!room.log.known || wanted <= room.log.cursor) return;
    room.log.moveCursor(wanted);
    room.readWanted = wanted;
    this.#emit('room', room);
    this.#tellRead(room);
  }

  /**
   * Tells the room that the user types; call it on every keystroke.
   * @param {string} id
   * @param {boolean} active
   */
  typing(id, active) {
    const room = this.rooms.get(id);
    if (room?.state !== 'live' || !this.#connection.online) return;
    const now = this.#clock.now();
    if (active ? now - room.typingSentAtMs < TYPING_REPEAT_MS : room.typingSentAtMs === 0) return;
    room.typingSentAtMs = active ? now : 0;
    this.request('typing', { room: id, active }).catch(() => {}); // A signal; may be lost.
  }

  // ---- presence ------------------------------------------------------------------------------

  /** @param {Status} status */
  async setPresence(status) {
    this.#status = status;
    this.#statusSet = true;
    this.#emit('presence', this.user.id);
    if (this.#connection.online) await this.request('setPresence', { status });
  }

  /**
   * Watches exactly these users (as many as the server allows), also after a reconnect.
   * @param {Iterable<string>} users
   */
  watch(users) {
    const max = this.welcome?.limits?.watchedUsersMax || Infinity;
    const wanted = new Set([...new Set(users)].slice(0, max));
    const added = [...wanted].filter((user) => !this.#watched.has(user));
    const dropped = [...this.#watched].filter((user) => !wanted.has(user));
    this.#watched = wanted;
    if (!this.#connection.online) return;
    // First the ones that go, so that the limit is kept in between.
    if (dropped.length > 0) this.#background('stop watching', 'unwatchPresence', { users: dropped });
    if (added.length > 0) this.#watchNow(added);
  }

  /** @param {string[]} users */
  #watchNow(users) {
    this.request('watchPresence', { users })
      .then(({ presence }) => (presence.users ?? []).forEach((/** @type {any} */ user) => this.#present(user)))
      .catch((error) => this.#problem('watch who is online', error));
  }

  /** @param {any} presence */
  #present({ user, status, lastSeenMs = 0 }) {
    this.presence.set(user, { status, lastSeenMs });
    this.#emit('presence', user);
  }

  // ---- after a welcome -----------------------------------------------------------------------

  /** @param {any} welcome */
  #welcomed(welcome) {
    this.#generation += 1;
    this.welcome = welcome;
    this.user = welcome.user;
    this.#name(welcome.user);
    this.#emit('welcome', welcome);
    if (this.#statusSet) this.#background('set the status', 'setPresence', { status: this.#status });
    if (this.#watched.size > 0) this.#watchNow([...this.#watched]);
    this.#resume(this.#generation);
  }

  /** @param {number} generation */
  async #resume(generation) {
    const known = [...this.rooms.values()].filter(({ state }) => state === 'live' || state === 'joining');
    for (const room of known) {
      room.state = 'joining';
      room.readInFlight = false;
    }
    await this.#enterAll(known, generation);
    if (this.#autoJoin) await this.#joinListed(generation, 0);
  }

  /** @param {number} generation @param {number} attempt */
  async #joinListed(generation, attempt) {
    if (generation !== this.#generation || !this.#connection.online) return;
    try {
      await this.#enterAll(await this.#list(), generation);
    } catch (cause) {
      const error = /** @type {RookeryError} */ (cause);
      this.#problem('list the rooms', error);
      if (!error.retryable) return;
      const delayMs = error.retryAfterMs + backoffMs(attempt, this.#clock.random);
      this.#clock.setTimeout(() => this.#joinListed(generation, attempt + 1), delayMs);
    }
  }

  /** Reads the user's rooms, page by page. @returns {Promise<Room[]>} those not listened to */
  async #list() {
    const found = [];
    let after = '';
    do {
      const { rooms: page } = await this.request('rooms', after ? { after } : {});
      for (const summary of page.rooms ?? []) {
        const room = this.#room(summary.room.id);
        if (room.state !== 'listed') continue;
        room.log.info = summary.room;
        room.log.unread = summary.unread ?? 0;
        found.push(room);
      }
      after = page.next ?? '';
    } while (after);
    this.#emit('rooms', null);
    return found;
  }

  /** Staged: a few joins at a time. @param {Room[]} rooms @param {number} generation */
  async #enterAll(rooms, generation) {
    const queue = rooms.values();
    const worker = async () => {
      for (const room of queue) {
        if (generation !== this.#generation || !this.#connection.online) return;
        await this.#enter(room, 0).catch(() => {}); // Reported where it failed.
      }
    };
    await Promise.all(Array.from({ length: JOINS_IN_FLIGHT_MAX }, worker));
  }

  /**
   * Joins or resumes a room; one attempt runs at a time.
   * @param {Room} room
   * @param {number} last messages to fetch when nothing is known yet
   * @returns {Promise<void>}
   */
  #enter(room, last) {
    const generation = this.#generation;
    const wasKnown = room.log.known;
    room.state = 'joining';
    const entering = this.#catchUp(room, last)
      .then(() => {
        if (generation !== this.#generation) return;
        room.state = 'live';
        room.enterAttempt = 0;
      })
      .catch((error) => {
        if (generation === this.#generation) this.#enterFailed(room, wasKnown, error);
        throw error;
      })
      .finally(() => {
        if (room.entering === entering) room.entering = null;
        this.#emit('room', room);
        if (room.state !== 'live' || generation !== this.#generation) return;
        this.#pump(room);
        this.#tellRead(room);
        if (room.log.hasGap) this.#enter(room, 0).catch(() => {});
      });
    room.entering = entering;
    return entering;
  }

  /** @param {Room} room @param {number} last */
  async #catchUp(room, last) {
    for (let round = 0; round < CATCH_UP_ROUNDS_MAX; round++) {
      const from = room.log.known ? { afterOffset: room.log.last } : last > 0 ? { last } : {};
      const { joined } = await this.request('join', { room: room.id, ...from, ...(room.asking ? {} : { resume: true }) });
      room.asking = false;
      for (const event of joined.events ?? []) this.#learn(event);
      for (const user of joined.here ?? []) this.#name(user);
      const { complete } = room.log.applyJoined(joined);
      if (complete) return;
    }
    throw new RookeryError({ code: 'UNAVAILABLE', message: 'the room moves faster than it is read' });
  }

  /** @param {Room} room @param {boolean} wasKnown @param {RookeryError} error */
  #enterFailed(room, wasKnown, error) {
    if (error.code === 'DISCONNECTED') return; // The next welcome tries again.
    if (!error.retryable) room.asking = false;
    if (error.code === 'NOT_MEMBER') {
      // Left on another device, or removed, while nobody could tell us.
      room.state = 'lost';
      if (this.rooms.get(room.id) === room) this.#forget(room.id);
      return;
    }
    if (error.code === 'LIMIT_REACHED') {
      room.state = 'listed';
      return;
    }
    if (!error.retryable) {
      room.state = 'lost';
      if (wasKnown) this.#problem('join the room again', error, room.id);
      return;
    }
    const generation = this.#generation;
    const delayMs = Math.max(error.retryAfterMs, backoffMs(room.enterAttempt++, this.#clock.random));
    this.#clock.setTimeout(() => {
      if (generation === this.#generation && this.#connection.online && !room.entering) {
        this.#enter(room, 0).catch(() => {});
      }
    }, delayMs);
  }

  // ---- outgoing, kept until decided ----------------------------------------------------------

  /** Sends what waits, oldest first. @param {Room} room */
  #pump(room) {
    if (room.state !== 'live' || !this.#connection.online) return;
    let inFlight = room.log.pending.filter((entry) => entry.inFlight).length;
    for (const entry of room.log.pending) {
      if (inFlight >= SENDS_IN_FLIGHT_MAX) return;
      if (entry.state !== 'pending' || entry.inFlight || entry.offset > 0) continue;
      if (this.#clock.now() - entry.timeMs > RESEND_WITHIN_MS) {
        const error = new RookeryError({ code: 'TIMEOUT', message: 'too old to be sent again safely' });
        room.log.failPending(entry.clientId, error);
        continue;
      }
      inFlight += 1;
      this.#transmit(room, entry);
    }
  }

  /** @param {Room} room @param {import('./room.js').Pending} entry */
  #transmit(room, entry) {
    const { clientId, text } = entry;
    entry.inFlight = true;
    this.request('send', { room: room.id, text, clientId })
      .then(({ appended }) => {
        room.sendAttempt = 0;
        room.log.ackPending(clientId, appended.offset);
      })
      .catch((error) => {
        if (error.code === 'DISCONNECTED') return; // Sent again after the resume.
        if (error.retryable) {
          this.#pumpLater(room, error.retryAfterMs);
        } else {
          room.log.failPending(clientId, error);
          this.#problem('send the message', error, room.id);
        }
      })
      .finally(() => {
        entry.inFlight = false;
        this.#emit('room', room);
        if (!room.sendTimer) this.#pump(room);
      });
  }

  /** @param {Room} room @param {number} retryAfterMs */
  #pumpLater(room, retryAfterMs) {
    if (room.sendTimer) return;
    const delayMs = retryAfterMs + backoffMs(room.sendAttempt++, this.#clock.random);
    room.sendTimer = this.#clock.setTimeout(() => {
      room.sendTimer = null;
      this.#pump(room);
    }, delayMs);
  }

  /** Tells the server the newest read offset; one request in flight. @param {Room} room */
  #tellRead(room) {
    if (room.readInFlight || room.readWanted === 0 || room.state !== 'live') return;
    if (!this.#connection.online) return;
    const generation = this.#generation;
    const offset = room.readWanted;
    room.readInFlight = true;
    this.request('markRead', { room: room.id, offset })
      .then(({ cursor }) => {
        if (room.readWanted === offset) room.readWanted = 0;
        room.log.moveCursor(cursor.offset ?? 0, cursor.unread ?? 0);
      })
      .catch((error) => {
        if (error.code === 'DISCONNECTED') return; // Told after the resume.
        // Not worth a retry loop: the next read of this room moves the cursor further anyway.
        if (room.readWanted === offset) room.readWanted = 0;
        if (!error.retryable) this.#problem('mark the room as read', error, room.id);
      })
      .finally(() => {
        if (generation !== this.#generation) return;
        room.readInFlight = false;
        this.#emit('room', room);
        this.#tellRead(room);
      });
  }

  // ---- frames the server sends on its own ----------------------------------------------------

  /** @param {any} event */
  #onEvent(event) {
    const room = this.rooms.get(event.room);
    if (!room) return; // Left a moment ago.
    this.#learn(event);
    const result = room.log.apply(event);
    if (result === 'gap' && !room.entering && room.state === 'live') {
      this.#enter(room, 0).catch(() => {});
    }
    if (result === 'applied') this.#emit('room', room);
    if (result === 'applied' && event.memberLeft?.user?.id === this.user.id) this.#left(room.id);
  }

  /** @param {any} signal */
  #onSignal(signal) {
    if (signal.presence) {
      this.#present(signal.presence);
      return;
    }
    const room = this.rooms.get(signal.room);
    if (!room) return;
    if (signal.typing) {
      const { user, active } = signal.typing;
      this.#name(user);
      room.log.noteTyping(user, Boolean(active), this.#clock.now());
    } else if (signal.roster) {
      for (const user of signal.roster.came ?? []) this.#name(user);
      room.log.noteRoster(signal.roster);
    } else if (signal.read) {
      room.log.noteRead(signal.read.user, signal.read.offset ?? 0);
    }
    this.#emit('room', room);
  }

  /** @param {any} notice */
  #onNotice(notice) {
    if (notice.addedToRoom) this.#added(notice.addedToRoom);
    else if (notice.cursorMoved) this.#cursorMoved(notice.cursorMoved);
    else if (notice.goingAway) this.#connection.moveAfter(notice.goingAway.reconnectAfterMs ?? 0);
    else if (notice.resumeRoom) this.#resumeRoom(notice.resumeRoom.room);
    else if (notice.leftRoom) this.#left(notice.leftRoom.room);
    else if (notice.tokenExpiring) this.#renewToken();
  }

  /** @param {{room: any, by?: User}} added */
  #added({ room: info, by }) {
    const fresh = !this.rooms.has(info.id);
    const room = this.#room(info.id);
    room.log.info = info;
    if (room.state === 'lost') room.state = 'listed';
    if (by) this.#name(by);
    this.#emit('rooms', null);
    if (fresh) this.#emit('added', { room, by });
    if (this.#autoJoin && room.state === 'listed') this.#enter(room, 0).catch(() => {});
  }

  /** The room is not the user's any more. @param {string} id */
  #left(id) {
    // Who asks to be let in (again) is answered.
    if (!this.rooms.get(id)?.asking) this.#forget(id);
  }

  /** @param {{room: string, offset?: number, unread?: number}} cursor */
  #cursorMoved({ room: id, offset = 0, unread = 0 }) {
    const room = this.rooms.get(id);
    if (!room) return;
    room.log.moveCursor(offset, unread);
    this.#emit('room', room);
  }

  /** @param {string} id */
  #resumeRoom(id) {
    const room = this.rooms.get(id);
    if (!room) return;
    // A join in flight may have been answered before the hole: ask again after it.
    Promise.resolve(room.entering)
      .catch(() => {})
      .then(() => room.entering ?? this.#enter(room, 0))
      .catch(() => {});
  }

  async #renewToken() {
    try {
      const token = await this.#connection.options.getToken?.();
      if (!token) return; // The server closes with 4100 when the old one expires.
      this.#connection.token = token;
      await this.request('refreshToken', { token });
    } catch (error) {
      this.#problem('refresh the token', /** @type {RookeryError} */ (error));
    }
  }

  // ---- helpers -------------------------------------------------------------------------------

  /** @param {string} id @returns {Room} */
  #room(id) {
    let room = this.rooms.get(id);
    if (!room) {
      room = new Room(id, this.user.id);
      this.rooms.set(id, room);
      this.#emit('rooms', null);
    }
    return room;
  }

  /** @param {string} id @returns {Room} */
  #known(id) {
    const room = this.rooms.get(id);
    if (!room) throw new RookeryError({ code: 'NOT_MEMBER', message: `room ${id} is not joined` });
    return room;
  }

  /** @param {string} id */
  #forget(id) {
    if (this.rooms.delete(id)) {
      this.#emit('left', id);
      this.#emit('rooms', null);
    }
  }

  /** Remembers the names an event tells. @param {any} event */
  #learn(event) {
    const users = [event.actor, event.memberJoined?.member?.user];
    for (const member of event.roomOpened?.members ?? []) users.push(member.user);
    for (const user of users) {
      if (user) this.#name(user, event.timeMs ?? 0);
    }
  }

  /** @param {User} user @param {number} [timeMs] when this was the name; default: now */
  #name({ id, name }, timeMs = this.#clock.now()) {
    if (!name || timeMs < (this.#namedAtMs.get(id) ?? 0)) return;
    this.names.set(id, name);
    this.#namedAtMs.set(id, timeMs);
  }

  /** @param {string} doing @param {string} command @param {object} body */
  #background(doing, command, body) {
    this.request(command, body).catch((error) => this.#problem(doing, error));
  }

  /** @param {string} doing @param {RookeryError} error @param {string} [room] */
  #problem(doing, error, room) {
    if (error.code === 'DISCONNECTED') return; // The connection's state says so already.
    this.#emit('problem', { doing, error, room });
  }

  /** @param {string} type @param {any} detail */
  #emit(type, detail) {
    for (const listener of this.#listeners.get(type) ?? []) listener(detail);
  }
}
