// @ts-check
/**
 * What one client knows of one room: a contiguous stretch `first..last` of its log, folded into
 * messages, and beside it what is not in the log (pending sends, cursor, who is here, who types).
 *
 * Pure: no socket, no timer, no clock. Invariants:
 * - Events are applied in offset order, each exactly once; `last` only grows, except by a reset.
 * - An event past `last + 1` is held, never applied over the hole (`hasGap`).
 * - A mark (edit, delete, reaction) applies to a message only if its offset is greater than the
 *   message's `revision`: pages and snapshots come with marks folded in.
 */

/** Events held beyond a gap. What does not fit comes with the resume. */
const HELD_EVENTS_MAX = 1_024;
/** Marks remembered for messages below `first`, for a page that was read just before them. */
const ORPHAN_MARKS_MAX = 1_024;
/** A typing signal not repeated for this long is over. */
export const TYPING_EXPIRES_MS = 6_000;

/**
 * @typedef {{id: string, name: string}} User
 * @typedef {{emoji: string, users: string[]}} Reaction
 *
 * @typedef {object} Message
 * @property {'message'} type
 * @property {number} offset
 * @property {number} timeMs
 * @property {User} actor
 * @property {string} text
 * @property {string} clientId
 * @property {number} editedMs
 * @property {boolean} deleted
 * @property {Reaction[]} reactions
 * @property {number} revision offset of the newest mark applied
 *
 * @typedef {object} Change
 * @property {'opened'|'joined'|'left'} type
 * @property {number} offset
 * @property {number} timeMs
 * @property {User} actor
 * @property {User} user whom it is about
 *
 * @typedef {object} Pending
 * @property {string} clientId
 * @property {string} text
 * @property {number} timeMs
 * @property {'pending'|'failed'} state
 * @property {Error|null} error why it failed
 * @property {number} offset where it was appended; 0 until acknowledged
 * @property {boolean} inFlight whether a request for it waits for its answer
 */

export class RoomLog {
  /** @type {(Message|Change)[]} */ #items = [];
  /** @type {Map<number, Message>} */ #messages = new Map();
  /** @type {Map<number, any>} */ #held = new Map();
  /** @type {any[]} */ #orphans = [];
  /** @type {Map<string, {user: User, untilMs: number}>} */ #typing = new Map();
  #bottomReached = false;

  /**
   * @param {string} id
   * @param {string} self user id of this client
   */
  constructor(id, self) {
    this.id = id;
    this.self = self;
    /** @type {any} the wire's `Room`, once known */
    this.info = { id };
    this.role = '';
    /** Whether a join was applied: before that, offsets mean nothing here. */
    this.known = false;
    this.first = 1;
    this.last = 0;
    /** Newest offset heard of, applied or not. */
    this.head = 0;
    this.cursor = 0;
    this.unread = 0;
    /** @type {Map<string, User>} */
    this.here = new Map();
    this.hereCount = 0;
    /** @type {Map<string, number>} how far others have read, as far as told */
    this.reads = new Map();
    /** @type {Pending[]} in the order they were sent */
    this.pending = [];
  }

  /** Messages and membership changes held, oldest first. Do not change it. */
  get items() {
    return this.#items;
  }

