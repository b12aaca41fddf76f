/**
 * Two people on two gateways of one cluster, in a real browser; the node that owns their room is
 * killed, and they go on.
 *
 * Needs ROOKERY_TEST_NATS and ROOKERY_TEST_CQL (scripts/services start nats cql), else it is
 * skipped, which is a failure with ROOKERY_REQUIRE_SERVICES=1.
 */

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { Cluster, missing } from './cluster.mjs';
import { Person, eventually, launchBrowser } from './person.mjs';

const lacking = missing();
if (lacking && process.env.ROOKERY_REQUIRE_SERVICES === '1') {
  throw new Error(`the page on a cluster: no ${lacking}`);
}
if (lacking) console.log(`SKIPPED: the page on a cluster: no ${lacking}`);

describe('the page on a cluster', { concurrency: false, timeout: 300_000, skip: Boolean(lacking) }, () => {
  let cluster;
  let browser;
  /** @type {Person} */ let ada;
  /** @type {Person} */ let grace;

  async function newcomer(name, gateway) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const person = new Person(name, await context.newPage());
    await person.logIn(gateway.url);
    await person.byId('join-general').click();
    await person.room('general').waitFor();
    return person;
  }

  /** They write in turn, and both see all of it once. */
  async function chat(topic) {
    const said = [];
    for (const [speaker, listener] of [[ada, grace], [grace, ada], [ada, grace]]) {
      const text = `${speaker.name} on ${topic} ${said.length}`;
      await speaker.say(text);
      await listener.hears(text);
      await speaker.hears(text);
      said.push(text);
    }
    for (const person of [ada, grace]) {
      for (const text of said) assert.equal(await person.message(text).count(), 1, text);
    }
  }

  before(async () => {
    cluster = await Cluster.start({ nodes: 3, gateways: 2 });
    browser = await launchBrowser();
  });

  after(async () => {
    await browser?.close();
    await cluster?.end();
  });

  afterEach((context) => {
    const problems = [ada, grace].flatMap((person) => person?.problems.splice(0) ?? []);
    if (context.error) {
      for (const server of [...cluster.nodes, ...cluster.gateways]) {
        console.error(server.log.slice(-30).join('\n'));
      }
    }
    assert.deepEqual(problems, []);
  });

  test('two people on two gateways chat', async () => {
    ada = await newcomer('Ada', cluster.gateways[0]);
    grace = await newcomer('Grace', cluster.gateways[1]);
    await chat('the weather');
  });

  test('the owner of their room is killed, and they go on', async () => {
    for (const topic of ['the first kill', 'the second kill']) {
      const owner = cluster.owner('general');
      await owner.kill();
      await chat(topic);
      assert.notEqual(cluster.owner('general'), owner);
      await owner.up();
      await eventually('the killed node is back', () => owner.isReady());
    }
  });

  test('a gateway is killed; its page comes back with nothing missing', async () => {
    await cluster.gateways[0].kill();
    await grace.say('Ada, where are you?');
    await grace.hears('Ada, where are you?');
    await cluster.gateways[0].up();
    await ada.connected();
    await ada.hears('Ada, where are you?');
    await chat('coming back');
    const seen = [await ada.shown(), await grace.shown()];
    assert.deepEqual(seen[0], seen[1]);
  });
});
