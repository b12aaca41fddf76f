// @ts-check
/**
 * The chat page: signs in, and wires the client's events to the views.
 *
 * The client (`../sdk/`) knows what is true; the views draw it; this module decides what is open,
 * what counts as read, and whose presence is worth watching.
 */

import { RookeryClient, randomId } from '../sdk/rookery.js';
import { Composer } from './view/composer.js';
import { ago, h, icon, iconButton, nameList } from './view/dom.js';
import { loginView } from './view/login.js';
import { MessagesView } from './view/messages.js';
import { ConnectionBar, Toasts, openDialog } from './view/notify.js';
import { PeopleView, STATUS_NAMES, statusOf } from './view/people.js';
import { RoomsView, otherUser, roomTitle, roomsInOrder } from './view/rooms.js';

/** Below this width the list of people covers the messages, so it is closed unless asked for. */
const NARROW = matchMedia('(max-width: 1000px)');
/** Messages kept of a room that is not open, and of one that grew past the maximum. */
const KEPT_MESSAGES = 200;
/** Messages of one room in the page: past this, what is out of sight is forgotten. */
const HELD_MESSAGES_MAX = 1_000;
/** After older history failed to load, the next try waits this long. */
const OLDER_RETRY_MS = 2_000;
/** Repainting now and then ends typing signals that were never revoked. */
const TYPING_CHECK_MS = 1_000;
/** The room everyone meets in. */
const COMMON_ROOM = 'general';

/** Storage that may be forbidden (private windows); the page works without it. */
const memory = {
  /** @param {string} key */
  get(key) {
    try {
      return localStorage.getItem(`rookery.${key}`) ?? '';
    } catch {
      return '';
    }
  },
  /** @param {string} key @param {string} value empty: forget */
  set(key, value) {
    try {
      if (value) localStorage.setItem(`rookery.${key}`, value);
      else localStorage.removeItem(`rookery.${key}`);
    } catch {
      // Not remembered, then.
    }
  },
};

function deviceId() {
  const device = memory.get('device') || randomId();
  memory.set('device', device);
  return device;
}

class ChatPage {
  /** @type {string} */ open = '';
  #renderTimer = 0;
  #olderNotBeforeMs = 0;

