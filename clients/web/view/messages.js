// @ts-check
/**
 * The timeline of the open room. Rows are keyed and reused: a message that was pending becomes the
 * delivered one in place, and older pages grow above without moving what is on screen.
 */

import {
  avatar, clockTime, dayName, fullTime, h, icon, iconButton, isEmojiOnly, linkify, nameList,
} from './dom.js';

/** Messages of one author closer than this stand under one name. */
const GROUP_WITHIN_MS = 5 * 60_000;
/** Nearer to the end than this counts as being at the end. */
const AT_END_PX = 60;
/** Nearer to the top than this loads an older page. */
const LOAD_OLDER_PX = 300;

const EMOJI = [
  '👍', '❤️', '😂', '🎉', '😮', '😢', '🙏', '👀', '🔥', '✅', '🚀', '💯',
  '😀', '😊', '😍', '🤔', '😎', '😴', '👋', '👏', '💪', '🤝', '☕', '🐦',
];

/**
 * @typedef {import('../../sdk/rookery.js').RookeryClient} Client
 * @typedef {import('../../sdk/rookery.js').Room} Room
 * @typedef {{key: string, signature: string, build: () => HTMLElement}} Row
 *
 * @typedef {object} Actions
 * @property {(offset: number, emoji: string, active: boolean) => void} onreact
 * @property {(offset: number) => void} onedit
 * @property {(offset: number) => void} ondelete
 * @property {(clientId: string) => void} onretry
 * @property {(clientId: string) => void} ondiscard
 * @property {() => void} onolder the top is near
 * @property {() => void} onend the end came into view
 */

export class MessagesView {
  #list = h('div', { class: 'rows' });
  #scroller;
  #jump;
  #toolbar;
  /** @type {Map<string, {signature: string, element: HTMLElement}>} */
  #rows = new Map();
  /** @type {Room|null} */ #room = null;
  /** @type {Client|null} */ #client = null;
  /** The "new messages" line stands after this offset; null: no line. @type {number|null} */
  #newAfter = null;
  #stick = true;
  #seenLast = 0;

