/** The log of one room: order, marks, pages, pending sends, unread. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RoomLog, TYPING_EXPIRES_MS } from '../room.js';
import { ada, bob, deleted, edited, event, message, messages, reacted, unreacted } from './sandbox.js';

function joinedLog(joined) {
  const log = new RoomLog('r', 'ada');
  log.applyJoined(joined);
  return log;
}
const texts = (log) => log.items.filter(({ type }) => type === 'message').map(({ text }) => text);

/** Everything a reader sees, for comparing two logs. */
const seen = (log) =>
  log.items.map(({ offset, text, deleted: gone, reactions, editedMs }) => ({
    offset, text, gone, editedMs, reactions,
  }));

test('events in order are applied densely', () => {
  const log = joinedLog({ head: 0 });
  for (const one of messages(1, 5)) assert.equal(log.apply(one), 'applied');
  assert.deepEqual([log.first, log.last, log.head], [1, 5, 5]);
  assert.deepEqual(texts(log), ['m1', 'm2', 'm3', 'm4', 'm5']);
});

test('an event applied before is ignored', () => {
  const log = joinedLog({ head: 3, events: messages(1, 3), unread: 3 });
  assert.equal(log.apply(message(2, 'again')), 'duplicate');
  assert.equal(log.apply(message(3, 'again')), 'duplicate');
  assert.deepEqual(texts(log), ['m1', 'm2', 'm3']);
  assert.equal(log.unread, 3);
});

test('an event past a hole is held until the resume fills it', () => {
  const log = joinedLog({ head: 2, events: messages(1, 2) });
  assert.equal(log.apply(message(5, 'm5')), 'gap');
  assert.equal(log.apply(message(6, 'm6')), 'gap');
  assert.ok(log.hasGap);
  assert.deepEqual([log.last, log.head], [2, 6]);
  const { reset, complete } = log.applyJoined({ head: 5, events: messages(3, 5) });
  assert.deepEqual([reset, complete, log.hasGap], [false, true, false]);
  assert.deepEqual(texts(log), ['m1', 'm2', 'm3', 'm4', 'm5', 'm6']);
});

test('a resume that ends short of the head is not complete', () => {
  const log = joinedLog({ head: 2, events: messages(1, 2) });
  assert.equal(log.applyJoined({ head: 9, events: messages(3, 5) }).complete, false);
  assert.equal(log.last, 5);
  assert.equal(log.applyJoined({ head: 9, events: messages(6, 9) }).complete, true);
});

test('a live event before the answer to the first join is kept', () => {
  const log = new RoomLog('r', 'ada');
  assert.equal(log.apply(message(4, 'm4')), 'gap');
  log.applyJoined({ head: 3, events: messages(2, 3) });
  assert.deepEqual(texts(log), ['m2', 'm3', 'm4']);
});

test('a reset forgets everything but the snapshot', () => {
  const log = joinedLog({ head: 3, events: messages(1, 3), cursor: 2, unread: 1 });
  const { reset, complete } = log.applyJoined({
    reset: true, head: 2_000, events: messages(1_951, 2_000), cursor: 2, unread: 1_998,
  });
  assert.deepEqual([reset, complete], [true, true]);
  assert.deepEqual([log.first, log.last, log.items.length], [1_951, 2_000, 50]);
  assert.equal(log.unread, 1_998);
  assert.equal(log.message(1), undefined);
});

test('a reset may take back offsets the server does not have', () => {
  const log = joinedLog({ head: 3, events: messages(1, 3) });
  log.applyJoined({ reset: true, head: 2, events: messages(1, 2) });
  assert.deepEqual([log.last, log.head], [2, 2]);
  assert.equal(log.apply(message(3, 'other')), 'applied');
  assert.deepEqual(texts(log), ['m1', 'm2', 'other']);
});

test('marks change their message and are no items', () => {
  const log = joinedLog({ head: 2, events: messages(1, 2) });
  log.apply(edited(3, 1, 'better'));
  log.apply(reacted(4, 1, '👍', ada));
  log.apply(reacted(5, 1, '👍', bob));
  log.apply(reacted(6, 1, '🎉', bob));
  log.apply(unreacted(7, 1, '🎉', bob));
  log.apply(deleted(8, 2));
  assert.equal(log.items.length, 2);
  assert.equal(log.message(1).text, 'better');
  assert.equal(log.message(1).editedMs, 3_000);
  assert.deepEqual(log.message(1).reactions, [{ emoji: '👍', users: ['ada', 'bob'] }]);
  assert.deepEqual([log.message(2).deleted, log.message(2).text], [true, '']);
});

