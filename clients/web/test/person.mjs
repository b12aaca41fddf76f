/** A person with a window of a real browser, and waiting for what they see. */

import { chromium } from 'playwright-core';

/** For anything the page or the server must do. Generous: the machine may be busy. */
const DEADLINE_MS = 20_000;
const POLL_MS = 25;

/** Repeats a check until it gives something truthy. */
export async function eventually(what, check) {
  const deadline = Date.now() + DEADLINE_MS;
  let last;
  for (;;) {
    last = await check();
    if (last) return last;
    if (Date.now() > deadline) throw new Error(`did not happen in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One person's window. */
export class Person {
  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.problems = [];
    page.setDefaultTimeout(DEADLINE_MS);
    page.on('pageerror', (error) => this.problems.push(`${name}: ${error.stack}`));
    page.on('console', (message) => {
      // A failed connection is what a killed server looks like.
      if (message.type() === 'error' && !message.text().startsWith('WebSocket connection to')) {
        this.problems.push(`${name}: ${message.text()}`);
      }
    });
  }

  byId(id) {
    return this.page.getByTestId(id);
  }

  async logIn(url) {
    await this.page.goto(url);
    await this.byId('login-name').fill(this.name);
    await this.byId('login-submit').click();
    await this.connected();
  }

  connected() {
    return this.page.locator('[data-testid=connection][data-state=online]').waitFor({ state: 'attached' });
  }

  room(id) {
    return this.page.locator(`[data-testid=room-item][data-room="${id}"]`);
  }

  async open(id) {
    await this.room(id).click();
    await this.page.locator(`[data-testid=room-item][data-room="${id}"][aria-current=page]`).waitFor();
  }

  /** Types and sends; does not wait for the server. */
  async say(text) {
    await this.byId('composer').fill(text);
    await this.byId('composer').press('Enter');
  }

  /** A delivered message with exactly this text. */
  message(text) {
    return this.page.locator('[data-testid=message][data-pending=false]').filter({
      has: this.page.getByTestId('message-text').getByText(text, { exact: true }),
    });
  }

  async hears(text) {
    await this.message(text).waitFor();
  }

  /** Does something with the buttons that show over a message. */
  async act(text, button) {
    await this.message(text).hover();
    await this.message(text).getByTestId(button).click();
  }

  /** What the page shows of delivered messages: offset and text, oldest first. */
  shown() {
    return this.page.evaluate(() =>
      [...document.querySelectorAll('[data-testid=message][data-pending=false]')].map((element) => [
        Number(element.dataset.offset), element.querySelector('[data-testid=message-text]').textContent,
      ]));
  }

  /** Scrolls up until the room's beginning is on the page. */
  async scrollToBeginning() {
    await eventually('the beginning of the room', () => this.page.evaluate(() => {
      document.querySelector('[data-testid=timeline]').scrollTop = 0;
      return document.querySelector('.start') !== null;
    }));
  }

  async endsUp(what, texts) {
    await eventually(`${this.name} sees ${what}`, async () => {
      const shown = (await this.shown()).map(([, text]) => text);
      return texts.every((text) => shown.includes(text));
    });
  }
}

/** The browser named by CHROMIUM (default: /usr/bin/chromium). */
export function launchBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
