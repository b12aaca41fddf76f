/** The client: connecting, close codes, resume, sends over a reconnect. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BACKOFF_MAX_MS, backoffMs, closeAction } from '../connection.js';
import { ada, event, joinedSandbox, message, messages, sandbox, settled } from './sandbox.js';

/** A sandbox whose server refused the resume of the room for good. */
async function sandboxWithLostRoom() {
  const box = await joinedSandbox({ head: 0 });
  const problems = [];
  box.client.on('problem', (problem) => problems.push(problem));
  box.server.socket.end(1006);
  await box.clock.pass(1_000);
  await box.server.welcome();
  box.server.socket.refuse(box.server.socket.of('join')[0], { code: 'FORBIDDEN' });
  await settled();
  assert.equal(box.room.state, 'lost');
  return { ...box, problems };
}

test('backoff stays between nothing and a ceiling that doubles', () => {
  const ceilings = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000];
  for (const [attempt, ceiling] of ceilings.entries()) {
    assert.equal(backoffMs(attempt, () => 0), 0);
    assert.equal(backoffMs(attempt, () => 0.5), ceiling / 2);
    assert.ok(backoffMs(attempt, () => 0.999_999) <= ceiling);
  }
  assert.ok(backoffMs(1_000_000, () => 0.999_999) <= BACKOFF_MAX_MS);
});

test('close codes say what to do', () => {
  for (const code of [1001, 1006, 1011, 1012, 4000, 4001, 4099, 4102]) assert.equal(closeAction(code), 'resume');
  for (const code of [4100, 4101, 4199]) assert.equal(closeAction(code), 'newToken');
  for (const code of [1000, 1002, 1003, 1007, 1009, 1013, 4200, 4201, 4299, 3000]) {
    assert.equal(closeAction(code), 'stop');
  }
});

test('the first frame says who and which device', async () => {
  const { client, server } = sandbox({ device: 'laptop' });
  client.connect();
  await server.welcome();
  assert.deepEqual(server.socket.protocols, ['rookery.v1.json']);
  assert.deepEqual(server.socket.frames[0].authenticate, { name: 'Ada', device: 'laptop' });
  assert.deepEqual(client.user, ada);
  assert.equal(client.state.state, 'online');
});

test('a request settles by its id, its error or its deadline', async () => {
  const { client, server, clock } = sandbox();
  client.connect();
  await server.welcome();
  const first = client.request('ping');
  const second = client.request('ping');
  const third = client.request('ping');
  const [one, two] = server.socket.of('ping');
  server.socket.refuse(two, { code: 'RATE_LIMITED', field: 'ping', retryAfterMs: 70 });
  server.socket.ack(one, { pong: { timeMs: 5 } });
  assert.deepEqual((await first).pong, { timeMs: 5 });
  await assert.rejects(second, { code: 'RATE_LIMITED', retryAfterMs: 70, field: 'ping', retryable: true });
  const late = assert.rejects(third, { code: 'TIMEOUT' });
  await clock.pass(12_000);
  await late;
});

test('a lost connection rejects what waits and comes back after the backoff', async () => {
  const { client, server, clock, states } = sandbox();
  client.connect();
  await server.welcome();
  const request = assert.rejects(client.request('ping'), { code: 'DISCONNECTED' });
  server.socket.end(1006);
  await request;
  assert.deepEqual(states.at(-1).state, 'reconnecting');
  assert.equal(states.at(-1).retryAtMs, clock.now() + 125);
  await clock.pass(124);
  assert.equal(server.sockets.length, 1);
  await clock.pass(1);
  assert.equal(server.sockets.length, 2);
  server.socket.end(1006);
  assert.equal(states.at(-1).retryAtMs, clock.now() + 250, 'the ceiling doubled');
  client.reconnectNow();
  assert.equal(server.sockets.length, 3);
  await server.welcome();
  assert.equal(client.state.state, 'online');
});

test('a token close asks for a new token and uses it', async () => {
  const { client, server, clock } = sandbox({ name: undefined, token: 'old', getToken: async () => 'new' });
  client.connect();
  await server.welcome();
  server.socket.end(4100, 'token expired');
  await clock.pass(1_000);
  server.socket.onopen();
  assert.equal(server.socket.frames[0].authenticate.token, 'new');
});

test('a token close without a new token stops and tells', async () => {
  const { client, server, clock, states } = sandbox();
  client.connect();
  server.socket.onopen();
  server.socket.refuse({ id: 'authenticate' }, { code: 'UNAUTHENTICATED', message: 'names are off' });
  server.socket.end(4101, 'token not accepted');
  await clock.pass(60_000);
  assert.equal(server.sockets.length, 1);
  assert.equal(states.at(-1).state, 'offline');
  assert.equal(states.at(-1).error.message, 'names are off');
});

