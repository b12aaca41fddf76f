/**
 * The chat page in a real browser against the real binary: two people, one server, one of them
 * killed. The tests run in order and share the pages, as people do.
 *
 * ROOKERY_BIN names the binary, CHROMIUM the browser (default: /usr/bin/chromium),
 * ROOKERY_SCREENSHOT a file for a picture of the page.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Person, eventually, launchBrowser } from './person.mjs';
import { Server } from './server.mjs';

/** Another device of a user, connected with the page's own SDK inside the page. */
function device(page, name) {
  return page.evaluateHandle(async (user) => {
    const { RookeryClient } = await import('/assets/sdk/rookery.js');
    const url = `${location.origin.replace('http', 'ws')}/v1/ws`;
    const client = new RookeryClient({ url, name: user, autoJoin: false });
    await new Promise((resolve) => {
      client.on('welcome', resolve);
      client.connect();
    });
    return client;
  }, name);
}

/** Messages of a room as history tells them (offset and text), and who came and went. */
async function history(page, name, room) {
  const elsewhere = await device(page, name);
  return elsewhere.evaluate(async (client, id) => {
    const events = [];
    for (let beforeOffset; ; ) {
      const body = { room: id, limit: 200, ...(beforeOffset ? { beforeOffset } : {}) };
      const page = (await client.request('history', body)).history.events ?? [];
      events.unshift(...page);
      if (page.length === 0 || page[0].offset === 1) break;
      beforeOffset = page[0].offset;
    }
    client.close();
    return {
      memberships: events.flatMap((event) => ['memberJoined', 'memberLeft'].filter((kind) => event[kind])),
      offsets: events.map(({ offset }) => offset),
      messages: events.filter(({ message }) => message).map(({ offset, message }) => [
        offset, message.deleted ? 'This message was deleted' : message.text,
      ]),
    };
  }, room);
}

/** Sends many messages as another user. */
async function sendMany(page, name, room, texts) {
  const elsewhere = await device(page, name);
  return elsewhere.evaluate(async (client, { id, all }) => {
    const { log } = await client.join(id);
    for (const text of all) client.send(id, text);
    await new Promise((resolve) => {
      const check = () => log.pending.length === 0 && resolve();
      client.on('room', check);
      check();
    });
    client.close();
  }, { id: room, all: texts });
}

/** Leaves a room as another device of a user. */
async function leaveElsewhere(page, name, room) {
  const elsewhere = await device(page, name);
  return elsewhere.evaluate(async (client, id) => {
    await client.request('leave', { room: id });
    client.close();
  }, room);
}

