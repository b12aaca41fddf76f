// @ts-check
/**
 * Making elements. Everything a user wrote goes into the page as text, never as markup.
 */

const SVG = 'http://www.w3.org/2000/svg';

/** Strokes on a 24 × 24 grid. */
const ICONS = {
  arrowDown: ['M12 5v14', 'M6 13l6 6 6-6'],
  check: ['M5 12.5l4.5 4.5L19 7.5'],
  chat: ['M5 5h14a1.5 1.5 0 0 1 1.5 1.5v9A1.5 1.5 0 0 1 19 17H10l-5 4v-4a1.5 1.5 0 0 1-1.5-1.5v-9A1.5 1.5 0 0 1 5 5z'],
  chevron: ['M7 10l5 5 5-5'],
  clock: ['M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z', 'M12 8v4.5l3 1.7'],
  close: ['M6 6l12 12', 'M18 6L6 18'],
  enter: ['M13 5h4.5A1.5 1.5 0 0 1 19 6.500v11a1.5 1.5 0 0 1-1.500 1.500H13', 'M4 12h10', 'M10.500 8.500L14 12l-3.500 3.500'],
  hash: ['M9.500 4l-2 16', 'M16.500 4l-2 16', 'M4.500 9h16', 'M3.500 15h16'],
  leave: ['M11 5H6.500A1.500 1.500 0 0 0 5 6.500v11A1.500 1.500 0 0 0 6.500 19H11', 'M10 12h10', 'M16.500 8.500L20 12l-3.500 3.500'],
  lock: ['M6.500 11h11a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1z', 'M8.500 11V8a3.500 3.500 0 0 1 7 0v3'],
  menu: ['M4 7h16', 'M4 12h16', 'M4 17h16'],
  pencil: ['M5 19l1-4L16.500 4.500l3 3L9 18z', 'M14 7l3 3'],
  people: ['M9 11.500a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7z', 'M2.500 19.500c.6-3.300 3.100-5 6.500-5s5.900 1.700 6.500 5', 'M16 4.900a3.500 3.500 0 0 1 0 6.400', 'M18.500 15c1.700.8 2.700 2.300 3 4.500'],
  plus: ['M12 5v14', 'M5 12h14'],
  retry: ['M19 12a7 7 0 1 1-2-4.900', 'M19.500 3.500v4.200h-4.200'],
  send: ['M4.500 12L20 4.500 14.500 20l-3-6.500z', 'M20 4.500l-8.500 9'],
  smile: ['M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17z', 'M8.500 14.200c.8 1.200 2 1.900 3.500 1.900s2.700-.7 3.500-1.900', 'M9 9.500v.6', 'M15 9.500v.6'],
  trash: ['M4.500 7h15', 'M9.500 7V4.500h5V7', 'M6.500 7l.8 12.500h9.400L17.500 7', 'M10.300 10.500v5.500', 'M13.700 10.500v5.500'],
  warning: ['M12 4.500l8.500 15h-17z', 'M12 10v4.500', 'M12 17v.2'],
};

/** Colours of avatars; `style.css` has a class for each. */
const HUES = 10;

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] `on…` are listeners, null and false leave out
 * @param {...(Node|string|null|false|undefined)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/**
 * A button that shows an icon only.
 * @param {keyof typeof ICONS} name
 * @param {string} label for people who do not see it, and as its tooltip
 * @param {(event: Event) => void} onclick
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, onclick, properties = {}) {
  return h('button', {
    type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...properties,
  }, icon(name));
}

/** A stable number for a user. @param {string} id */
export function hueOf(id) {
  // FNV-1a, its high bits mixed down: short names that differ in a letter should differ in colour.
  let hash = 0x811c9dc5;
  for (const character of id) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % HUES;
}

/** One or two letters for a name. @param {string} name */
export function initials(name) {
  const words = name.trim().split(/[\s._-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words.slice(0, 1);
  return letters.map((word) => Array.from(word)[0]).join('').toUpperCase() || '?';
}

/**
 * A user's picture: initials on their colour, with a presence dot when a status is given.
 * @param {string} id
 * @param {string} name
 * @param {string} [status] lower case, as `data-status`
 */
export function avatar(id, name, status) {
  return h('span', { class: `avatar hue-${hueOf(id)}`, 'aria-hidden': 'true' },
    initials(name),
    status && h('span', { class: 'dot', 'data-status': status }));
}

/** Text with http and https addresses as links. @param {string} text @returns {(Node|string)[]} */
export function linkify(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"]+/giu)) {
    // Punctuation that ends a sentence does not belong to the address.
    const address = match[0].replace(/[.,;:!?'")\]}]+$/u, '');
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(end, match.index));
    parts.push(h('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, address));
    end = match.index + address.length;
  }
  parts.push(text.slice(end));
  return parts.filter((part) => part !== '');
}

/** Whether a text is a few emoji and nothing else. @param {string} text */
export function isEmojiOnly(text) {
  return text.length <= 24
    && /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|[\u200d\ufe0f\s])+$/u.test(text);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' });

/** @param {number} ms */
export const clockTime = (ms) => CLOCK.format(ms);
/** @param {number} ms */
export const fullTime = (ms) => FULL.format(ms);

/** A name for the local day of a time; equal for equal days. @param {number} ms */
export function dayName(ms) {
  const day = new Date(ms);
  const today = new Date();
  if (day.toDateString() === today.toDateString()) return 'Today';
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (day.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return (day.getFullYear() === today.getFullYear() ? DAY : DAY_OF_YEAR).format(day);
}

/** How long ago, roughly. @param {number} ms */
export function ago(ms) {
  const minutes = Math.round((Date.now() - ms) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return `on ${DAY.format(ms)}`;
}

/** A list of names as people write it. @param {string[]} names */
export function nameList(names) {
  if (names.length <= 2) return names.join(' and ');
  return `${names.slice(0, -1).join(', ')} and ${names[names.length - 1]}`;
}