test('a final close stops', async () => {
  const { client, server, clock, states } = sandbox();
  client.connect();
  await server.welcome();
  server.socket.end(4200, 'too many invalid frames');
  await clock.pass(60_000);
  assert.equal(server.sockets.length, 1);
  assert.deepEqual(
    [states.at(-1).state, states.at(-1).code, states.at(-1).reason],
    ['offline', 4200, 'too many invalid frames'],
  );
});

test('a silent server is pinged, then left', async () => {
  const { client, server, clock } = sandbox();
  client.connect();
  await server.welcome();
  await clock.pass(15_000);
  assert.equal(server.socket.of('ping').length, 0);
  await clock.pass(5_000);
  assert.equal(server.socket.of('ping').length, 1);
  server.socket.ack(server.socket.of('ping')[0], { pong: {} });
  await clock.pass(19_000);
  assert.equal(server.sockets.length, 1, 'an answer is a sign of life');
  await clock.pass(20_000);
  assert.ok(server.sockets.length > 1);
  assert.notEqual(server.sockets[0].closedWith, null);
});

test('a server that goes away is left at the time it named', async () => {
  const { client, server, clock } = sandbox();
  client.connect();
  await server.welcome();
  server.socket.say({ notice: { goingAway: { reconnectAfterMs: 2_000 } } });
  await clock.pass(1_000);
  server.socket.end(4000);
  await clock.pass(999);
  assert.equal(server.sockets.length, 1);
  await clock.pass(1_000);
  assert.equal(server.sockets.length, 2);
});

test('after a reconnect each room resumes from its last offset', async () => {
  const { client, server, clock, room } = await joinedSandbox({ head: 3, events: messages(1, 3) });
  server.socket.say({ event: message(4, 'm4') });
  server.socket.end(1012);
  await clock.pass(1_000);
  await server.welcome();
  const [join] = server.socket.of('join');
  assert.deepEqual(join.join, { room: 'r', afterOffset: 4, resume: true });
  server.socket.ack(join, { joined: { head: 6, events: messages(5, 6) } });
  await settled();
  assert.deepEqual([room.state, room.log.last, room.log.items.length], ['live', 6, 6]);
  client.close();
});

test('a gap in the live stream is filled by joining again', async () => {
  const { server, room } = await joinedSandbox({ head: 1, events: messages(1, 1) });
  server.socket.say({ event: message(4, 'm4') });
  server.socket.say({ event: message(5, 'm5') });
  await settled();
  const joins = server.socket.of('join');
  assert.deepEqual(joins.map(({ join }) => join.afterOffset), [undefined, 1]);
  server.socket.ack(joins[1], { joined: { head: 4, events: messages(2, 4) } });
  await settled();
  assert.deepEqual(room.log.items.map(({ offset }) => offset), [1, 2, 3, 4, 5]);
  assert.equal(server.socket.of('join').length, 2);
});

test('a resumeRoom notice joins again', async () => {
  const { server } = await joinedSandbox({ head: 1, events: messages(1, 1) });
  server.socket.say({ notice: { resumeRoom: { room: 'r' } } });
  await settled();
  assert.equal(server.socket.of('join').at(-1).join.afterOffset, 1);
});

test('a send without an answer is sent again after the resume with its client id', async () => {
  const { client, server, clock, room } = await joinedSandbox({ head: 0 });
  const clientId = client.send('r', 'hello');
  assert.deepEqual(server.socket.of('send')[0].send, { room: 'r', text: 'hello', clientId });
  server.socket.end(1006);
  await settled();
  const second = client.send('r', 'while away');
  await clock.pass(1_000);
  await server.welcome();
  assert.equal(server.socket.of('send').length, 0, 'not before the room is whole');
  server.socket.ack(server.socket.of('join')[0], { joined: { head: 0 } });
  await settled();
  const sends = server.socket.of('send');
  assert.deepEqual(sends.map(({ send }) => send.clientId), [clientId, second]);
  server.socket.say({ event: message(1, 'hello', ada, { clientId }) });
  server.socket.ack(sends[0], { appended: { room: 'r', offset: 1, duplicate: true } });
  server.socket.ack(sends[1], { appended: { room: 'r', offset: 2 } });
  await settled();
  server.socket.say({ event: message(2, 'while away', ada, { clientId: second }) });
  assert.deepEqual([room.log.pending.length, room.log.items.length], [0, 2]);
});

test('a send found in the resumed events is not sent again', async () => {
  const { client, server, clock, room } = await joinedSandbox({ head: 0 });
  const clientId = client.send('r', 'hello');
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  server.socket.ack(server.socket.of('join')[0], {
    joined: { head: 1, events: [message(1, 'hello', ada, { clientId })] },
  });
  await settled();
  assert.deepEqual([server.socket.of('send').length, room.log.pending.length], [0, 0]);
});

