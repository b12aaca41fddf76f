// @ts-check
/** Who is here in the open room, and how a user's presence reads. */

import { avatar, h } from './dom.js';

/** @type {Record<string, string>} */
export const STATUS_NAMES = {
  online: 'Online', away: 'Away', dnd: 'Do not disturb', invisible: 'Invisible', offline: 'Offline',
  unknown: 'Unknown',
};
const ORDER = ['online', 'away', 'dnd', 'unknown', 'invisible', 'offline'];

/**
 * A user's status in lower case; `unknown` until the server told it.
 * @param {import('../../sdk/rookery.js').RookeryClient} client
 * @param {string} user
 */
export function statusOf(client, user) {
  if (user === client.user.id) return client.status.toLowerCase();
  return client.presence.get(user)?.status?.toLowerCase() ?? 'unknown';
}

export class PeopleView {
  #list = h('ul', { class: 'people-list' });
  #count = h('span', { class: 'count' });
  #more = h('p', { class: 'muted more' });
  #shown = '';

  /** @param {{onuser: (id: string) => void, onclose: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.element = h('aside', { class: 'people', 'aria-label': 'Who is here' },
      h('h2', {}, 'Here now', this.#count), this.#list, this.#more);
  }

  /**
   * @param {import('../../sdk/rookery.js').RookeryClient} client
   * @param {import('../../sdk/rookery.js').Room|undefined} room
   */
  render(client, room) {
    const users = [...(room?.log.here.values() ?? [])]
      .map(({ id, name }) => ({ id, name: name || client.names.get(id) || id, status: statusOf(client, id) }))
      .sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status) || a.name.localeCompare(b.name));
    const count = room?.log.hereCount ?? 0;
    const shown = JSON.stringify([users, count]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#count.textContent = String(count);
    this.#more.textContent = count > users.length ? `and ${count - users.length} more` : '';
    this.#list.replaceChildren(...users.map((user) => this.#row(client, user)));
  }

  /** @param {import('../../sdk/rookery.js').RookeryClient} client @param {any} user */
  #row(client, { id, name, status }) {
    const self = id === client.user.id;
    return h('li', {}, h('button', {
      type: 'button', class: 'person', disabled: self, 'data-testid': 'here-user', 'data-user': id,
      'data-status': status, title: self ? 'This is you' : `Message ${name}`,
      'aria-label': `${name}, ${STATUS_NAMES[status] ?? status}`,
      onclick: () => this.actions.onuser(id),
    },
    avatar(id, name, status),
    h('span', { class: 'person-name' }, name, self && h('span', { class: 'muted' }, ' (you)')),
    status !== 'online' && status !== 'unknown' && h('span', { class: 'person-status' }, STATUS_NAMES[status])));
  }
}