test('a mark up to the revision of its message is ignored', () => {
  const folded = message(1, 'third', bob, {
    revision: 4, editedMs: 4_000, reactions: [{ emoji: '👍', users: ['bob'] }],
  });
  const log = joinedLog({
    head: 4, events: [folded, reacted(2, 1, '🎉'), edited(3, 1, 'second'), edited(4, 1, 'third')],
  });
  assert.equal(log.message(1).text, 'third');
  assert.deepEqual(log.message(1).reactions, [{ emoji: '👍', users: ['bob'] }]);
  log.apply(unreacted(5, 1, '👍'));
  assert.deepEqual(log.message(1).reactions, []);
});

test('a client that resumed ends equal to one that never left', () => {
  const all = [
    ...messages(1, 3), edited(4, 1, 'one'), reacted(5, 2, '👍', ada), deleted(6, 3),
    message(7, 'm7'), reacted(8, 7, '🎉'), unreacted(9, 2, '👍', ada), edited(10, 7, 'seven'),
  ];
  const stayed = joinedLog({ head: 0 });
  for (const one of all) stayed.apply(one);
  for (let cut = 0; cut <= all.length; cut++) {
    const left = joinedLog({ head: 0 });
    for (const one of all.slice(0, cut)) left.apply(one);
    left.applyJoined({ head: 10, events: all.slice(cut), unread: stayed.unread });
    assert.deepEqual(seen(left), seen(stayed), `left after ${cut}`);
    assert.equal(left.unread, stayed.unread);
  }
});

test('older pages go below, contiguous or not at all', () => {
  const log = joinedLog({ head: 9, events: messages(7, 9) });
  assert.equal(log.applyOlder({ events: messages(1, 4) }), false);
  assert.equal(log.applyOlder({ events: messages(4, 6) }), true);
  assert.deepEqual([log.first, log.complete], [4, false]);
  assert.equal(log.applyOlder({ events: messages(1, 3) }), true);
  assert.deepEqual([log.first, log.complete], [1, true]);
  assert.deepEqual(texts(log), messages(1, 9).map(({ message: { text } }) => text));
});

test('an empty older page ends the history', () => {
  const log = joinedLog({ head: 9, events: messages(7, 9) });
  log.applyOlder({ head: 9 });
  assert.ok(log.complete);
});

test('a mark that came while its message was not held applies to the page read before it', () => {
  const log = joinedLog({ head: 9, events: messages(7, 9) });
  log.apply(edited(10, 5, 'late edit'));
  log.apply(edited(11, 6, 'folded edit'));
  log.applyOlder({
    events: [...messages(4, 5), message(6, 'newer still', bob, { revision: 12 })],
  });
  assert.deepEqual(texts(log), ['m4', 'late edit', 'newer still', 'm7', 'm8', 'm9']);
});

test('trimming forgets the oldest and they can be loaded again', () => {
  const log = joinedLog({ head: 9, events: messages(1, 9), cursor: 0, unread: 9 });
  log.trim(3);
  assert.deepEqual([log.first, log.items.length, log.complete, log.unread], [7, 3, false, 9]);
  log.apply(deleted(10, 2));
  assert.equal(log.unread, 8);
  log.applyOlder({ events: [message(1, 'm1'), message(2, '', bob, { deleted: true, revision: 10 }),
    ...messages(3, 6)] });
  assert.equal(log.unread, 8);
});

test('a pending send goes when its event comes first, then its ack', () => {
  const log = joinedLog({ head: 0 });
  log.addPending('c1', 'hi', 0);
  log.apply(message(1, 'hi', ada, { clientId: 'c1' }));
  assert.equal(log.pending.length, 0);
  log.ackPending('c1', 1);
  assert.deepEqual([log.pending.length, texts(log)], [0, ['hi']]);
});

test('a pending send goes when its ack comes first, then its event', () => {
  const log = joinedLog({ head: 0 });
  log.addPending('c1', 'hi', 0);
  log.ackPending('c1', 1);
  assert.equal(log.pending.length, 1, 'shown until its event is');
  log.apply(message(1, 'hi', ada, { clientId: 'c1' }));
  assert.deepEqual([log.pending.length, texts(log)], [0, ['hi']]);
});