test('a send refused for now is tried again, one refused for good is told', async () => {
  const { client, server, clock, room } = await joinedSandbox({ head: 0 });
  const problems = [];
  client.on('problem', (problem) => problems.push(problem));
  const clientId = client.send('r', 'hello');
  server.socket.refuse(server.socket.of('send')[0], { code: 'OVERLOADED', retryAfterMs: 500 });
  await clock.pass(499);
  assert.equal(server.socket.of('send').length, 1);
  await clock.pass(1_000);
  assert.equal(server.socket.of('send')[1].send.clientId, clientId);
  server.socket.refuse(server.socket.of('send')[1], { code: 'FORBIDDEN' });
  await settled();
  assert.equal(room.log.pending[0].state, 'failed');
  assert.deepEqual([problems[0].error.code, problems[0].room], ['FORBIDDEN', 'r']);
  client.retry('r', clientId);
  assert.equal(server.socket.of('send')[2].send.clientId, clientId);
});

test('reading is told once, at its newest, and again after a reconnect', async () => {
  const { client, server, clock, room } = await joinedSandbox({ head: 3, events: messages(1, 3), unread: 3 });
  client.markRead('r', 1);
  client.markRead('r', 2);
  client.markRead('r', 3);
  assert.equal(room.log.unread, 0, 'here at once');
  assert.deepEqual(server.socket.of('markRead').map(({ markRead }) => markRead.offset), [1]);
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  server.socket.ack(server.socket.of('join')[0], { joined: { head: 3, unread: 3 } });
  await settled();
  assert.equal(room.log.unread, 0);
  assert.deepEqual(server.socket.of('markRead').map(({ markRead }) => markRead.offset), [3]);
});

test('typing is told at most every three seconds', async () => {
  const { client, server, clock } = await joinedSandbox({ head: 0 });
  client.typing('r', true);
  client.typing('r', true);
  await clock.pass(3_000);
  client.typing('r', true);
  client.typing('r', false);
  client.typing('r', false);
  assert.deepEqual(server.socket.of('typing').map(({ typing }) => typing.active), [true, true, false]);
});

test('the rooms of the user are found page by page and joined a few at a time', async () => {
  const { client, server } = sandbox({ autoJoin: true });
  client.connect();
  await server.welcome();
  const ids = Array.from({ length: 20 }, (_, i) => `room-${i}`);
  const page = (from, next) => ({
    rooms: { rooms: ids.slice(from, from + 10).map((id) => ({ room: { id }, unread: 2 })), next },
  });
  server.socket.ack(server.socket.of('rooms')[0], page(0, 'room-9'));
  await settled();
  assert.equal(server.socket.of('rooms')[1].rooms.after, 'room-9');
  server.socket.ack(server.socket.of('rooms')[1], page(10, ''));
  await settled();
  assert.equal(client.rooms.get('room-19').log.unread, 2);
  assert.equal(server.socket.of('join').length, 8);
  for (let done = 0; done < 20; done++) {
    server.socket.ack(server.socket.of('join')[done], { joined: { head: 0 } });
    await settled();
  }
  assert.ok([...client.rooms.values()].every(({ state }) => state === 'live'));
});

test('only who asks to be let in may become a member', async () => {
  const { client, server, room } = await joinedSandbox({ head: 1, events: messages(1, 1) });
  const resumes = () => server.socket.of('join').map(({ join }) => [join.room, Boolean(join.resume)]);
  server.socket.say({ event: message(4, 'a gap') });
  server.socket.ack(server.socket.of('join')[1], { joined: { head: 4, events: messages(2, 4) } });
  await settled();
  assert.equal(room.state, 'live');
  server.socket.say({ notice: { addedToRoom: { room: { id: 'added' } } } });
  await settled();
  assert.deepEqual(resumes(), [['r', false], ['r', true]], 'rooms are not joined by themselves here');
  const opened = client.join('added', { resume: true });
  await settled();
  server.socket.ack(server.socket.of('join')[2], { joined: { head: 0 } });
  await opened;
  assert.deepEqual(resumes().at(-1), ['added', true]);
});

test('rooms that are found by themselves are resumed, not joined', async () => {
  const { client, server } = sandbox({ autoJoin: true });
  client.connect();
  await server.welcome();
  server.socket.ack(server.socket.of('rooms')[0], { rooms: { rooms: [{ room: { id: 'listed' } }] } });
  server.socket.say({ notice: { addedToRoom: { room: { id: 'added' } } } });
  await settled();
  assert.deepEqual(server.socket.of('join').map(({ join }) => join).sort((a, b) => a.room.localeCompare(b.room)),
    [{ room: 'added', resume: true }, { room: 'listed', resume: true }]);
});

