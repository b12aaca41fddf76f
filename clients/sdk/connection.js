// @ts-check
/**
 * One connection to a Rookery server, kept up: it authenticates, answers requests by id, notices
 * silence, and reconnects as the close code says. It knows frames, not rooms.
 *
 *            start                  welcome
 *   idle ──────────► connecting ──────────────► online
 *                      ▲    │                     │
 *                      │    └──── closed ─────────┤
 *              timer,  │                          ▼
 *        reconnectNow  └─────────────────── reconnecting
 *
 *   any state ── stop(), or a close code that forbids reconnecting ──► offline
 */

/** Ceiling of the first wait before reconnecting. */
export const BACKOFF_FIRST_MS = 250;
/** Ceiling of every later wait: a fleet that lost its server is back within this time. */
export const BACKOFF_MAX_MS = 15_000;
/** A connection that lived this long was a good one: the next loss starts at the first wait. */
const STABLE_AFTER_MS = 5_000;
/** From opening the socket to `welcome`. */
const WELCOME_DEADLINE_MS = 10_000;
/** A little more than the server's own 10 s, so that its answer is the one that counts. */
export const REQUEST_DEADLINE_MS = 12_000;
/** Until `welcome` says otherwise. */
const HEARTBEAT_INTERVAL_DEFAULT_MS = 25_000;
/** Our own close code for a silent server; it never leaves this module except to the server. */
const CLOSE_SILENT = 4900;

/** Codes after which the same request may succeed later. `TIMEOUT` and `DISCONNECTED` are ours. */
const RETRYABLE = new Set([
  'RATE_LIMITED', 'OVERLOADED', 'UNAVAILABLE', 'INTERNAL', 'TIMEOUT', 'DISCONNECTED',
]);

/**
 * @typedef {'idle'|'connecting'|'online'|'reconnecting'|'offline'} ConnectionState
 *
 * @typedef {object} StateChange
 * @property {ConnectionState} state
 * @property {number} [retryAtMs] when the next attempt starts (`reconnecting`)
 * @property {number} [code] close code of the connection that ended
 * @property {string} [reason] for people
 * @property {RookeryError} [error] what the server said before it closed
 *
 * @typedef {object} Clock
 * @property {() => number} now milliseconds since the epoch
 * @property {(callback: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random 0 to 1
 */

/** The clock of the platform. Tests bring their own. @type {Clock} */
export const platformClock = {
  now: () => Date.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

/** An error of the wire's table, or `TIMEOUT` and `DISCONNECTED` where no answer came. */
export class RookeryError extends Error {
  /**
   * @param {{code?: string, message?: string, field?: string, retryAfterMs?: number,
   *   correlationId?: string}} body
   */
  constructor(body) {
    super(body.message || body.code || 'unknown error');
    this.name = 'RookeryError';
    this.code = body.code ?? 'INTERNAL';
    this.field = body.field ?? '';
    this.retryAfterMs = body.retryAfterMs ?? 0;
    this.correlationId = body.correlationId ?? '';
  }

  /** Whether the same request may succeed later. */
  get retryable() {
    return RETRYABLE.has(this.code);
  }
}

/**
 * What to do after a close, by the ranges the protocol promises.
 * @param {number} code
 * @returns {'resume'|'newToken'|'stop'}
 */
export function closeAction(code) {
  if (code === 1001 || code === 1006 || code === 1011 || code === 1012) return 'resume';
  if (code >= 4000 && code <= 4099) return 'resume';
  // No token in time: the network was slow, the token is not at fault.
  if (code === 4102) return 'resume';
  if (code >= 4100 && code <= 4199) return 'newToken';
  return 'stop';
}

/**
 * Full jitter: anywhere from 0 to a ceiling that doubles from 0.25 s to 15 s.
 * @param {number} attempt 0 for the first
 * @param {() => number} random
 */
export function backoffMs(attempt, random) {
  const doublings = Math.min(Math.max(attempt, 0), 16);
  return Math.round(random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** doublings));
}