  /** @param {RookeryClient} client @param {(problem: string) => void} signOut */
  constructor(client, signOut) {
    this.client = client;
    this.signOut = signOut;
    this.toasts = new Toasts();
    this.bar = new ConnectionBar({ reconnect: () => client.reconnectNow(), signIn: () => signOut('') });
    this.rooms = new RoomsView({
      onopen: (id) => this.openRoom(id),
      oncreate: async (wanted) => this.openRoom((await client.createRoom(wanted)).id),
      onjoin: async (id) => this.openRoom((await client.join(id)).id),
      onstatus: (status) => this.#setStatus(status),
      onsignout: () => signOut(''),
      onclose: () => this.#drawer(false),
    });
    this.messages = new MessagesView({
      onreact: (offset, emoji, active) => this.#try('change the reaction',
        active ? client.react(this.open, offset, emoji) : client.unreact(this.open, offset, emoji)),
      onedit: (offset) => this.#edit(offset),
      ondelete: (offset) => this.#confirmDelete(offset),
      onretry: (clientId) => client.retry(this.open, clientId),
      ondiscard: (clientId) => client.discard(this.open, clientId),
      onolder: () => this.#loadOlder(),
      onend: () => this.#readOpenRoom(),
    });
    this.composer = new Composer({
      onsend: (text) => this.#send(text),
      onedit: (offset, text) => this.#saveEdit(offset, text),
      ontyping: (active) => client.typing(this.open, active),
      oneditlast: () => this.#editLast(),
    });
    this.people = new PeopleView({
      onuser: (id) => this.#message(id),
      onclose: () => this.#showPeople(false),
    });
    this.#build();
    this.#listen();
  }

  #build() {
    this.title = h('h1', { 'data-testid': 'room-title' });
    this.subtitle = h('p', { class: 'muted' });
    this.leaveButton = iconButton('leave', 'Leave this room', () => this.#confirmLeave(), { 'data-testid': 'leave-room' });
    this.peopleButton = iconButton('people', 'Who is here', () => this.#showPeople(), { 'data-testid': 'toggle-people' });
    this.header = h('header', { class: 'room-header' },
      iconButton('menu', 'Rooms', () => this.#drawer(true), { class: 'icon-button drawer-only', 'data-testid': 'open-drawer' }),
      h('div', { class: 'room-heading' }, this.title, this.subtitle),
      this.leaveButton, this.peopleButton);
    this.typingLine = h('div', { class: 'typing', 'data-testid': 'typing', 'aria-live': 'polite' });
    this.typingText = h('span', {});
    this.typingLine.append(h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), this.typingText);
    this.welcome = this.#welcomeView();
    this.chat = h('div', { class: 'chat', hidden: true }, this.messages.element, this.typingLine, this.composer.element);
    this.element = h('div', { class: 'shell' },
      this.rooms.element,
      h('div', { class: 'scrim', onclick: () => this.#closePanels() }),
      h('main', {}, this.bar.element, this.header, this.welcome, this.chat),
      this.people.element,
      this.toasts.element);
    this.#fitPeople();
  }

  #welcomeView() {
    return h('div', { class: 'empty' },
      h('img', { src: '/assets/web/favicon.svg', alt: '', width: 64, height: 64 }),
      h('h2', {}, 'Nothing open yet'),
      h('p', { class: 'muted' }, 'Meet the others in the common room, or make one of your own.'),
      h('div', { class: 'actions' },
        h('button', { type: 'button', class: 'primary', 'data-testid': 'join-general', onclick: () => this.#joinCommonRoom() }, `Join #${COMMON_ROOM}`),
        h('button', { type: 'button', class: 'quiet', onclick: () => this.rooms.create('GROUP') }, 'Create a room')));
  }

  #listen() {
    const { client } = this;
    client.on('state', (change) => this.#stateChanged(change));
    client.on('room', (room) => this.#roomChanged(room));
    client.on('rooms', () => this.#scheduleRender());
    client.on('presence', () => this.#scheduleRender());
    client.on('added', ({ room, by }) => {
      if (by?.id !== client.user.id) this.toasts.show(`${by?.name ?? 'Someone'} added you to ${roomTitle(client, room)}`);
    });
    client.on('left', (id) => id === this.open && this.#closeRoom());
    client.on('problem', ({ doing, error }) => this.toasts.error(doing, error));
    this.abort = new AbortController();
    const { signal } = this.abort;
    document.addEventListener('keydown', (event) => this.#key(event), { signal });
    document.addEventListener('visibilitychange', () => this.#readOpenRoom(), { signal });
    window.addEventListener('focus', () => this.#readOpenRoom(), { signal });
    NARROW.addEventListener('change', () => this.#fitPeople(), { signal });
    window.addEventListener('online', () => client.reconnectNow(), { signal });
    this.typingTimer = setInterval(() => this.#renderTyping(), TYPING_CHECK_MS);
  }

  /** Takes the page apart. */
  end() {
    this.abort?.abort();
    clearInterval(this.typingTimer);
    clearTimeout(this.#renderTimer);
    this.client.close();
  }

  // ---- what is open --------------------------------------------------------------------------

  /** @param {string} id */
  openRoom(id) {
    const room = this.client.rooms.get(id);
    if (!room) return;
    if (this.open !== id) {
      this.client.typing(this.open, false);
      this.client.rooms.get(this.open)?.log.trim(KEPT_MESSAGES);
      this.open = id;
      memory.set('room', id);
      this.chat.hidden = false;
      this.welcome.hidden = true;
      this.messages.open(this.client, room);
    }
    if (room.state === 'listed' || room.state === 'lost') this.#try('open the room', this.client.join(id, { resume: true }));
    this.#drawer(false);
    this.#render();
    this.#readOpenRoom();
    this.composer.focus();
  }

  #closeRoom() {
    this.open = '';
    this.messages.close();
    this.chat.hidden = true;
    this.welcome.hidden = false;
    this.#scheduleRender();
  }

  /** Opens the room of last time, or the only sensible one, once rooms are known. */
  #openSomething() {
    if (this.open || this.client.rooms.size === 0) return;
    const last = this.client.rooms.get(memory.get('room'));
    const room = last ?? this.client.rooms.get(COMMON_ROOM) ?? roomsInOrder(this.client)[0];
    this.openRoom(room.id);
  }

  async #joinCommonRoom() {
    try {
      await this.client.join(COMMON_ROOM).catch((error) => {
        if (error.code !== 'NOT_FOUND') throw error;
        return this.client.createRoom({ room: COMMON_ROOM, kind: 'GROUP', public: true, name: 'General' })
          // Someone else created it at the same moment.
          .catch((raced) => (raced.code === 'CONFLICT' ? this.client.join(COMMON_ROOM) : Promise.reject(raced)));
      });
      this.openRoom(COMMON_ROOM);
    } catch (error) {
      this.toasts.error(`join #${COMMON_ROOM}`, error);
    }
  }

  /** Opens the direct room with a user. @param {string} user */
  async #message(user) {
    try {
      const room = await this.client.createRoom({ kind: 'DIRECT', members: [user] });
      this.#closePanels();
      this.openRoom(room.id);
    } catch (error) {
      this.toasts.error('open the conversation', error);
    }
  }

  #confirmLeave() {
    const room = this.client.rooms.get(this.open);
    if (!room) return;
    const { id } = room;
    openDialog({
      title: `Leave ${roomTitle(this.client, room)}?`, submit: 'Leave', submitTestId: 'leave-room-submit', danger: true,
      onsubmit: () => this.client.leave(id),
    }, h('p', { class: 'muted' }, room.log.info.public
      ? 'You can join again at any time.'
      : 'Only a member can let you in again.'));
  }

  // ---- messages ------------------------------------------------------------------------------

  /** @param {string} text */
  #send(text) {
    this.client.send(this.open, text);
    this.messages.clearNew();
  }

  /** @param {number} offset */
  #edit(offset) {
    const message = this.client.rooms.get(this.open)?.log.message(offset);
    if (message && !message.deleted) this.composer.edit(offset, message.text);
  }

  /** A refused edit goes back to where it was written. @param {number} offset @param {string} text */
  async #saveEdit(offset, text) {
    const room = this.open;
    try {
      await this.client.edit(room, offset, text);
    } catch (error) {
      this.toasts.error('edit the message', error);
      if (this.open === room) this.composer.edit(offset, text);
    }
  }

  #editLast() {
    const { log } = this.client.rooms.get(this.open) ?? {};
    const own = log?.items.findLast((item) =>
      item.type === 'message' && !item.deleted && item.actor.id === this.client.user.id);
    if (own) this.#edit(own.offset);
  }

  /** @param {number} offset */
  #confirmDelete(offset) {
    const room = this.open;
    openDialog({
      title: 'Delete this message?', submit: 'Delete', submitTestId: 'message-delete-submit', danger: true,
      onsubmit: () => this.client.delete(room, offset),
    }, h('p', { class: 'muted' }, 'Its text is gone for everyone. This cannot be undone.'));
  }

  #loadOlder() {
    if (Date.now() < this.#olderNotBeforeMs || this.client.state.state !== 'online') return;
    this.client.loadOlder(this.open).catch((error) => {
      this.#olderNotBeforeMs = Date.now() + OLDER_RETRY_MS;
      if (error.code !== 'DISCONNECTED') this.toasts.error('load older messages', error);
    });
  }

  /** Marks the open room read while someone looks at its end. */
  #readOpenRoom() {
    const room = this.client.rooms.get(this.open);
    if (!room?.log.known || !this.#looking || !this.messages.atEnd) return;
    this.client.markRead(room.id);
  }

  get #looking() {
    return document.visibilityState === 'visible' && document.hasFocus();
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {import('../sdk/rookery.js').StateChange} change */
  #stateChanged(change) {
    this.bar.show(change);
    const refused = change.state === 'offline' && !this.client.welcome && change.code !== 1000;
    if (refused) {
      this.signOut(change.error?.message || change.reason || 'the server refused the connection');
      return;
    }
    this.#scheduleRender();
  }

  /** @param {import('../sdk/rookery.js').Room} room */
  #roomChanged(room) {
    if (room.id === this.open && room.log.unread > 0 && !(this.#looking && this.messages.atEnd)) {
      this.messages.markNew();
    }
    const outOfSight = room.id !== this.open || this.messages.atEnd;
    if (outOfSight && room.log.items.length > HELD_MESSAGES_MAX) room.log.trim(KEPT_MESSAGES);
    this.#scheduleRender();
  }

  #scheduleRender() {
    if (this.#renderTimer) return;
    // Not an animation frame: badges and the title are wanted in the background, too.
    this.#renderTimer = setTimeout(() => {
      this.#renderTimer = 0;
      this.#openSomething();
      this.#render();
      this.#readOpenRoom();
    }, 16);
  }

  #render() {
    const { client } = this;
    const room = client.rooms.get(this.open);
    this.rooms.render(client, this.open);
    this.people.render(client, room);
    this.#renderHeader(room);
    this.#renderTyping();
    if (room) {
      this.messages.render();
      this.composer.open(room.id, `Message ${otherUser(room) ? '' : '#'}${roomTitle(client, room)}`);
    }
    this.#watchPresence(room);
    const unread = [...client.rooms.values()].reduce((sum, { log }) => sum + log.unread, 0);
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${room ? `${roomTitle(client, room)} · ` : ''}Rookery`;
  }

  /** @param {import('../sdk/rookery.js').Room} [room] */
  #renderHeader(room) {
    const { client } = this;
    const other = room ? otherUser(room) : '';
    this.leaveButton.hidden = !room || Boolean(other);
    this.peopleButton.hidden = !room;
    this.header.classList.toggle('blank', !room);
    this.element.classList.toggle('nothing-open', !room);
    const kind = !room || other ? '' : room.log.info.kind === 'GROUP' && !room.log.info.public ? 'lock' : 'hash';
    const title = room ? roomTitle(client, room) : '';
    if (this.title.dataset.shown !== kind + title) {
      this.title.dataset.shown = kind + title;
      this.title.replaceChildren(...(kind ? [icon(/** @type {any} */ (kind))] : []), h('span', {}, title));
    }
    const members = room?.log.info.memberCount ?? 0;
    const subtitle = !room ? '' : other ? this.#presenceLine(other)
      : [members > 0 && `${members} ${members === 1 ? 'member' : 'members'}`, `${room.log.hereCount} here`,
        room.state === 'lost' && 'not listening any more'].filter(Boolean).join(' · ');
    if (this.subtitle.textContent !== subtitle) this.subtitle.textContent = subtitle;
  }

  /** @param {string} user */
  #presenceLine(user) {
    const status = statusOf(this.client, user);
    const { lastSeenMs } = this.client.presence.get(user) ?? {};
    if (status === 'unknown') return '';
    return status === 'offline' && lastSeenMs ? `Last seen ${ago(lastSeenMs)}` : STATUS_NAMES[status];
  }

  #renderTyping() {
    const room = this.client.rooms.get(this.open);
    const names = (room?.log.typing(Date.now()) ?? []).map(({ id, name }) => name || this.client.names.get(id) || id);
    const text = names.length === 0 ? ''
      : names.length > 3 ? 'Several people are typing'
      : `${nameList(names)} ${names.length === 1 ? 'is' : 'are'} typing`;
    if (this.typingText.textContent !== text) this.typingText.textContent = text;
    this.typingLine.classList.toggle('active', text !== '');
  }

  /** @param {import('../sdk/rookery.js').Room} [room] */
  #watchPresence(room) {
    const users = [...this.client.rooms.values()].map(otherUser).filter(Boolean);
    this.client.watch([...(room?.log.here.keys() ?? []), ...users].filter((id) => id !== this.client.user.id));
  }

  // ---- panels and keys -----------------------------------------------------------------------

  /** @param {boolean} open */
  #drawer(open) {
    this.element.dataset.drawer = open ? 'open' : 'closed';
  }

  /** @param {boolean} [open] default: the other way round */
  #showPeople(open = this.element.dataset.people !== 'open') {
    this.element.dataset.people = open ? 'open' : 'closed';
    if (!NARROW.matches) memory.set('people', this.element.dataset.people ?? '');
  }

  #fitPeople() {
    this.element.dataset.people = NARROW.matches ? 'closed' : memory.get('people') || 'open';
  }

  #closePanels() {
    this.#drawer(false);
    if (NARROW.matches) this.element.dataset.people = 'closed';
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === 'Escape') this.#closePanels();
    if (!event.altKey || (event.key !== 'ArrowUp' && event.key !== 'ArrowDown')) return;
    event.preventDefault();
    const rooms = roomsInOrder(this.client);
    const at = rooms.findIndex(({ id }) => id === this.open);
    const next = rooms[(at + (event.key === 'ArrowDown' ? 1 : rooms.length - 1)) % rooms.length];
    if (next) this.openRoom(next.id);
  }

  // ---- small things --------------------------------------------------------------------------

  /** @param {any} status */
  #setStatus(status) {
    memory.set('status', status === 'ONLINE' ? '' : status);
    this.#try('set your status', this.client.setPresence(status));
  }

  /** @param {string} doing @param {Promise<unknown>} done */
  #try(doing, done) {
    done.catch((error) => this.toasts.error(doing, error));
  }
}

/** A token given in the address is taken out of it, so that it is not shared by accident. */
function tokenFromAddress() {
  const address = new URL(location.href);
  const token = address.searchParams.get('token') ?? '';
  if (token) {
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
    sessionStorage.setItem('rookery.token', token);
  }
  return token || sessionStorage.getItem('rookery.token') || '';
}

/** @param {{name?: string, token?: string}} who */
function start(who) {
  const client = new RookeryClient({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`,
    device: deviceId(),
    ...who,
  });
  const page = new ChatPage(client, (problem) => {
    page.end();
    sessionStorage.removeItem('rookery.token');
    memory.set('signedIn', '');
    login(problem);
  });
  client.on('welcome', () => who.name && memory.set('signedIn', 'yes'));
  document.body.replaceChildren(page.element);
  const status = memory.get('status');
  if (status) client.setPresence(/** @type {any} */ (status));
  client.connect();
}

/** @param {string} problem why the last try failed, or "" */
function login(problem) {
  document.title = 'Rookery';
  document.body.replaceChildren(loginView({
    name: memory.get('name'),
    problem,
    onname: (name) => {
      memory.set('name', name);
      start({ name });
    },
    ontoken: (token) => {
      sessionStorage.setItem('rookery.token', token);
      start({ token });
    },
  }));
}

const token = tokenFromAddress();
if (token) start({ token });
else if (memory.get('name') && memory.get('signedIn')) start({ name: memory.get('name') });
else login('');