  /** @param {Actions} actions */
  constructor(actions) {
    this.actions = actions;
    this.#scroller = h('div', {
      class: 'scroller', role: 'log', 'aria-live': 'polite', 'aria-label': 'Messages', tabindex: 0,
      'data-testid': 'timeline',
    }, this.#list);
    this.#jump = h('button', {
      type: 'button', class: 'jump', hidden: true, onclick: () => this.toEnd(), 'data-testid': 'jump',
    }, icon('arrowDown'), h('span', {}));
    this.#toolbar = this.#makeToolbar();
    this.element = h('div', { class: 'timeline' }, this.#scroller, this.#jump);
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#scroller.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.#key(event));
    for (const type of ['pointerover', 'focusin', 'click']) {
      this.#list.addEventListener(type, (/** @type {Event} */ event) => this.#placeToolbar(event));
    }
    new ResizeObserver(() => this.#stick && this.#scrollToEnd()).observe(this.#scroller);
  }

  get atEnd() {
    return this.#stick;
  }

  /** @param {Client} client @param {Room} room */
  open(client, room) {
    this.#client = client;
    this.#room = room;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#newAfter = room.log.unread > 0 ? room.log.cursor : null;
    this.#stick = true;
    this.#seenLast = room.log.last;
    this.render();
  }

  close() {
    this.#room = null;
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  /** Draws the "new messages" line where reading stopped. */
  markNew() {
    if (this.#room) this.#newAfter = this.#room.log.cursor;
  }

  /** The user acted: nothing is new any more. */
  clearNew() {
    this.#newAfter = null;
    this.toEnd();
  }

  toEnd() {
    this.#stick = true;
    this.#scrollToEnd();
    this.render();
  }

  render() {
    if (!this.#room) return;
    const anchor = this.#stick ? null : this.#anchor();
    this.#reconcile(this.#rowsOf(this.#room));
    if (this.#stick) this.#scrollToEnd();
    else if (anchor) this.#restore(anchor);
    this.#updateJump();
    if (this.#scroller.scrollTop < LOAD_OLDER_PX) this.actions.onolder();
  }

  // ---- rows ----------------------------------------------------------------------------------

  /** @param {Room} room @returns {Row[]} */
  #rowsOf(room) {
    const { log } = room;
    /** @type {Row[]} */
    const rows = [];
    if (log.complete) rows.push(this.#startRow(room));
    else rows.push(plainRow('loading', 'loading', 'Loading messages…'));
    let day = '';
    /** @type {any} */
    let above = null;
    let lineDrawn = false;
    for (const item of log.items) {
      if (item.type === 'opened' && log.info.kind === 'DIRECT') continue; // The start row says it.
      const itemDay = dayName(item.timeMs);
      if (itemDay !== day) {
        rows.push(plainRow(`day:${item.offset}`, 'day', itemDay, 'separator'));
        day = itemDay;
        above = null;
      }
      if (!lineDrawn && this.#isNew(item)) {
        rows.push(plainRow('new', 'new-line', 'New messages', 'separator'));
        lineDrawn = true;
        above = null;
      }
      rows.push(item.type === 'message' ? this.#messageRow(item, follows(above, item)) : this.#changeRow(item));
      above = item.type === 'message' ? item : null;
    }
    const seen = log.pending.length === 0 && this.#seenBy(log);
    if (seen) rows.push(plainRow('seen', 'seen', seen));
    for (const pending of log.pending) {
      const item = { type: 'message', timeMs: pending.timeMs, actor: this.#client?.user };
      rows.push(this.#pendingRow(pending, follows(above, item)));
      above = item;
    }
    return rows;
  }

  /** @param {any} item whether the line goes above it */
  #isNew(item) {
    const { log } = /** @type {Room} */ (this.#room);
    return this.#newAfter !== null && item.offset > this.#newAfter && log.first <= this.#newAfter + 1
      && item.type === 'message' && item.actor.id !== log.self && !item.deleted;
  }

  /** @param {Room} room @returns {Row} */
  #startRow(room) {
    const { name, kind } = room.log.info;
    const title = this.#titleOf(room);
    return {
      key: 'start',
      signature: `${title}${kind}`,
      build: () => h('div', { class: 'start' },
        h('h2', {}, kind === 'DIRECT' ? title : `Welcome to ${name || `#${room.id}`}`),
        h('p', { class: 'muted' }, kind === 'DIRECT'
          ? 'This is the beginning of your conversation.'
          : 'This is the beginning of the room.')),
    };
  }

  /** @param {Room} room */
  #titleOf(room) {
    const other = (room.log.info.directUsers ?? []).find((/** @type {string} */ id) => id !== room.log.self);
    return other ? this.#nameOf(other) : room.log.info.name || room.id;
  }

  /** @param {string} id @param {string} [fallback] */
  #nameOf(id, fallback) {
    return this.#client?.names.get(id) ?? (fallback || id);
  }

  /** @param {any} change @returns {Row} */
  #changeRow({ type, offset, actor, user }) {
    const name = this.#nameOf(user.id, user.name);
    const by = this.#nameOf(actor.id, actor.name);
    const added = type === 'joined' && user.id !== actor.id;
    const removed = type === 'left' && user.id !== actor.id;
    const text = type === 'opened' ? `${by} created the room`
      : added ? `${by} added ${name}`
      : removed ? `${by} removed ${name}`
      : `${name} ${type === 'joined' ? 'joined' : 'left'}`;
    return plainRow(`change:${offset}`, 'change', text);
  }

  /** @param {import('../../sdk/room.js').Message} message @param {boolean} grouped @returns {Row} */
  #messageRow(message, grouped) {
    const name = this.#nameOf(message.actor.id, message.actor.name);
    const own = message.actor.id === this.#client?.user.id;
    return {
      key: own && message.clientId ? `own:${message.clientId}` : `at:${message.offset}`,
      signature: `${message.offset}:${message.revision}:${grouped}:${name}`,
      build: () => this.#messageElement(message, { grouped, name, own }),
    };
  }

  /**
   * @param {import('../../sdk/room.js').Message} message
   * @param {{grouped: boolean, name: string, own: boolean}} how
   */
  #messageElement(message, { grouped, name, own }) {
    const { offset, timeMs, actor, deleted } = message;
    const marks = deleted ? null : this.#reactions(message);
    return messageShell({ actor, name, timeMs, grouped, own, deleted, pending: 'false', offset },
      deleted
        ? h('span', { class: 'text', 'data-testid': 'message-text' }, 'This message was deleted')
        : textElement(message.text),
      !deleted && message.editedMs > 0 && ' ',
      !deleted && message.editedMs > 0
        && h('span', { class: 'edited', title: fullTime(message.editedMs) }, '(edited)'),
      marks);
  }

  /** @param {import('../../sdk/room.js').Message} message */
  #reactions({ offset, reactions }) {
    if (reactions.length === 0) return null;
    const self = this.#client?.user.id ?? '';
    return h('div', { class: 'reactions' }, ...reactions.map(({ emoji, users }) => {
      const mine = users.includes(self);
      const who = nameList(users.slice(0, 12).map((id) => (id === self ? 'you' : this.#nameOf(id))));
      return h('button', {
        type: 'button', class: 'reaction', 'data-testid': 'reaction', 'data-emoji': emoji,
        'aria-pressed': String(mine), 'aria-label': `${emoji} ${users.length}`, title: `${who} reacted`,
        onclick: () => this.actions.onreact(offset, emoji, !mine),
      }, h('span', { class: 'emoji' }, emoji), h('span', {}, String(users.length)));
    }));
  }

  /** @param {import('../../sdk/room.js').Pending} pending @param {boolean} grouped @returns {Row} */
  #pendingRow(pending, grouped) {
    const { clientId, text, timeMs, state, error } = pending;
    const user = this.#client?.user ?? { id: '', name: '' };
    const name = this.#nameOf(user.id, user.name);
    const online = this.#client?.state.state === 'online';
    const failed = state === 'failed';
    return {
      key: `own:${clientId}`,
      signature: `${state}:${grouped}:${online}`,
      build: () => messageShell(
        { actor: user, name, timeMs, grouped, own: true, deleted: false, pending: failed ? 'failed' : 'true' },
        textElement(text),
        failed
          ? h('span', { class: 'outbox failed' }, icon('warning'), `Not sent: ${error?.message ?? ''}`,
            h('button', { type: 'button', class: 'link', 'data-testid': 'message-retry', onclick: () => this.actions.onretry(clientId) }, 'Try again'),
            h('button', { type: 'button', class: 'link', 'data-testid': 'message-discard', onclick: () => this.actions.ondiscard(clientId) }, 'Discard'))
          : h('span', { class: 'outbox' }, icon('clock'), online ? 'Sending…' : 'Waiting for the connection')),
    };
  }

  /** Who has read up to the newest message, if that is the user's own. @param {any} log */
  #seenBy(log) {
    const newest = log.items.findLast((/** @type {any} */ item) => item.type === 'message');
    if (!newest || newest.actor.id !== log.self || newest.deleted) return '';
    const names = [];
    for (const [user, offset] of log.reads) {
      if (user !== log.self && offset >= newest.offset) names.push(this.#nameOf(user));
    }
    return names.length > 0 ? `Seen by ${names.length > 3 ? names.length : nameList(names)}` : '';
  }

  /** @param {Row[]} rows */
  #reconcile(rows) {
    const kept = new Map();
    /** @type {Node|null} */
    let place = this.#list.firstChild;
    for (const { key, signature, build } of rows) {
      const old = this.#rows.get(key);
      let element = old?.element;
      if (!old || old.signature !== signature) {
        element = build();
        element.dataset.key = key;
        if (old) {
          const hovered = this.#toolbar.parentNode === old.element;
          if (place === old.element) place = element;
          old.element.replaceWith(element);
          if (hovered && this.#offersActions(element)) element.append(this.#toolbar);
        }
      }
      if (element === place) place = /** @type {Node} */ (place).nextSibling;
      else this.#list.insertBefore(/** @type {Node} */ (element), place);
      kept.set(key, { signature, element });
    }
    while (place) {
      const next = place.nextSibling;
      /** @type {Element} */ (place).remove();
      place = next;
    }
    this.#rows = kept;
  }

  // ---- scrolling -----------------------------------------------------------------------------

  /**
   * The first message in view and where it ends: its top may change, because it loses its author
   * line when older messages of the same author come to stand above it.
   */
  #anchor() {
    const top = this.#scroller.getBoundingClientRect().top;
    for (const element of this.#list.querySelectorAll(':scope > .message, :scope > .change')) {
      const { bottom } = element.getBoundingClientRect();
      if (bottom > top) return { key: element.dataset.key, bottom };
    }
    return null;
  }

  /** @param {{key: string, bottom: number}} anchor */
  #restore({ key, bottom }) {
    const element = this.#rows.get(key)?.element;
    if (element) this.#scroller.scrollTop += element.getBoundingClientRect().bottom - bottom;
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const stuck = this.#stick;
    this.#stick = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    if (scrollTop < LOAD_OLDER_PX) this.actions.onolder();
    this.#updateJump();
    if (this.#stick && !stuck) this.actions.onend();
  }

  #updateJump() {
    const { log } = /** @type {Room} */ (this.#room ?? { log: { items: [], last: 0 } });
    if (this.#stick) this.#seenLast = log.last;
    let count = 0;
    for (let i = log.items.length - 1; i >= 0 && log.items[i].offset > this.#seenLast; i--) {
      if (log.items[i].type === 'message') count += 1;
    }
    this.#jump.hidden = this.#stick;
    this.#jump.lastChild.textContent = count > 0 ? `${count} new` : 'Latest';
  }

  // ---- what can be done with a message -------------------------------------------------------

  #makeToolbar() {
    const target = () => Number(this.#toolbar.parentNode?.dataset.offset);
    return h('div', { class: 'toolbar', role: 'toolbar', 'aria-label': 'Message actions' },
      iconButton('smile', 'React', (event) => {
        const offset = target();
        pickEmoji(/** @type {Element} */ (event.currentTarget), (emoji) => this.#toggle(offset, emoji));
      }, { 'data-testid': 'message-react' }),
      iconButton('pencil', 'Edit', () => this.actions.onedit(target()), { 'data-testid': 'message-edit' }),
      iconButton('trash', 'Delete', () => this.actions.ondelete(target()), { 'data-testid': 'message-delete' }));
  }

  /** @param {number} offset @param {string} emoji */
  #toggle(offset, emoji) {
    const reaction = this.#room?.log.message(offset)?.reactions.find((entry) => entry.emoji === emoji);
    this.actions.onreact(offset, emoji, !reaction?.users.includes(this.#client?.user.id ?? ''));
  }

  /** @param {any} element */
  #offersActions(element) {
    return element?.dataset.pending === 'false' && !element.classList.contains('deleted');
  }

  /** @param {Event} event */
  #placeToolbar(event) {
    const message = /** @type {Element} */ (event.target).closest('.message');
    if (!message || message === this.#toolbar.parentNode || !this.#offersActions(message)) return;
    this.#toolbar.classList.toggle('own', message.classList.contains('own'));
    message.append(this.#toolbar);
  }

  /** Arrow keys walk the messages; e, r and Delete act on the focused one. @param {KeyboardEvent} event */
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const messages = [...this.#list.querySelectorAll('.message')];
    const current = messages.indexOf(/** @type {Element} */ (event.target).closest('.message'));
    if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
      const next = event.key === 'ArrowUp' ? (current < 0 ? messages.length : current) - 1 : current + 1;
      if (current < 0 && event.key === 'ArrowDown') return;
      messages[next]?.focus();
      event.preventDefault();
      return;
    }
    const name = { e: 'message-edit', r: 'message-react', Delete: 'message-delete' }[event.key];
    if (!name || messages[current] !== event.target) return;
    const button = messages[current].querySelector(`[data-testid="${name}"]`);
    if (button?.checkVisibility()) {
      button.click();
      event.preventDefault();
    }
  }
}

/** @param {any} above @param {any} item whether it stands under the name of the one above */
function follows(above, item) {
  return Boolean(above) && above.actor.id === item.actor?.id && item.timeMs - above.timeMs < GROUP_WITHIN_MS;
}

/** @param {string} key @param {string} kind @param {string} text @param {string} [role] @returns {Row} */
function plainRow(key, kind, text, role) {
  return {
    key, signature: text, build: () => h('div', { class: kind, role, 'data-testid': kind }, h('span', {}, text)),
  };
}

/** @param {string} text */
function textElement(text) {
  return h('span', {
    class: isEmojiOnly(text) ? 'text emoji-only' : 'text', dir: 'auto', 'data-testid': 'message-text',
  }, ...linkify(text));
}

/**
 * @param {{actor: any, name: string, timeMs: number, grouped: boolean, own: boolean,
 *   deleted: boolean, pending: string, offset?: number}} how
 * @param {...any} children
 */
function messageShell({ actor, name, timeMs, grouped, own, deleted, pending, offset }, ...children) {
  const time = h('time', { datetime: new Date(timeMs).toISOString(), title: fullTime(timeMs) }, clockTime(timeMs));
  const classes = ['message', grouped && 'grouped', own && 'own', deleted && 'deleted'].filter(Boolean);
  return h('article', {
    class: classes.join(' '), tabindex: -1, 'aria-label': `${name}, ${clockTime(timeMs)}`,
    'data-testid': 'message', 'data-offset': offset, 'data-pending': pending, 'data-user': actor.id,
  },
  h('div', { class: 'gutter' }, grouped ? time : avatar(actor.id, name)),
  h('div', { class: 'body' },
    !grouped && h('div', { class: 'byline' }, h('span', { class: 'author' }, name), time),
    ...children));
}

/**
 * Shows the emoji to choose from, near a button.
 * @param {Element} near
 * @param {(emoji: string) => void} onpick
 */
export function pickEmoji(near, onpick) {
  const close = () => picker.close();
  const picker = h('dialog', { class: 'picker', 'aria-label': 'Choose an emoji', onclose: () => picker.remove() },
    ...EMOJI.map((emoji) => h('button', {
      type: 'button', 'data-testid': 'emoji-choice', 'data-emoji': emoji, 'aria-label': emoji,
      onclick: () => {
        close();
        onpick(emoji);
      },
    }, emoji)));
  picker.addEventListener('click', (/** @type {Event} */ event) => event.target === picker && close());
  document.body.append(picker);
  picker.showModal();
  const button = near.getBoundingClientRect();
  const box = picker.getBoundingClientRect();
  const below = button.bottom + 6 + box.height < innerHeight;
  picker.style.top = `${Math.max(8, below ? button.bottom + 6 : button.top - 6 - box.height)}px`;
  picker.style.left = `${Math.min(Math.max(8, button.right - box.width), innerWidth - box.width - 8)}px`;
}