test("another user's message with the same client id ends no pending send", () => {
  const log = joinedLog({ head: 0 });
  log.addPending('c1', 'hi', 0);
  log.apply(message(1, 'hi', bob, { clientId: 'c1' }));
  assert.equal(log.pending.length, 1);
});

test('the ack of a duplicate ends a pending send that is below the snapshot', () => {
  const log = joinedLog({ head: 3, events: messages(1, 3) });
  log.addPending('c1', 'hi', 0);
  log.applyJoined({ reset: true, head: 2_000, events: messages(1_951, 2_000) });
  log.ackPending('c1', 4);
  assert.equal(log.pending.length, 0);
});

test('a snapshot that holds a pending send ends it', () => {
  const log = joinedLog({ head: 0 });
  log.addPending('c1', 'hi', 0);
  log.applyJoined({ reset: true, head: 1, events: [message(1, 'hi', ada, { clientId: 'c1' })] });
  assert.equal(log.pending.length, 0);
});

test('a failed send keeps its client id when it is tried again', () => {
  const log = joinedLog({ head: 0 });
  log.addPending('c1', 'hi', 0);
  log.failPending('c1', new Error('no'));
  assert.equal(log.pending[0].state, 'failed');
  log.retryPending('c1');
  assert.deepEqual([log.pending[0].state, log.pending[0].clientId], ['pending', 'c1']);
  log.dropPending('c1');
  assert.equal(log.pending.length, 0);
});

test('unread counts what others wrote after the cursor and what is not deleted', () => {
  const log = joinedLog({ head: 2, events: messages(1, 2), cursor: 2, unread: 0 });
  log.apply(message(3, 'a'));
  log.apply(message(4, 'b'));
  log.apply(reacted(5, 3, '👍'));
  assert.equal(log.unread, 2);
  log.apply(deleted(6, 3));
  assert.equal(log.unread, 1);
  log.apply(message(7, 'mine', ada));
  assert.deepEqual([log.cursor, log.unread], [7, 0], 'sending moves the own cursor');
  log.apply(message(8, 'c'));
  log.moveCursor(8);
  log.moveCursor(3);
  assert.deepEqual([log.cursor, log.unread], [8, 0], 'never backwards');
});

test("unread below what is held is the server's count, kept up", () => {
  const log = joinedLog({ head: 100, cursor: 10, unread: 40 });
  log.apply(message(101, 'a'));
  log.apply(deleted(102, 60));
  log.apply(deleted(103, 5));
  assert.equal(log.unread, 40);
  log.moveCursor(50, 12);
  assert.equal(log.unread, 12);
});

test('typing ends by signal, by message and by time', () => {
  const log = joinedLog({ head: 0 });
  const carol = { id: 'carol', name: 'Carol' };
  log.noteTyping(bob, true, 0);
  log.noteTyping(carol, true, 1_000);
  log.noteTyping(ada, true, 1_000);
  assert.deepEqual(log.typing(2_000), [bob, carol]);
  log.apply(message(1, 'done', bob));
  assert.deepEqual(log.typing(2_000), [carol]);
  assert.deepEqual(log.typing(1_000 + TYPING_EXPIRES_MS), []);
  log.noteTyping(bob, true, 9_000);
  log.noteTyping(bob, false, 9_001);
  assert.deepEqual(log.typing(9_002), []);
});

test('the roster follows its signals', () => {
  const log = joinedLog({ head: 0, here: [ada], hereCount: 1 });
  log.noteRoster({ hereCount: 2, came: [bob] });
  assert.deepEqual([...log.here.keys()], ['ada', 'bob']);
  log.noteRoster({ hereCount: 1, went: [bob] });
  assert.deepEqual([[...log.here.keys()], log.hereCount], [['ada'], 1]);
});

test('membership changes are items and count', () => {
  const log = joinedLog({
    head: 1, room: { id: 'r', memberCount: 1 }, events: [event(1, { roomOpened: { room: { id: 'r' } } })],
  });
  log.apply(event(2, { memberJoined: { member: { user: bob } } }));
  log.apply(event(3, { memberLeft: { user: bob } }));
  log.apply(event(4, { somethingNew: {} }));
  assert.deepEqual(log.items.map(({ type }) => type), ['opened', 'joined', 'left']);
  assert.deepEqual([log.info.memberCount, log.last], [1, 4]);
});

test('receipts only move forward', () => {
  const log = joinedLog({ head: 0 });
  log.noteRead('bob', 5);
  log.noteRead('bob', 3);
  assert.equal(log.reads.get('bob'), 5);
});