describe('the chat page', { concurrency: false, timeout: 300_000 }, () => {
  let server;
  let browser;
  /** @type {Person} */ let ada;
  /** @type {Person} */ let grace;

  async function newcomer(name, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const person = new Person(name, await context.newPage());
    await person.logIn(server.url);
    return person;
  }

  before(async () => {
    server = await Server.start();
    browser = await launchBrowser();
  });

  after(async () => {
    await browser?.close();
    await server?.end();
  });

  afterEach((context) => {
    const problems = [ada, grace].flatMap((person) => person?.problems.splice(0) ?? []);
    if (context.error) console.error(server.log.slice(-40).join('\n'));
    assert.deepEqual(problems, []);
  });

  test('two people log in and meet in #general', async () => {
    ada = await newcomer('Ada');
    await ada.byId('join-general').click();
    await ada.room('general').waitFor();
    grace = await newcomer('Grace');
    await grace.byId('join-general').click();
    await grace.room('general').waitFor();
    await ada.say('Hello Grace');
    await grace.hears('Hello Grace');
    await grace.say('Hello Ada');
    await ada.hears('Hello Ada');
    await ada.hears('Hello Grace');
    assert.equal(await ada.message('Hello Grace').count(), 1);
  });

  test('text is shown as text and addresses as links', async () => {
    const text = '<img src=x onerror=alert(1)> see https://example.org/a?b=1.';
    await ada.say(text);
    await grace.hears(text);
    const link = grace.message(text).locator('a');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a?b=1');
    assert.match(await link.getAttribute('rel'), /noopener/u);
    assert.equal(await grace.message(text).locator('img').count(), 0);
  });

  test('an edit reaches the other page', async () => {
    await ada.say('teh first draft');
    await grace.hears('teh first draft');
    await ada.byId('composer').press('ArrowUp');
    assert.equal(await ada.byId('composer').inputValue(), 'teh first draft');
    await ada.say('the final text');
    await grace.hears('the final text');
    await ada.hears('the final text');
    await grace.message('the final text').getByText('(edited)').waitFor();
    await ada.act('the final text', 'message-edit');
    await ada.byId('composer').press('Escape');
    assert.equal(await ada.byId('composer').inputValue(), '');
  });

  test('a delete takes the text away on both pages', async () => {
    await ada.say('said too soon');
    await grace.hears('said too soon');
    await ada.act('said too soon', 'message-delete');
    await ada.byId('message-delete-submit').click();
    for (const person of [ada, grace]) {
      await person.message('This message was deleted').waitFor();
      await eventually('the text is gone', async () => (await person.message('said too soon').count()) === 0);
    }
    await grace.message('This message was deleted').hover();
    assert.equal(await grace.message('This message was deleted').getByTestId('message-react').count(), 0);
  });

  test('reactions count, toggle and go', async () => {
    await ada.say('Lunch at noon?');
    await grace.hears('Lunch at noon?');
    await grace.act('Lunch at noon?', 'message-react');
    await grace.page.locator('[data-testid=emoji-choice][data-emoji="👍"]').click();
    const seenBy = (person) => person.message('Lunch at noon?').getByTestId('reaction');
    await seenBy(ada).waitFor();
    assert.equal(await seenBy(ada).getAttribute('data-emoji'), '👍');
    assert.equal(await seenBy(ada).getAttribute('aria-pressed'), 'false');
    await seenBy(ada).click();
    await eventually('two thumbs', async () => (await seenBy(grace).textContent()) === '👍2');
    await seenBy(ada).click();
    await eventually('one thumb', async () => (await seenBy(grace).textContent()) === '👍1');
    await seenBy(grace).click();
    await eventually('no thumb', async () => (await seenBy(ada).count()) === 0);
  });

  test('typing is seen and ends with the message', async () => {
    await grace.byId('composer').pressSequentially('I am thinking');
    await ada.byId('typing').getByText('Grace is typing').waitFor();
    await grace.say('I am thinking');
    await eventually('typing ends', async () => (await ada.byId('typing').textContent()) === '');
  });

  test('who is here and their status is seen', async () => {
    const graceSeen = ada.byId('here-user').filter({ hasText: 'Grace' });
    const status = (wanted) => eventually(`Grace is ${wanted}`, async () =>
      (await graceSeen.getAttribute('data-status')) === wanted);
    await graceSeen.waitFor();
    await status('online');
    await grace.byId('me').click();
    await grace.byId('status-dnd').click();
    await status('dnd');
    await grace.byId('me').click();
    await grace.byId('status-online').click();
    await status('online');
    const linus = await newcomer('Linus');
    await linus.byId('join-general').click();
    const linusSeen = ada.byId('here-user').filter({ hasText: 'Linus' });
    await linusSeen.waitFor();
    await linus.page.context().close();
    await eventually('Linus went', async () => (await linusSeen.count()) === 0);
  });

  test('unread is counted while another room is open, and reading lasts', async () => {
    await grace.byId('create-room').click();
    await grace.byId('create-room-name').fill('Side room');
    await grace.byId('create-room-id').fill('side');
    await grace.byId('create-room-submit').click();
    await grace.open('side');
    await ada.say('Grace, are you there?');
    await ada.say('It is about lunch');
    const badge = grace.room('general').getByTestId('unread-badge');
    await eventually('a badge of 2', async () =>
      (await badge.count()) === 1 && (await badge.textContent()) === '2');
    await grace.open('general');
    await grace.hears('It is about lunch');
    await grace.byId('new-line').waitFor();
    await eventually('no badge', async () => (await badge.count()) === 0);
    await ada.page.getByText('Seen by Grace').waitFor();
    await grace.page.reload();
    await grace.connected();
    await grace.hears('It is about lunch');
    assert.equal(await badge.count(), 0);
  });

  test('a room is joined by its id, and a wrong id is told', async () => {
    await ada.byId('join-room').click();
    await ada.byId('join-room-id').fill('no-such-room');
    await ada.byId('join-room-submit').click();
    await ada.page.getByRole('alert').getByText('does not exist').waitFor();
    await ada.byId('join-room-id').fill('side');
    await ada.byId('join-room-submit').click();
    await ada.room('side').waitFor();
    await ada.say('Found it');
    await grace.room('side').getByTestId('unread-badge').waitFor();
    await ada.open('general');
    await ada.page.keyboard.press('Alt+ArrowDown');
    await ada.page.locator('[data-room=side][aria-current=page]').waitFor();
    await ada.page.keyboard.press('Alt+ArrowUp');
    await ada.page.locator('[data-room=general][aria-current=page]').waitFor();
  });

  test('a click on a person opens the conversation on both sides', async () => {
    await ada.byId('here-user').filter({ hasText: 'Grace' }).click();
    await eventually('the conversation is open', async () => (await ada.byId('room-title').textContent()) === 'Grace');
    await ada.say('Just between us');
    const direct = grace.byId('room-item').filter({ hasText: 'Ada' });
    await direct.getByTestId('unread-badge').waitFor();
    await direct.click();
    await grace.hears('Just between us');
    await ada.open('general');
    await grace.open('general');
  });

  test('older messages load on scroll without moving what is read', async () => {
    const lines = Array.from({ length: 130 }, (_, i) => `line ${i + 1} of 130`);
    await sendMany(grace.page, 'Carol', 'general', lines);
    await ada.endsUp('all lines', lines);
    await ada.page.reload();
    await ada.connected();
    await ada.hears('line 130 of 130');
    assert.equal(await ada.message('line 1 of 130').count(), 0, 'only the newest page is loaded at first');
    // What is read stays where it is while a page is put above it.
    const moved = await ada.page.evaluate(async () => {
      const timeline = document.querySelector('[data-testid=timeline]');
      const messages = () => [...document.querySelectorAll('[data-testid=message]')];
      timeline.scrollTop = 250;
      const first = messages()[0].dataset.offset;
      const { top: edge } = timeline.getBoundingClientRect();
      const read = messages().filter((row) => row.getBoundingClientRect().top > edge)[1];
      const { top } = read.getBoundingClientRect();
      await new Promise((resolve) => {
        const observer = new MutationObserver(() => {
          if (messages()[0].dataset.offset === first) return;
          observer.disconnect();
          resolve();
        });
        observer.observe(timeline, { childList: true, subtree: true });
      });
      return Math.abs(read.getBoundingClientRect().top - top);
    });
    assert.ok(moved < 2, `moved by ${moved} px`);
    await ada.scrollToBeginning();
    await ada.hears('line 1 of 130');
    await ada.hears('Hello Grace');
  });

  test('a killed server comes back under the open pages without holes or doubles', async () => {
    const sent = [];
    for (let i = 1; i <= 8; i++) sent.push(`before the kill ${i}`);
    for (const text of sent) await ada.say(text);
    await server.kill();
    for (const person of [ada, grace]) {
      await person.page.locator('[data-testid=connection]:not([data-state=online])').waitFor();
    }
    for (let i = 1; i <= 3; i++) {
      sent.push(`while it is gone ${i}`);
      await ada.say(sent.at(-1));
    }
    sent.push('from the other side');
    await grace.say(sent.at(-1));
    const waiting = ada.page.locator('[data-testid=message][data-pending=true]');
    await waiting.filter({ hasText: 'while it is gone 3' }).waitFor();
    await ada.byId('reconnect-now').or(ada.page.getByText('connecting', { exact: false })).first().waitFor();
    await server.up();
    for (const person of [ada, grace]) {
      await person.connected();
      await person.endsUp('what was sent', sent);
    }
    await eventually('nothing is pending', async () => (await waiting.count()) === 0);
    await ada.say('after the restart');
    await grace.hears('after the restart');
    const { offsets, messages } = await history(ada.page, 'Ada', 'general');
    assert.deepEqual(offsets, offsets.map((_, i) => i + 1), 'offsets are dense');
    for (const text of sent) {
      assert.equal(messages.filter(([, other]) => other === text).length, 1, `${text} is there once`);
    }
    for (const person of [ada, grace]) {
      await person.scrollToBeginning();
      assert.deepEqual(await person.shown(), messages, `${person.name} sees what history says`);
    }
  });

  test('a room left elsewhere while the page was cut off is gone when it is back', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    let cut = false;
    let socket = null;
    await page.routeWebSocket(/\/v1\/ws/u, (opened) => {
      if (cut) {
        opened.close({ code: 1012 });
      } else {
        opened.connectToServer();
        socket = opened;
      }
    });
    const linus = new Person('Linus', page);
    await linus.logIn(server.url);
    await linus.room('general').waitFor();
    await linus.byId('join-room').click();
    await linus.byId('join-room-id').fill('side');
    await linus.byId('join-room-submit').click();
    await linus.open('side');
    cut = true;
    await socket.close({ code: 1012 });
    await page.locator('[data-testid=connection]:not([data-state=online])').waitFor();
    await leaveElsewhere(ada.page, 'Linus', 'side');
    cut = false;
    await linus.connected();
    await eventually('the room is gone', async () => (await linus.room('side').count()) === 0);
    await linus.open('general');
    const { memberships } = await history(ada.page, 'Ada', 'side');
    assert.deepEqual(memberships.slice(-2), ['memberJoined', 'memberLeft'], 'and he is no member again');
    assert.deepEqual(linus.problems, []);
    await context.close();
  });

  test('a narrow screen has the rooms in a drawer', async () => {
    await grace.page.setViewportSize({ width: 390, height: 780 });
    await grace.byId('room-list').waitFor({ state: 'hidden' });
    await grace.byId('open-drawer').click();
    await grace.room('side').click();
    await grace.byId('room-list').waitFor({ state: 'hidden' });
    await grace.say('From my phone');
    await grace.hears('From my phone');
    const overflow = await grace.page.evaluate(() =>
      document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0);
    await grace.page.setViewportSize({ width: 1280, height: 800 });
  });

  test('signing out forgets the person, not the device', async () => {
    await grace.byId('me').click();
    await grace.byId('sign-out').click();
    await grace.byId('login-name').waitFor();
    await grace.page.reload();
    await grace.byId('login-name').waitFor();
    await grace.byId('login-submit').click();
    await grace.connected();
    await grace.room('general').waitFor();
  });

  test('a conversation fit for a picture', async () => {
    const [first, second] = [await newcomer('Ada', { deviceScaleFactor: 2 }), await newcomer('Grace')];
    await first.byId('create-room').click();
    await first.byId('create-room-name').fill('Launch');
    await first.byId('create-room-id').fill('launch');
    await first.byId('create-room-submit').click();
    await first.open('launch');
    await second.byId('join-room').click();
    await second.byId('join-room-id').fill('launch');
    await second.byId('join-room-submit').click();
    await second.room('launch').waitFor();
    const lines = [
      [first, 'Good morning! The nightly run is green again.'],
      [first, 'The report is at https://example.org/reports/nightly'],
      [second, 'Lovely. I killed the server twice while we were writing. Did you notice?'],
      [first, 'Only because the bar said "Connected again". Every message is here, once.'],
      [second, '🚀'],
      [second, 'Then let us ship it on Monday. I will write the notes.'],
    ];
    for (const [who, text] of lines) {
      await who.say(text);
      await first.hears(text);
      await second.hears(text);
    }
    for (const [who, text, emoji] of [[second, lines[0][1], '🎉'], [first, '🚀', '❤️'], [first, lines[5][1], '👍']]) {
      await who.act(text, 'message-react');
      await who.page.locator(`[data-testid=emoji-choice][data-emoji="${emoji}"]`).click();
      await first.message(text).getByTestId('reaction').waitFor();
    }
    // A signal may be lost: whoever goes on typing is seen.
    await eventually('Grace is seen typing', async () => {
      await second.byId('composer').pressSequentially('And ', { delay: 50 });
      return first.byId('typing').getByText('Grace is typing').isVisible();
    });
    if (process.env.ROOKERY_SCREENSHOT) {
      await first.page.mouse.move(640, 5);
      await first.page.screenshot({ path: process.env.ROOKERY_SCREENSHOT });
    }
    assert.deepEqual([...first.problems, ...second.problems], []);
    await first.page.context().close();
    await second.page.context().close();
  });
});