  /** Whether history below `first` has been read to its end. */
  get complete() {
    return this.known && (this.first <= 1 || this.#bottomReached);
  }

  /** Whether events are held that wait for missing ones: time to resume from `last`. */
  get hasGap() {
    return this.#held.size > 0;
  }

  /** @param {number} offset @returns {Message|undefined} */
  message(offset) {
    return this.#messages.get(offset);
  }

  // ---- the log -------------------------------------------------------------------------------

  /**
   * Applies the answer to a join.
   * @param {any} joined the wire's `Joined`
   * @returns {{reset: boolean, complete: boolean}} `complete`: everything up to head is applied
   */
  applyJoined(joined) {
    const events = joined.events ?? [];
    const head = joined.head ?? 0;
    const reset = Boolean(joined.reset) && this.known;
    if (joined.reset || !this.known) this.#replace(events, head);
    else for (const event of events) this.apply(event);
    this.known = true;
    this.head = Math.max(head, this.last);
    this.info = joined.room ?? this.info;
    this.role = joined.role ?? '';
    this.cursor = Math.max(this.cursor, joined.cursor ?? 0);
    this.unread = joined.unread ?? 0;
    this.here = new Map((joined.here ?? []).map((/** @type {User} */ user) => [user.id, user]));
    this.hereCount = joined.hereCount ?? 0;
    this.#drain();
    this.#settle();
    this.#recount();
    return { reset, complete: this.last >= this.head };
  }

  /**
   * Applies one live event, or holds it when events before it are missing.
   * @param {any} event
   * @returns {'applied'|'duplicate'|'gap'}
   */
  apply(event) {
    if (this.known && event.offset <= this.last) return 'duplicate';
    this.head = Math.max(this.head, event.offset);
    if (!this.known || event.offset > this.last + 1) {
      if (this.#held.size < HELD_EVENTS_MAX) this.#held.set(event.offset, event);
      return 'gap';
    }
    this.#append(event);
    this.#drain();
    this.#settle();
    this.#recount();
    return 'applied';
  }

  /**
   * Puts a history page below what is held. A page that does not end right below `first` (the log
   * was reset meanwhile) is ignored.
   * @param {any} page the wire's `HistoryPage`
   * @returns {boolean} whether it was used
   */
  applyOlder(page) {
    const events = page.events ?? [];
    if (events.length === 0) {
      this.#bottomReached = true;
      return true;
    }
    if (events[events.length - 1].offset !== this.first - 1) return false;
    const older = [];
    this.first = events[0].offset;
    for (const event of events) {
      const item = this.#fold(event);
      if (item) older.push(item);
    }
    this.#items = older.concat(this.#items);
    const orphans = this.#orphans;
    this.#orphans = [];
    for (const mark of orphans) this.#mark(mark);
    this.#recount();
    return true;
  }

  /**
   * Forgets the oldest items beyond `keep`; they can be loaded again.
   * @param {number} keep
   */
  trim(keep) {
    if (this.#items.length <= keep) return;
    const gone = this.#items.slice(0, this.#items.length - keep);
    this.#items = this.#items.slice(gone.length);
    for (const { offset } of gone) this.#messages.delete(offset);
    this.first = this.#items.length > 0 ? this.#items[0].offset : this.last + 1;
    this.#bottomReached = false;
  }

  /** @param {any[]} events @param {number} head */
  #replace(events, head) {
    this.#items = [];
    this.#messages.clear();
    this.#orphans = [];
    this.#bottomReached = false;
    this.first = events.length > 0 ? events[0].offset : head + 1;
    this.last = this.first - 1;
    for (const offset of [...this.#held.keys()]) {
      if (offset <= head) this.#held.delete(offset);
    }
    for (const event of events) {
      if (event.offset === this.last + 1) this.#append(event);
    }
  }

  #drain() {
    for (const offset of [...this.#held.keys()]) {
      if (offset <= this.last) this.#held.delete(offset);
    }
    for (let next; (next = this.#held.get(this.last + 1)); ) {
      this.#held.delete(next.offset);
      this.#append(next);
    }
  }

  /** @param {any} event at `last + 1` */
  #append(event) {
    this.last = event.offset;
    this.head = Math.max(this.head, event.offset);
    const target = event.messageDeleted && this.#messages.get(event.messageDeleted.target);
    const own = event.actor?.id === this.self;
    if (event.message && own) {
      this.cursor = Math.max(this.cursor, event.offset);
      this.unread = 0;
      this.pending = this.pending.filter(({ clientId }) => clientId !== event.message.clientId);
    } else if (event.message) {
      this.unread += 1;
    } else if (event.messageDeleted?.target > this.cursor && !target?.deleted) {
      // A target that is not held is someone else's: own messages are never after the cursor.
      this.unread = Math.max(0, this.unread - 1);
    }
    if (event.message) this.#typing.delete(event.actor?.id);
    if (event.memberJoined) this.#countMembers(1);
    if (event.memberLeft) this.#countMembers(-1);
    const item = this.#fold(event);
    if (item) this.#items.push(item);
  }

  /** @param {number} difference */
  #countMembers(difference) {
    this.info = { ...this.info, memberCount: Math.max(0, (this.info.memberCount ?? 0) + difference) };
  }

  /**
   * Turns an event into an item of the list, or applies it to one.
   * @param {any} event
   * @returns {Message|Change|null}
   */
  #fold(event) {
    const { offset, timeMs = 0, actor = { id: '', name: '' } } = event;
    if (event.message) {
      const { text = '', clientId = '', editedMs = 0, deleted = false, revision = 0 } = event.message;
      const reactions = (event.message.reactions ?? []).map((/** @type {Reaction} */ reaction) => ({
        emoji: reaction.emoji,
        users: [...(reaction.users ?? [])],
      }));
      /** @type {Message} */
      const message = {
        type: 'message', offset, timeMs, actor, text, clientId, editedMs, deleted, reactions, revision,
      };
      this.#messages.set(offset, message);
      return message;
    }
    if (event.roomOpened) {
      return { type: 'opened', offset, timeMs, actor, user: actor };
    }
    if (event.memberJoined) {
      return { type: 'joined', offset, timeMs, actor, user: event.memberJoined.member?.user ?? actor };
    }
    if (event.memberLeft) {
      return { type: 'left', offset, timeMs, actor, user: event.memberLeft.user ?? actor };
    }
    this.#mark(event);
    return null;
  }

  /** @param {any} event an edit, delete or reaction; other kinds are too new and change nothing */
  #mark(event) {
    const body =
      event.messageEdited ?? event.messageDeleted ?? event.reactionAdded ?? event.reactionRemoved;
    if (!body) return;
    const message = this.#messages.get(body.target);
    if (!message) {
      if (body.target < this.first) this.#orphans.push(event);
      if (this.#orphans.length > ORPHAN_MARKS_MAX) this.#orphans.shift();
      return;
    }
    if (event.offset <= message.revision) return;
    message.revision = event.offset;
    if (event.messageEdited) {
      message.text = body.text ?? '';
      message.editedMs = event.timeMs ?? 0;
    } else if (event.messageDeleted) {
      message.deleted = true;
      message.text = '';
      message.reactions = [];
    } else {
      react(message, body.emoji, event.actor.id, Boolean(event.reactionAdded));
    }
  }

  // ---- sends ---------------------------------------------------------------------------------

  /**
   * @param {string} clientId
   * @param {string} text
   * @param {number} timeMs
   * @returns {Pending}
   */
  addPending(clientId, text, timeMs) {
    /** @type {Pending} */
    const pending = {
      clientId, text, timeMs, state: 'pending', error: null, offset: 0, inFlight: false,
    };
    this.pending = [...this.pending, pending];
    return pending;
  }

  /**
   * The send is in the log at that offset; its event may have come already, or comes later.
   * @param {string} clientId
   * @param {number} offset
   */
  ackPending(clientId, offset) {
    const pending = this.pending.find((entry) => entry.clientId === clientId);
    if (!pending) return; // Its event came first.
    pending.offset = offset;
    pending.state = 'pending';
    this.#settle();
  }

  /** @param {string} clientId @param {Error} error */
  failPending(clientId, error) {
    const pending = this.pending.find((entry) => entry.clientId === clientId);
    if (pending) Object.assign(pending, { state: 'failed', error });
  }

  /** Makes a failed send wait for sending again, under its old client id. @param {string} clientId */
  retryPending(clientId) {
    const pending = this.pending.find((entry) => entry.clientId === clientId);
    if (pending) Object.assign(pending, { state: 'pending', error: null });
  }

  /** Gives a send up. @param {string} clientId */
  dropPending(clientId) {
    this.pending = this.pending.filter((entry) => entry.clientId !== clientId);
  }

  /** Sends whose place in the log has been reached are messages now. */
  #settle() {
    if (!this.known || this.pending.length === 0) return;
    this.pending = this.pending.filter(({ offset }) => offset === 0 || offset > this.last);
  }

