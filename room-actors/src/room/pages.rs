//! Ranges of the committed log, from memory or from a page the shell read.

use bytes::Bytes;
use prost::Message as _;
use rookery_persistence::{EpochList, EventKind, LogRow, MarkRow};
use rookery_proto::{
    ids::Offset,
    v1::{Event, event::Body},
};

use super::{cursors::Cursors, fold, log::Log};
use crate::limits::{ANSWER_BYTES_MAX, PAGES_KEPT_MAX};

/// A dense range of committed events read from the store.
#[derive(Debug)]
struct Page {
    from: Offset,
    to: Offset,
    /// Head when it was read: newer marks are in the ring, or the page is of no use any more.
    head: Offset,
    events: Vec<Bytes>,
    /// Encoded marks on the page's messages, by offset.
    marks: Vec<(Offset, Bytes)>,
}

/// The pages read last.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: Vec<Page>,
}

/// Which end of a range stays when it is too large for one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Oldest,
    Newest,
}

impl Pages {
    /// Whether the range can be answered now.
    pub(super) fn has(&self, log: &Log, from: Offset, to: Offset) -> bool {
        from > to || from >= log.ring_first() || self.find(log, from, to).is_some()
    }

    fn find(&self, log: &Log, from: Offset, to: Offset) -> Option<&Page> {
        self.pages
            .iter()
            .find(|page| page.from == from && page.to == to && page.head.next() >= log.ring_first())
    }

    /// Takes what the store has of a range. False when its rows are not dense: the data is not sound.
    pub(super) fn learn(
        &mut self,
        log: &Log,
        epochs: &EpochList,
        (from, to): (Offset, Offset),
        rows: Vec<LogRow>,
        marks: Vec<MarkRow>,
    ) -> bool {
        let events: Vec<_> = rows
            .into_iter()
            .filter(|row| epochs.is_canonical(row.offset, row.epoch))
            .filter(|row| from <= row.offset && row.offset <= to)
            .map(|row| row.event)
            .collect();
        if from.0 + events.len() as u64 != to.0 + 1 {
            return false;
        }
        let marks = canonical_marks(epochs, log.head(), marks);
        self.pages.retain(|page| page.from != from || page.to != to);
        if self.pages.len() >= PAGES_KEPT_MAX {
            self.pages.remove(0);
        }
        self.pages.push(Page {
            from,
            to,
            head: log.head(),
            events,
            marks,
        });
        true
    }

    /// The events of a range as they were appended, without deleted text.
    pub(super) fn raw(&self, log: &Log, cursors: &Cursors, from: Offset, to: Offset) -> Vec<Event> {
        let mut events = self.events(log, from, to);
        for event in &mut events {
            let text_of = match &event.body {
                Some(Body::Message(_)) => Offset(event.offset),
                Some(Body::MessageEdited(edit)) => Offset(edit.target),
                _ => continue,
            };
            if cursors.is_deleted(text_of) {
                fold::redact(event);
            }
        }
        events
    }

    /// The events of a range with every committed mark folded in, cut to what one answer holds.
    pub(super) fn folded(
        &self,
        log: &Log,
        cursors: &Cursors,
        (from, to): (Offset, Offset),
        keep: Keep,
    ) -> Vec<Event> {
        let mut events = self.raw(log, cursors, from, to);
        let page = if from < log.ring_first() {
            self.find(log, from, to)
        } else {
            None
        };
        let mut fold_in = |target: u64, mark: Event| {
            let index = target
                .checked_sub(from.0)
                .and_then(|index| usize::try_from(index).ok());
            if let Some(message) = index.and_then(|index| events.get_mut(index)) {
                fold::apply_mark(message, mark);
            }
        };
        for (_, mark) in page.iter().flat_map(|page| &page.marks) {
            let mark = fold::decode(mark);
            fold_in(target_of(&mark), mark);
        }
        let newer = page.map_or(from, |page| page.head.next());
        for entry in log.from(newer) {
            if entry.target >= from && entry.target <= to {
                fold_in(entry.target.0, fold::decode(&entry.event));
            }
        }
        cut(events, keep)
    }

    /// Bytes of a range as it was appended.
    pub(super) fn bytes(&self, log: &Log, from: Offset, to: Offset) -> usize {
        if from >= log.ring_first() {
            return log.from(from).map(|entry| entry.event.len() + 8).sum();
        }
        let page = self.find(log, from, to);
        page.map_or(0, |page| {
            page.events.iter().map(|event| event.len() + 8).sum()
        })
    }

    fn events(&self, log: &Log, from: Offset, to: Offset) -> Vec<Event> {
        if from > to {
            return Vec::new();
        }
        if from >= log.ring_first() {
            let entries = log.from(from).take_while(|entry| entry.offset <= to);
            return entries.map(|entry| fold::decode(&entry.event)).collect();
        }
        let page = self
            .find(log, from, to)
            .expect("the shell reads what `needs` names");
        page.events.iter().map(fold::decode).collect()
    }
}

/// Canonical marks up to the head, by offset.
pub(super) fn canonical_marks(
    epochs: &EpochList,
    head: Offset,
    marks: Vec<MarkRow>,
) -> Vec<(Offset, Bytes)> {
    let mut marks: Vec<_> = marks
        .into_iter()
        .filter(|mark| mark.offset <= head && epochs.is_canonical(mark.offset, mark.epoch))
        .map(|mark| (mark.offset, mark.event))
        .collect();
    marks.sort_unstable_by_key(|mark| mark.0);
    marks
}

/// The message a mark is about.
pub(super) fn target_of(mark: &Event) -> u64 {
    match &mark.body {
        Some(Body::MessageEdited(edit)) => edit.target,
        Some(Body::MessageDeleted(delete)) => delete.target,
        Some(Body::ReactionAdded(added)) => added.target,
        Some(Body::ReactionRemoved(removed)) => removed.target,
        _ => 0,
    }
}

/// Whether rows of that kind count as messages.
pub(super) const fn is_message(kind: EventKind) -> bool {
    matches!(kind, EventKind::Message)
}

/// Keeps as many events as one answer holds; at least one.
fn cut(mut events: Vec<Event>, keep: Keep) -> Vec<Event> {
    let mut bytes = 0;
    let mut fits = |event: &Event| {
        bytes += event.encoded_len() + 8;
        bytes <= ANSWER_BYTES_MAX
    };
    let kept = match keep {
        Keep::Oldest => events.iter().take_while(|event| fits(event)).count(),
        Keep::Newest => events.iter().rev().take_while(|event| fits(event)).count(),
    };
    let kept = kept.max(1).min(events.len());
    match keep {
        Keep::Oldest => events.truncate(kept),
        Keep::Newest => drop(events.drain(..events.len() - kept)),
    }
    events
}
