// @ts-check
/** The sidebar: the user's rooms, ways to get into more, and the user's own status. */

import { randomId } from '../../sdk/rookery.js';
import { avatar, h, icon, iconButton } from './dom.js';
import { openDialog } from './notify.js';
import { STATUS_NAMES, statusOf } from './people.js';

/**
 * @typedef {import('../../sdk/rookery.js').RookeryClient} Client
 * @typedef {import('../../sdk/rookery.js').Room} Room
 */

/** The other user of a direct room, or "". @param {Room} room */
export function otherUser(room) {
  const { info, self } = room.log;
  if (info.kind !== 'DIRECT') return '';
  return (info.directUsers ?? []).find((/** @type {string} */ id) => id !== self) ?? self;
}

/** What a room is called on screen. @param {Client} client @param {Room} room */
export function roomTitle(client, room) {
  const other = otherUser(room);
  return other ? client.names.get(other) ?? other : room.log.info.name || room.id;
}

/** All rooms in the order of the list. @param {Client} client @returns {Room[]} */
export function roomsInOrder(client) {
  return [...client.rooms.values()].sort((a, b) =>
    Number(Boolean(otherUser(a))) - Number(Boolean(otherUser(b)))
    || roomTitle(client, a).localeCompare(roomTitle(client, b)) || a.id.localeCompare(b.id));
}

export class RoomsView {
  #groups = h('ul', { class: 'rooms' });
  #directs = h('ul', { class: 'rooms' });
  #me = h('button', { type: 'button', class: 'me', 'data-testid': 'me', 'aria-haspopup': 'menu' });
  #shown = '';
  #meShown = '';