/**
 * 128 random bits as text. `crypto.randomUUID` exists only on https and localhost pages.
 * @returns {string}
 */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Connection {
  /** @type {any} */ #socket = null;
  #attempt = 0;
  #onlineSinceMs = 0;
  #heardAtMs = 0;
  #reconnectNotBeforeMs = 0;
  #heartbeatIntervalMs = HEARTBEAT_INTERVAL_DEFAULT_MS;
  #nextId = 1;
  /** @type {Map<string, {resolve: Function, reject: Function, timer: any}>} */
  #waiting = new Map();
  /** @type {any} */ #retryTimer = null;
  /** @type {any} */ #heartbeatTimer = null;
  /** @type {any} */ #welcomeTimer = null;
  /** @type {any} */ #moveTimer = null;
  /** @type {RookeryError|undefined} */ #refusal;
  /** @type {StateChange} */ #state = { state: 'idle' };

  /**
   * @param {object} options
   * @param {string} options.url `ws:` or `wss:` address of `/v1/ws`
   * @param {any} options.WebSocket constructor
   * @param {string} [options.token]
   * @param {string} [options.name] development servers: a name instead of a token
   * @param {string} [options.device]
   * @param {() => Promise<string|null|undefined>|string|null|undefined} [options.getToken]
   * @param {Clock} options.clock
   * @param {(change: StateChange) => void} options.onState
   * @param {(welcome: any) => void} options.onWelcome
   * @param {(kind: 'event'|'signal'|'notice', body: any) => void} options.onFrame
   */
  constructor(options) {
    this.options = options;
    this.token = options.token;
  }

  get state() {
    return this.#state;
  }

  get online() {
    return this.#state.state === 'online';
  }

  /** Connects, unless connected or connecting already. */
  start() {
    if (this.#socket || this.#retryTimer) return;
    const { name, getToken } = this.options;
    if (!this.token && !name && getToken) this.#renewToken({ reason: 'no token yet' });
    else this.#open();
  }

  /** Ends the connection for good. */
  stop() {
    this.#drop(1000);
    this.#clearTimers();
    this.#become({ state: 'offline', code: 1000, reason: 'closed by this client' });
  }

  /** Skips the wait before the next attempt. Does nothing while connected or connecting. */
  reconnectNow() {
    if (this.#socket) return;
    this.#clearTimers();
    this.#open();
  }

  /**
   * Reconnects at the time the server named (`goingAway`), whether it closes first or we do.
   * @param {number} afterMs
   */
  moveAfter(afterMs) {
    const { clock } = this.options;
    this.#reconnectNotBeforeMs = clock.now() + afterMs;
    clock.clearTimeout(this.#moveTimer);
    this.#moveTimer = clock.setTimeout(() => {
      if (this.#socket) this.#lost(4000, 'the server is going away');
    }, afterMs);
  }

  /**
   * Sends one command and answers its `ack`.
   * @param {string} command lowerCamelCase name of the wire
   * @param {object} [body]
   * @param {number} [deadlineMs]
   * @returns {Promise<any>}
   * @throws {RookeryError} the server's error, `TIMEOUT`, or `DISCONNECTED`
   */
  request(command, body = {}, deadlineMs = REQUEST_DEADLINE_MS) {
    if (!this.online) {
      return Promise.reject(new RookeryError({ code: 'DISCONNECTED', message: 'not connected' }));
    }
    const { clock } = this.options;
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        this.#waiting.delete(id);
        reject(new RookeryError({ code: 'TIMEOUT', message: `no answer to ${command} in time` }));
      }, deadlineMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, [command]: body }));
    });
  }

  #open() {
    const { clock, url, WebSocket } = this.options;
    this.#refusal = undefined;
    this.#become({ state: 'connecting' });
    let socket;
    try {
      socket = new WebSocket(url, ['rookery.v1.json']);
    } catch (cause) {
      this.#become({ state: 'offline', reason: `cannot open ${url}: ${cause}` });
      return;
    }
    this.#socket = socket;
    const current = () => this.#socket === socket;
    socket.onopen = () => current() && this.#authenticate();
    socket.onmessage = (/** @type {any} */ message) => current() && this.#read(message.data);
    socket.onclose = (/** @type {any} */ close) => current() && this.#lost(close.code, close.reason);
    socket.onerror = () => {}; // A close event always follows and says more.
    this.#welcomeTimer = clock.setTimeout(() => {
      this.#lost(1006, 'no welcome in time');
    }, WELCOME_DEADLINE_MS);
  }

  #authenticate() {
    const { name, device } = this.options;
    const who = this.token ? { token: this.token } : { name };
    this.#socket.send(JSON.stringify({ id: 'authenticate', authenticate: { ...who, device } }));
  }

  /** @param {any} data */
  #read(data) {
    this.#heardAtMs = this.options.clock.now();
    const frame = JSON.parse(data);
    if (frame.ack) this.#answer(frame.ack.id, (waiting) => waiting.resolve(frame.ack));
    else if (frame.error) this.#refused(frame.error);
    else if (frame.welcome) this.#welcomed(frame.welcome);
    else if (frame.event) this.options.onFrame('event', frame.event);
    else if (frame.signal) this.options.onFrame('signal', frame.signal);
    else if (frame.notice) this.options.onFrame('notice', frame.notice);
    // Anything else is a kind of frame this client is too old for; v1 lets it be ignored.
  }

  /** @param {any} welcome */
  #welcomed(welcome) {
    const { clock } = this.options;
    clock.clearTimeout(this.#welcomeTimer);
    this.#onlineSinceMs = clock.now();
    this.#reconnectNotBeforeMs = 0;
    this.#heartbeatIntervalMs = welcome.heartbeatIntervalMs || HEARTBEAT_INTERVAL_DEFAULT_MS;
    this.#become({ state: 'online' });
    this.#watchSilence();
    this.options.onWelcome(welcome);
  }

  /** @param {any} body */
  #refused(body) {
    const error = new RookeryError(body);
    if (this.online) {
      this.#answer(body.id, (waiting) => waiting.reject(error));
      return;
    }
    // Before the welcome an error means: not let in. The server's close says what to do about it;
    // where it leaves the connection open, waiting longer would not help either.
    this.#refusal = error;
    if (!error.retryable && !['UNAUTHENTICATED', 'FORBIDDEN'].includes(error.code)) {
      this.#lost(4200, error.message);
    }
  }

  /**
   * @param {string} id
   * @param {(waiting: {resolve: Function, reject: Function}) => void} settle
   */
  #answer(id, settle) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return; // Its deadline has passed.
    this.#waiting.delete(id);
    this.options.clock.clearTimeout(waiting.timer);
    settle(waiting);
  }

  /** Pings when no frame came for two intervals; gives the connection up after a third. */
  #watchSilence() {
    const { clock } = this.options;
    const intervalMs = this.#heartbeatIntervalMs;
    this.#heartbeatTimer = clock.setTimeout(() => {
      const silentMs = clock.now() - this.#heardAtMs;
      if (silentMs >= 3 * intervalMs) {
        this.#lost(CLOSE_SILENT, 'the server went silent');
        return;
      }
      if (silentMs >= 2 * intervalMs) this.request('ping').catch(() => {});
      this.#watchSilence();
    }, intervalMs / 2);
  }

  /**
   * @param {number} code
   * @param {string} [reason]
   */
  #lost(code, reason) {
    const { clock } = this.options;
    const was = this.#state.state;
    this.#drop(code);
    this.#clearTimers();
    if (was === 'online' && clock.now() - this.#onlineSinceMs >= STABLE_AFTER_MS) this.#attempt = 0;
    const change = { code, reason: reason || undefined, error: this.#refusal };
    const action = code === CLOSE_SILENT ? 'resume' : closeAction(code);
    if (action === 'stop') this.#become({ state: 'offline', ...change });
    else if (action === 'newToken') this.#renewToken(change);
    else this.#retry(change);
  }

  /** @param {Omit<StateChange, 'state'>} change */
  #renewToken(change) {
    const { getToken } = this.options;
    // The state says "reconnecting" while the token is fetched: there is no time to show yet.
    this.#become({ state: 'reconnecting', ...change });
    const expected = this.#state;
    Promise.resolve()
      .then(() => getToken?.())
      .catch(() => undefined)
      .then((token) => {
        if (this.#state !== expected) return; // Stopped or restarted meanwhile.
        if (!token) {
          this.#become({ state: 'offline', ...change });
          return;
        }
        this.token = token;
        this.#retry(change);
      });
  }

  /** @param {Omit<StateChange, 'state'>} change */
  #retry(change) {
    const { clock } = this.options;
    const now = clock.now();
    const backoff = backoffMs(this.#attempt++, clock.random);
    const delayMs = Math.max(0, this.#reconnectNotBeforeMs - now) + backoff;
    this.#retryTimer = clock.setTimeout(() => {
      this.#retryTimer = null;
      this.#open();
    }, delayMs);
    this.#become({ state: 'reconnecting', retryAtMs: now + delayMs, ...change });
  }

  /** @param {number} code */
  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      // Its handlers see that they are no longer current. Closing codes a client may not send
      // (anything but 1000 and 3000-4999) are replaced.
      try {
        socket.close(code === 1000 || code >= 3000 ? code : 1000);
      } catch {
        // Already closed, or closed while connecting: gone either way.
      }
    }
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject, timer } of waiting) {
      this.options.clock.clearTimeout(timer);
      reject(new RookeryError({ code: 'DISCONNECTED', message: 'the connection was lost' }));
    }
  }

  #clearTimers() {
    const { clock } = this.options;
    for (const timer of [this.#retryTimer, this.#heartbeatTimer, this.#welcomeTimer, this.#moveTimer]) {
      clock.clearTimeout(timer);
    }
    this.#retryTimer = null;
  }

  /** @param {StateChange} change */
  #become(change) {
    this.#state = change;
    this.options.onState(change);
  }
}
