// @ts-check
/** What the page tells beside the chat: the connection, problems, questions. */

import { h, icon, iconButton } from './dom.js';

/** How long a toast stays. */
const TOAST_MS = 7_000;
/** How long "connected again" stays. */
const RESUMED_MS = 2_500;

/** What the codes of the wire mean to people. @type {Record<string, string>} */
const MEANING = {
  UNAUTHENTICATED: 'you are not signed in',
  FORBIDDEN: 'you may not do that',
  NOT_FOUND: 'it does not exist',
  NOT_MEMBER: 'you are not a member of this room',
  CONFLICT: 'it exists already',
  ROOM_FULL: 'the room is full',
  RATE_LIMITED: 'that was too fast, try again in a moment',
  OVERLOADED: 'the server is busy, try again in a moment',
  UNAVAILABLE: 'the server cannot do that right now',
  TOO_LARGE: 'it is too long',
  LIMIT_REACHED: 'a limit is reached',
  DISCONNECTED: 'there is no connection',
  TIMEOUT: 'the server did not answer in time',
};

/** An error in words. @param {any} error */
export function explain(error) {
  const meaning = MEANING[error.code];
  const said = error.message ?? String(error);
  const text = meaning && !said.includes(meaning) ? `${meaning} (${said})` : said;
  return error.field ? `${text} [${error.field}]` : text;
}

export class Toasts {
  element = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });

  /** @param {string} text @param {'info'|'error'} [kind] */
  show(text, kind = 'info') {
    const toast = h('div', { class: `toast ${kind}`, 'data-testid': 'toast' },
      kind === 'error' && icon('warning'),
      h('span', {}, text),
      iconButton('close', 'Dismiss', () => toast.remove()));
    this.element.append(toast);
    while (this.element.children.length > 4) this.element.firstChild.remove();
    setTimeout(() => toast.remove(), TOAST_MS);
  }

  /** @param {string} doing as "send the message" @param {any} error */
  error(doing, error) {
    const reference = error.correlationId ? ` · ${error.correlationId}` : '';
    this.show(`Could not ${doing}: ${explain(error)}${reference}`, 'error');
  }
}

/** The bar that says how the connection is. Online it takes no room. */
export class ConnectionBar {
  #text = h('span', {});
  #action = h('button', { type: 'button', class: 'link', 'data-testid': 'reconnect-now' });
  #wasLost = false;
  /** @type {any} */ #timer = null;

  /** @param {{reconnect: () => void, signIn: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.element = h('div', {
      class: 'connection', role: 'status', 'data-testid': 'connection', 'data-state': 'connecting',
    }, h('span', { class: 'spinner', 'aria-hidden': 'true' }), this.#text, this.#action);
  }

  /** @param {import('../../sdk/connection.js').StateChange} change */
  show(change) {
    clearTimeout(this.#timer);
    const { state, retryAtMs } = change;
    this.element.dataset.state = state === 'idle' ? 'connecting' : state;
    delete this.element.dataset.resumed;
    this.#offer('', () => {});
    if (state === 'online') {
      this.#say(this.#wasLost ? 'Connected again' : '');
      if (!this.#wasLost) return;
      this.#wasLost = false;
      this.element.dataset.resumed = 'true';
      this.#timer = setTimeout(() => delete this.element.dataset.resumed, RESUMED_MS);
    } else if (state === 'reconnecting') {
      this.#wasLost = true;
      this.#offer('Now', this.actions.reconnect);
      this.#countDown(retryAtMs ?? 0);
    } else if (state === 'offline') {
      this.#say(`Disconnected${change.reason ? `: ${change.reason}` : ''}`);
      this.#offer('Sign in again', this.actions.signIn);
    } else {
      this.#say(this.#wasLost ? 'Reconnecting…' : 'Connecting…');
    }
  }

  /** @param {number} retryAtMs */
  #countDown(retryAtMs) {
    const seconds = Math.ceil((retryAtMs - Date.now()) / 1_000);
    this.#say(seconds > 0 ? `Connection lost. Reconnecting in ${seconds} s` : 'Reconnecting…');
    if (seconds > 0) this.#timer = setTimeout(() => this.#countDown(retryAtMs), 500);
  }

  /** @param {string} text */
  #say(text) {
    if (this.#text.textContent !== text) this.#text.textContent = text;
  }

  /** @param {string} label @param {() => void} onclick */
  #offer(label, onclick) {
    this.#action.textContent = label;
    this.#action.hidden = !label;
    this.#action.onclick = onclick;
  }
}

/**
 * A modal dialog around a form. It removes itself when it closes.
 * @param {{title: string, submit: string, submitTestId: string, danger?: boolean,
 *   onsubmit: (form: FormData) => Promise<unknown>}} options `onsubmit` rejects to stay open
 * @param {...any} children
 */
export function openDialog({ title, submit, submitTestId, danger, onsubmit }, ...children) {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const button = h('button', {
    type: 'submit', class: danger ? 'primary danger' : 'primary', 'data-testid': submitTestId,
  }, submit);
  const form = h('form', { method: 'dialog' },
    h('h2', {}, title),
    ...children,
    problem,
    h('div', { class: 'actions' },
      h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close() }, 'Cancel'),
      button));
  const dialog = h('dialog', {
    'aria-label': title,
    onclose: () => dialog.remove(),
    onclick: (/** @type {Event} */ event) => event.target === dialog && dialog.close(),
  }, form);
  form.addEventListener('submit', async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = '';
    try {
      await onsubmit(new FormData(form));
      dialog.close();
    } catch (error) {
      problem.textContent = explain(error);
    } finally {
      button.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
