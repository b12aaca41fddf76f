//! Whom watchers show as online, against who had a session.

use std::collections::HashMap;

use rookery_proto::v1::{
    self, ack::Result as Answer, presence::Status, server_frame::Frame, signal,
};

use super::{
    judged::Judged,
    report::{Report, Verdict, Violation},
};
use crate::{
    history::{Record, What},
    limits::GHOST_MAX,
};

/// What watchers were told, session by session. There are few of them.
#[derive(Debug)]
pub(super) struct Presences<'a> {
    judged: &'a Judged,
    /// Users that ever had a session.
    users: HashMap<u32, Connected>,
    /// Sessions that stand.
    sessions: HashMap<(u32, u32), Session>,
    now: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connected {
    sessions: u32,
    /// When the first of these came, or the last went.
    since: u64,
}

#[derive(Debug)]
struct Session {
    user: u32,
    /// By user.
    shown: HashMap<u32, Shown>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    online: bool,
    at: u64,
}

impl<'a> Presences<'a> {
    pub(super) fn new(judged: &'a Judged) -> Self {
        Self {
            judged,
            users: HashMap::new(),
            sessions: HashMap::new(),
            now: 0,
        }
    }

    pub(super) fn judge(&mut self, record: &Record, report: &mut Report) {
        self.now = record.at;
        match &record.what {
            What::Opened { .. } => self.opened(record, report),
            What::Closed(_) => self.closed(record, report),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Ack(v1::Ack {
                    result: Some(Answer::Presence(list)),
                    ..
                })) => {
                    for presence in &list.users {
                        self.told(record, presence, report);
                    }
                }
                Some(Frame::Signal(v1::Signal {
                    body: Some(signal::Body::Presence(presence)),
                    ..
                })) => self.told(record, presence, report),
                _ => {}
            },
            What::Sent(_) | What::GaveUp { .. } | What::Replica(_) => {}
        }
    }

    pub(super) fn finish(self, report: &mut Report) {
        for ((client, _), session) in &self.sessions {
            for (user, shown) in &session.shown {
                self.look(*client, *user, *shown, report);
            }
        }
    }

    fn opened(&mut self, record: &Record, report: &mut Report) {
        let Some(user) = self.judged.user(record) else {
            return;
        };
        let session = Session {
            user,
            shown: HashMap::new(),
        };
        let number = (record.client, record.session);
        if self.sessions.insert(number, session).is_none() {
            self.changes(user, 1, report);
        }
    }

    fn closed(&mut self, record: &Record, report: &mut Report) {
        let number = (record.client, record.session);
        let Some(session) = self.sessions.remove(&number) else {
            return;
        };
        for (user, shown) in session.shown {
            self.look(record.client, user, shown, report);
        }
        self.changes(session.user, -1, report);
    }

    /// A user has one session more or less.
    fn changes(&mut self, user: u32, by: i32, report: &mut Report) {
        let was = self.users.get(&user).copied().unwrap_or_default();
        let sessions = was.sessions.saturating_add_signed(by);
        let is = Connected {
            sessions,
            since: if (was.sessions == 0) == (sessions == 0) {
                was.since
            } else {
                self.now
            },
        };
        if is.since != was.since {
            // What was shown wrongly until now is so no more.
            for ((client, _), session) in &self.sessions {
                if let Some(shown) = session.shown.get(&user) {
                    self.look(*client, user, *shown, report);
                }
            }
        }
        self.users.insert(user, is);
    }

    fn told(&mut self, record: &Record, presence: &v1::Presence, report: &mut Report) {
        report.totals.statuses += 1;
        let number = (record.client, record.session);
        let Some(user) = self.judged.people.find(&presence.user) else {
            return;
        };
        let at = record.at;
        let shown = match presence.status() {
            // Not known to whoever answered: it says nothing, and what was told before stays.
            Status::Unspecified => return,
            Status::Offline => Shown { online: false, at },
            Status::Online | Status::Away | Status::Dnd | Status::Invisible => {
                Shown { online: true, at }
            }
        };
        let before = self.sessions.get_mut(&number);
        let before = before.and_then(|session| session.shown.remove(&user));
        if let Some(before) = before {
            self.look(record.client, user, before, report);
        }
        if let Some(session) = self.sessions.get_mut(&number) {
            session.shown.insert(user, shown);
        }
    }

    /// Whether what is shown until now has been wrong for too long.
    fn look(&self, client: u32, user: u32, shown: Shown, report: &mut Report) {
        let Some(connected) = self.users.get(&user) else {
            return;
        };
        let since = shown.at.max(connected.since);
        let micros = self.now.saturating_sub(since);
        if (connected.sessions > 0) == shown.online || u128::from(micros) <= GHOST_MAX.as_micros() {
            return;
        }
        let user = self.judged.people.name(user);
        let seconds = micros / 1_000_000;
        let what = if shown.online {
            format!("{user:?} is shown online, and has had no session for {seconds} s")
        } else {
            format!("{user:?} is shown offline, and has had a session for {seconds} s")
        };
        let ghost = Violation {
            room: String::new(),
            at: self.now,
            client: Some(client),
            what,
        };
        report.found(Verdict::Ghost, ghost);
    }
}
