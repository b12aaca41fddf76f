// @ts-check
/** Where messages are written and edited. */

import { h, icon, iconButton } from './dom.js';
import { pickEmoji } from './messages.js';

const HEIGHT_MAX_PX = 220;

export class Composer {
  #input = h('textarea', {
    rows: 1, 'data-testid': 'composer', 'aria-label': 'Message', spellcheck: 'true', enterkeyhint: 'send',
  });
  #send = h('button', {
    type: 'submit', class: 'send', 'data-testid': 'send', 'aria-label': 'Send', title: 'Send',
  }, icon('send'));
  #editBar = h('div', { class: 'edit-bar', hidden: true });
  /** What was being written per room. @type {Map<string, string>} */
  #drafts = new Map();
  #room = '';
  /** @type {{offset: number, before: string}|null} the message being edited and the draft it replaced */
  #editing = null;

  /**
   * @param {{onsend: (text: string) => void, onedit: (offset: number, text: string) => void,
   *   ontyping: (active: boolean) => void, oneditlast: () => void}} actions
   */
  constructor(actions) {
    this.actions = actions;
    this.#editBar.append(icon('pencil'), h('span', {}, 'Editing your message'),
      h('span', { class: 'muted' }, 'Esc cancels'),
      iconButton('close', 'Cancel editing', () => this.cancelEdit()));
    this.element = h('form', { class: 'composer', onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
    } },
    this.#editBar,
    h('div', { class: 'composer-box' },
      this.#input,
      iconButton('smile', 'Insert an emoji', (event) => this.#insertEmoji(event)),
      this.#send));
    this.#input.addEventListener('input', () => this.#changed(true));
    this.#input.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  focus() {
    this.#input.focus();
  }

  /** @param {string} room @param {string} placeholder */
  open(room, placeholder) {
    if (room !== this.#room) {
      this.cancelEdit();
      this.#drafts.set(this.#room, this.#input.value);
      this.#room = room;
      this.#set(this.#drafts.get(room) ?? '');
    }
    this.#input.placeholder = placeholder;
  }

  /** @param {number} offset @param {string} text */
  edit(offset, text) {
    this.#editing = { offset, before: this.#editing?.before ?? this.#input.value };
    this.#editBar.hidden = false;
    this.#set(text);
    this.focus();
    this.#input.setSelectionRange(text.length, text.length);
  }

  /** @returns {boolean} whether something was being edited */
  cancelEdit() {
    if (!this.#editing) return false;
    const { before } = this.#editing;
    this.#editing = null;
    this.#editBar.hidden = true;
    this.#set(before);
    return true;
  }

  #submit() {
    const text = this.#input.value;
    if (!text.trim()) return;
    if (this.#editing) {
      const { offset } = this.#editing;
      this.cancelEdit();
      this.actions.onedit(offset, text);
    } else {
      this.#set('');
      this.actions.onsend(text);
    }
    this.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing) return; // An input method is choosing characters.
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && this.cancelEdit()) {
      event.preventDefault();
    } else if (event.key === 'ArrowUp' && !event.altKey && !this.#editing && !this.#input.value) {
      event.preventDefault();
      this.actions.oneditlast();
    }
  }

  /** @param {Event} event */
  #insertEmoji(event) {
    pickEmoji(/** @type {Element} */ (event.currentTarget), (emoji) => {
      this.#input.setRangeText(emoji, this.#input.selectionStart, this.#input.selectionEnd, 'end');
      this.#changed(true);
      this.focus();
    });
  }

  /** @param {string} text */
  #set(text) {
    this.#input.value = text;
    this.#changed(false);
  }

  /** @param {boolean} byUser */
  #changed(byUser) {
    const text = this.#input.value;
    this.#send.disabled = !text.trim();
    this.#input.style.height = 'auto';
    this.#input.style.height = `${Math.min(this.#input.scrollHeight, HEIGHT_MAX_PX)}px`;
    if (byUser && !this.#editing) this.actions.ontyping(text.length > 0);
  }
}