  // ---- cursor --------------------------------------------------------------------------------

  /**
   * Moves the cursor forward; an older offset changes nothing.
   * @param {number} offset
   * @param {number} [unread] as the server counts it
   */
  moveCursor(offset, unread) {
    if (offset < this.cursor) return;
    this.cursor = offset;
    if (unread !== undefined) this.unread = unread;
    this.#recount();
  }

  /** Counts unread where everything after the cursor is held; else the server's count stands. */
  #recount() {
    if (!this.known || this.cursor + 1 < this.first) return;
    let unread = 0;
    for (let i = this.#items.length - 1; i >= 0 && this.#items[i].offset > this.cursor; i--) {
      const item = this.#items[i];
      if (item.type === 'message' && !item.deleted && item.actor.id !== this.self) unread += 1;
    }
    this.unread = unread;
  }

  // ---- signals -------------------------------------------------------------------------------

  /** @param {User} user @param {boolean} active @param {number} nowMs */
  noteTyping(user, active, nowMs) {
    if (active && user.id !== this.self) {
      this.#typing.set(user.id, { user, untilMs: nowMs + TYPING_EXPIRES_MS });
    } else {
      this.#typing.delete(user.id);
    }
  }

  /** Who types now. @param {number} nowMs @returns {User[]} */
  typing(nowMs) {
    for (const [id, { untilMs }] of this.#typing) {
      if (untilMs <= nowMs) this.#typing.delete(id);
    }
    return [...this.#typing.values()].map(({ user }) => user);
  }

  /** @param {any} roster the wire's `RosterSignal` */
  noteRoster(roster) {
    for (const user of roster.went ?? []) this.here.delete(user.id);
    for (const user of roster.came ?? []) this.here.set(user.id, user);
    this.hereCount = roster.hereCount ?? 0;
  }

  /** @param {string} user @param {number} offset */
  noteRead(user, offset) {
    if (offset > (this.reads.get(user) ?? 0)) this.reads.set(user, offset);
  }
}

/**
 * @param {Message} message
 * @param {string} emoji
 * @param {string} user
 * @param {boolean} added
 */
function react(message, emoji, user, added) {
  const reaction = message.reactions.find((entry) => entry.emoji === emoji);
  if (added && !reaction) message.reactions.push({ emoji, users: [user] });
  else if (added && reaction && !reaction.users.includes(user)) reaction.users.push(user);
  else if (!added && reaction) {
    reaction.users = reaction.users.filter((id) => id !== user);
    message.reactions = message.reactions.filter(({ users }) => users.length > 0);
  }
}
