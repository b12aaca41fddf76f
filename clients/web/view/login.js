// @ts-check
/** The page before there is a user. */

import { h } from './dom.js';

/**
 * @param {{name: string, problem: string, onname: (name: string) => void,
 *   ontoken: (token: string) => void}} options
 */
export function loginView({ name, problem, onname, ontoken }) {
  const nameInput = h('input', {
    name: 'name', value: name, required: true, maxlength: 64, autocomplete: 'nickname',
    placeholder: 'Ada', 'data-testid': 'login-name', autofocus: true,
  });
  const tokenInput = h('textarea', {
    name: 'token', rows: 3, spellcheck: 'false', autocomplete: 'off', 'data-testid': 'login-token',
  });
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const token = tokenInput.value.trim();
    if (token) ontoken(token);
    else if (nameInput.value.trim()) onname(nameInput.value.trim());
  };
  const tokenPart = h('details', {},
    h('summary', {}, 'Sign in with a token instead'),
    h('label', { class: 'field' }, 'Token', tokenInput),
    h('p', { class: 'hint' }, 'Servers outside development know people by a signed token.'));
  tokenPart.addEventListener('toggle', () => {
    nameInput.required = !tokenPart.open;
  });
  return h('div', { class: 'login' },
    h('form', { class: 'login-card', onsubmit: submit },
      h('img', { src: '/assets/web/favicon.svg', alt: '', width: 56, height: 56 }),
      h('h1', {}, 'Welcome to Rookery'),
      h('p', { class: 'muted' }, 'Choose the name the others will see.'),
      problem && h('p', { class: 'problem', role: 'alert', 'data-testid': 'login-problem' }, problem),
      h('label', { class: 'field' }, 'Your name', nameInput),
      h('button', { type: 'submit', class: 'primary wide', 'data-testid': 'login-submit' }, 'Start chatting'),
      tokenPart));
}