test('a join without an answer asks to be let in again after the reconnect', async () => {
  const { client, server, clock } = await sandboxWithLostRoom();
  const asked = assert.rejects(client.join('r'), { code: 'DISCONNECTED' });
  await settled();
  server.socket.end(1006);
  await asked;
  await clock.pass(1_000);
  await server.welcome();
  const [join] = server.socket.of('join');
  assert.deepEqual(join.join, { room: 'r', afterOffset: 0 });
  server.socket.ack(join, { joined: { head: 0 } });
  server.socket.say({ notice: { resumeRoom: { room: 'r' } } });
  await settled();
  assert.equal(server.socket.of('join').at(-1).join.resume, true, 'answered, it asks no more');
});

test('who left while nobody could tell drops the room on resuming', async () => {
  const { client, server, clock } = await joinedSandbox({ head: 2, events: messages(1, 2) });
  const told = [];
  client.on('left', (id) => told.push(id));
  client.on('problem', (problem) => told.push(problem));
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  server.socket.refuse(server.socket.of('join')[0], { code: 'NOT_MEMBER' });
  await clock.pass(5_000);
  assert.deepEqual([client.rooms.size, told], [0, ['r']]);
  assert.equal(server.socket.of('join').length, 1, 'it is not asked for again');
});

test('asking to be let in while a resume is refused is answered by itself', async () => {
  const { client, server, clock } = await joinedSandbox({ head: 0 });
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  const joining = client.join('r');
  await settled();
  server.socket.refuse(server.socket.of('join')[0], { code: 'NOT_MEMBER' });
  await settled();
  // A late word of the leave is not about what is asked now.
  server.socket.say({ notice: { leftRoom: { room: 'r' } } });
  const joins = server.socket.of('join');
  assert.deepEqual(joins.map(({ join }) => Boolean(join.resume)), [true, false]);
  server.socket.ack(joins[1], { joined: { head: 2 } });
  assert.equal((await joining).state, 'live');
  assert.equal(client.rooms.get('r').state, 'live');
});

test('the event of the own leave ends the room here', async () => {
  const { client, server } = await joinedSandbox({ head: 0 });
  server.socket.say({ event: event(1, { memberLeft: { user: { id: 'bob' } } }) });
  assert.equal(client.rooms.size, 1);
  server.socket.say({ event: event(2, { memberLeft: { user: ada } }, ada) });
  assert.equal(client.rooms.size, 0);
});

test('a room that refuses the resume for good is lost, the others go on', async () => {
  const { problems } = await sandboxWithLostRoom();
  assert.equal(problems.length, 1);
});

test('a resume refused for now is tried again', async () => {
  const { server, clock, room } = await joinedSandbox({ head: 0 });
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  server.socket.refuse(server.socket.of('join')[0], { code: 'UNAVAILABLE', retryAfterMs: 1_000 });
  await clock.pass(1_000);
  server.socket.ack(server.socket.of('join')[1], { joined: { head: 0 } });
  await settled();
  assert.equal(room.state, 'live');
});

test('joining a room that does not exist leaves none behind', async () => {
  const { client, server } = sandbox();
  client.connect();
  await server.welcome();
  const joining = assert.rejects(client.join('nowhere'), { code: 'NOT_FOUND' });
  await settled();
  server.socket.refuse(server.socket.of('join')[0], { code: 'NOT_FOUND' });
  await joining;
  assert.equal(client.rooms.size, 0);
});

test('leaving on another device forgets the room here', async () => {
  const { client, server } = await joinedSandbox({ head: 0 });
  server.socket.say({ notice: { leftRoom: { room: 'r' } } });
  assert.equal(client.rooms.size, 0);
});

test('watching changes by difference and is renewed after a reconnect', async () => {
  const { client, server, clock } = await joinedSandbox({ head: 0 });
  client.watch(['bob', 'carol']);
  client.watch(['carol', 'dave']);
  assert.deepEqual(server.socket.of('watchPresence').map(({ watchPresence }) => watchPresence.users),
    [['bob', 'carol'], ['dave']]);
  assert.deepEqual(server.socket.of('unwatchPresence')[0].unwatchPresence.users, ['bob']);
  server.socket.say({ signal: { presence: { user: 'dave', status: 'AWAY' } } });
  assert.equal(client.presence.get('dave').status, 'AWAY');
  server.socket.end(1006);
  await clock.pass(1_000);
  await server.welcome();
  assert.deepEqual(server.socket.of('watchPresence')[0].watchPresence.users, ['carol', 'dave']);
});