  /**
   * @param {{onopen: (id: string) => void, oncreate: (wanted: any) => Promise<unknown>,
   *   onjoin: (id: string) => Promise<unknown>, onstatus: (status: any) => void,
   *   onsignout: () => void, onclose: () => void}} actions
   */
  constructor(actions) {
    this.actions = actions;
    this.#me.onclick = () => this.#menu();
    this.element = h('nav', { class: 'sidebar', 'aria-label': 'Rooms' },
      h('header', { class: 'brand' },
        h('img', { src: '/assets/web/favicon.svg', alt: '', width: 28, height: 28 }),
        h('span', {}, 'Rookery'),
        iconButton('close', 'Close the room list', () => actions.onclose(), { class: 'icon-button drawer-only' })),
      h('div', { class: 'room-list', 'data-testid': 'room-list' },
        h('div', { class: 'section' }, h('h2', {}, 'Rooms'),
          iconButton('enter', 'Join a room by its id', () => this.join(), { 'data-testid': 'join-room' }),
          iconButton('plus', 'Create a room', () => this.create('GROUP'), { 'data-testid': 'create-room' })),
        this.#groups,
        h('div', { class: 'section' }, h('h2', {}, 'Direct messages'),
          iconButton('plus', 'Message someone', () => this.create('DIRECT'), { 'data-testid': 'create-direct' })),
        this.#directs),
      h('footer', {}, this.#me));
    for (const list of [this.#groups, this.#directs]) {
      list.addEventListener('click', (/** @type {Event} */ event) => {
        const item = /** @type {Element} */ (event.target).closest('[data-room]');
        if (item instanceof HTMLElement) actions.onopen(item.dataset.room ?? '');
      });
    }
  }

  /** @param {Client} client @param {string} open id of the open room */
  render(client, open) {
    const rows = roomsInOrder(client).map((room) => {
      const other = otherUser(room);
      return {
        id: room.id, other, title: roomTitle(client, room), unread: room.log.unread, state: room.state,
        status: other && statusOf(client, other), locked: room.log.info.kind === 'GROUP' && !room.log.info.public,
        current: room.id === open,
      };
    });
    const shown = JSON.stringify(rows);
    if (shown !== this.#shown) {
      this.#shown = shown;
      const focused = document.activeElement instanceof HTMLElement && document.activeElement.dataset.room;
      this.#groups.replaceChildren(...rows.filter(({ other }) => !other).map(roomRow));
      this.#directs.replaceChildren(...rows.filter(({ other }) => other).map(roomRow));
      if (focused) this.element.querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
    }
    this.#renderMe(client);
  }

  /** @param {Client} client */
  #renderMe(client) {
    const { id, name } = client.user;
    const status = client.status.toLowerCase();
    const shown = `${id}/${name}/${status}`;
    if (shown === this.#meShown) return;
    this.#meShown = shown;
    this.#me.setAttribute('aria-label', `${name || id}, ${STATUS_NAMES[status]}. Change your status`);
    this.#me.replaceChildren(avatar(id, name || id, status),
      h('span', { class: 'me-name' }, h('strong', {}, name || id), h('span', { class: 'muted' }, STATUS_NAMES[status])),
      icon('chevron'));
  }

  #menu() {
    const choice = (/** @type {string} */ status) => h('button', {
      type: 'button', role: 'menuitem', 'data-testid': `status-${status}`, onclick: () => {
        menu.close();
        this.actions.onstatus(status.toUpperCase());
      },
    }, h('span', { class: 'dot', 'data-status': status }), STATUS_NAMES[status]);
    const menu = h('dialog', {
      class: 'menu', role: 'menu', 'aria-label': 'Your status', onclose: () => menu.remove(),
      onclick: (/** @type {Event} */ event) => event.target === menu && menu.close(),
    },
    ...['online', 'away', 'dnd', 'invisible'].map(choice),
    h('hr', {}),
    h('button', { type: 'button', role: 'menuitem', 'data-testid': 'sign-out', onclick: () => {
      menu.close();
      this.actions.onsignout();
    } }, icon('leave'), 'Sign out'));
    document.body.append(menu);
    menu.showModal();
    const box = this.#me.getBoundingClientRect();
    menu.style.left = `${box.left}px`;
    menu.style.width = `${box.width}px`;
    menu.style.top = `${box.top - menu.offsetHeight - 6}px`;
  }

  /** Asks for a room id and joins it. */
  join() {
    openDialog({
      title: 'Join a room', submit: 'Join', submitTestId: 'join-room-submit',
      onsubmit: (form) => this.actions.onjoin(String(form.get('room')).trim().replace(/^#/u, '')),
    },
    h('p', { class: 'muted' }, 'Anyone may join a public room whose id they know.'),
    h('label', { class: 'field' }, 'Room id', h('input', {
      name: 'room', required: true, maxlength: 65, placeholder: 'general', autocomplete: 'off',
      autocapitalize: 'none', 'data-testid': 'join-room-id',
    })));
  }

  /** Asks what the new room is to be. @param {'GROUP'|'DIRECT'} kind */
  create(kind) {
    if (kind === 'DIRECT') this.#createDirect();
    else this.#createGroup();
  }

  #createDirect() {
    openDialog({
      title: 'New direct message', submit: 'Open', submitTestId: 'create-direct-submit',
      onsubmit: (form) => this.actions.oncreate({ kind: 'DIRECT', members: [String(form.get('user')).trim()] }),
    },
    h('label', { class: 'field' }, 'User id', h('input', {
      name: 'user', required: true, maxlength: 128, placeholder: 'Grace', autocomplete: 'off',
      autocapitalize: 'none', 'data-testid': 'create-direct-user',
    })));
  }

  #createGroup() {
    const clientId = randomId(); // One for the dialog: submitting twice cannot make two rooms.
    openDialog({
      title: 'Create a room', submit: 'Create room', submitTestId: 'create-room-submit',
      onsubmit: (form) => this.actions.oncreate({
        kind: 'GROUP',
        clientId,
        name: String(form.get('name')).trim(),
        room: String(form.get('room')).trim() || undefined,
        public: form.get('public') === 'on',
        members: String(form.get('members')).split(',').map((id) => id.trim()).filter(Boolean),
      }),
    },
    h('label', { class: 'field' }, 'Name', h('input', {
      name: 'name', required: true, maxlength: 128, placeholder: 'Design', autocomplete: 'off',
      'data-testid': 'create-room-name',
    })),
    h('label', { class: 'field' }, h('span', {}, 'Room id ', h('span', { class: 'muted' }, '· optional, cannot be changed')), h('input', {
      name: 'room', maxlength: 64, pattern: '[A-Za-z0-9._~:\\-]+', placeholder: 'design', autocomplete: 'off',
      autocapitalize: 'none', title: 'Letters, digits and . _ - ~ :', 'data-testid': 'create-room-id',
    })),
    h('label', { class: 'field' }, h('span', {}, 'Members ', h('span', { class: 'muted' }, '· optional, user ids with commas')), h('input', {
      name: 'members', placeholder: 'Grace, Linus', autocomplete: 'off', autocapitalize: 'none',
      'data-testid': 'create-room-members',
    })),
    h('label', { class: 'check' },
      h('input', { type: 'checkbox', name: 'public', checked: true, 'data-testid': 'create-room-public' }),
      h('span', {}, h('strong', {}, 'Public'), h('span', { class: 'muted' }, 'Anyone who knows the id may join.'))));
  }
}

/** @param {any} row */
function roomRow({ id, other, title, unread, state, status, locked, current }) {
  return h('li', {}, h('button', {
    type: 'button', class: `room${unread > 0 ? ' unread' : ''}${state === 'lost' ? ' lost' : ''}`,
    'data-testid': 'room-item', 'data-room': id, 'aria-current': current ? 'page' : null,
    title: other ? `${title} (${STATUS_NAMES[status] ?? status})` : `${title} (${id})`,
  },
  other ? avatar(other, title, status) : h('span', { class: 'room-icon' }, icon(locked ? 'lock' : 'hash')),
  h('span', { class: 'room-title' }, title),
  unread > 0 && h('span', {
    class: 'badge', 'data-testid': 'unread-badge', 'aria-label': `${unread} unread`,
  }, unread > 99 ? '99+' : String(unread))));
}
