//! Who was a member when, by the final log, held against what clients were told.

use std::collections::{BTreeMap, HashMap};

use rookery_proto::v1::{
    self, ack::Result as Answer, error::Code, event::Body, room::Kind, server_frame::Frame,
};

use super::{
    judged::Judged,
    log::RoomLog,
    names::Names,
    report::{Report, Verdict},
    streams::seen,
};
use crate::{
    client::{Command, command::room_of, maybe},
    history::{Record, What},
};

/// Who came or went by an event.
#[derive(Debug)]
pub(super) struct Membership {
    /// The room's opening says whether it is a group.
    opens: Option<bool>,
    /// With their roles.
    users: Vec<(u32, i32)>,
    joins: bool,
}

impl Membership {
    pub(super) fn of(event: &v1::Event, people: &mut Names) -> Option<Self> {
        let mut admitted = |member: &v1::Member| {
            let user = member.user.as_ref()?;
            Some((people.number(&user.id), member.role))
        };
        Some(match event.body.as_ref()? {
            Body::RoomOpened(opened) => Self {
                opens: Some(
                    opened
                        .room
                        .as_ref()
                        .is_some_and(|it| it.kind() == Kind::Group),
                ),
                users: opened.members.iter().filter_map(admitted).collect(),
                joins: true,
            },
            Body::MemberJoined(joined) => Self {
                opens: None,
                users: joined.member.iter().filter_map(&mut admitted).collect(),
                joins: true,
            },
            Body::MemberLeft(left) => Self {
                opens: None,
                users: left
                    .user
                    .iter()
                    .map(|user| (people.number(&user.id), 0))
                    .collect(),
                joins: false,
            },
            _ => return None,
        })
    }
}

/// The members of one room at every head.
#[derive(Debug, Default)]
pub(super) struct MemberLog {
    /// In a group alone events decide who is a member.
    is_group: bool,
    /// By user: (offset, whether a member from there on), ascending.
    changes: HashMap<u32, Vec<(u64, bool)>>,
    /// (offset, how many members from there on), ascending.
    counts: Vec<(u64, usize)>,
    /// At the head, with their roles.
    pub(super) present: BTreeMap<u32, i32>,
    /// (offset, user) of those who joined as members, or left as none.
    pub(super) needless: Vec<(u64, u32)>,
}

impl MemberLog {
    /// Folds the next event.
    pub(super) fn fold(&mut self, (offset, membership): (u64, Membership)) {
        if let Some(is_group) = membership.opens {
            self.is_group = is_group;
        }
        for (user, role) in membership.users {
            let changes = self.changes.entry(user).or_default();
            let is_member = changes.last().is_some_and(|(_, is_member)| *is_member);
            if is_member == membership.joins {
                self.needless.push((offset, user));
            } else {
                changes.push((offset, membership.joins));
            }
            if membership.joins {
                self.present.insert(user, role);
            } else {
                self.present.remove(&user);
            }
        }
        self.counts.push((offset, self.present.len()));
    }

    pub(super) fn is_member(&self, user: u32, head: u64) -> bool {
        self.changes
            .get(&user)
            .and_then(|changes| at(changes, head))
            .unwrap_or(false)
    }

    /// Whether the user is no member at some head from the one to the other.
    fn is_out_within(&self, user: u32, from: u64, to: u64) -> bool {
        // Joins and leaves of one user take turns, so the next change of a member is a leave.
        let changes = self.changes.get(&user).map_or(&[][..], Vec::as_slice);
        let next = changes.partition_point(|(offset, _)| *offset <= from);
        !self.is_member(user, from) || changes.get(next).is_some_and(|(leave, _)| *leave <= to)
    }

    pub(super) fn count(&self, head: u64) -> usize {
        at(&self.counts, head).unwrap_or(0)
    }
}

/// What holds at a head, of what changed at offsets.
fn at<T: Copy>(changes: &[(u64, T)], head: u64) -> Option<T> {
    let known = changes.partition_point(|(offset, _)| *offset <= head);
    changes[..known].last().map(|(_, value)| *value)
}

/// By user and room.
type ByMember<T> = HashMap<(u32, u32), T>;

/// What clients were told of who is a member.
#[derive(Debug)]
pub(super) struct Memberships<'a> {
    judged: &'a Judged,
    /// Of sessions that stand, by frame id.
    asked: HashMap<(u32, u32), HashMap<String, Asked>>,
    /// The highest head at which the user was known to be a member.
    known: ByMember<u64>,
    /// Leaves of which nobody knows whether they were or will be done.
    open_leaves: ByMember<u64>,
}

/// A command about a room, without an answer yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Its user and room.
    key: (u32, u32),
    /// A head at which its user was known to be a member; 0: none was.
    member_at: u64,
    leaves: bool,
}

impl<'a> Memberships<'a> {
    pub(super) fn new(judged: &'a Judged) -> Self {
        Self {
            judged,
            asked: HashMap::new(),
            known: HashMap::new(),
            open_leaves: HashMap::new(),
        }
    }

    pub(super) fn judge(&mut self, record: &Record, report: &mut Report) {
        match &record.what {
            What::Sent(frame) => self.sent(record, frame),
            What::Received(frame) => match &frame.frame {
                Some(Frame::Ack(ack)) => self.acked(record, ack, report),
                Some(Frame::Error(error)) => self.refused(record, error, report),
                _ => {}
            },
            What::GaveUp { id } => drop(self.take(record, id)),
            What::Closed(_) => drop(self.asked.remove(&(record.client, record.session))),
            What::Opened { .. } | What::Replica(_) => {}
        }
    }

    fn take(&mut self, record: &Record, id: &str) -> Option<Asked> {
        let session = self.asked.get_mut(&(record.client, record.session))?;
        session.remove(id)
    }

    /// The log by which a room's members are judged.
    fn log(&self, room: u32) -> Option<&'a RoomLog> {
        let log = self.judged.sound_log(room);
        log.filter(|log| log.members.is_group)
    }

    fn sent(&mut self, record: &Record, frame: &v1::ClientFrame) {
        let asked = frame.command.as_ref().and_then(|command| {
            let room = self.judged.rooms.find(room_of(command)?)?;
            let key = (self.judged.user(record)?, room);
            Some(Asked {
                key,
                member_at: self.known.get(&key).copied().unwrap_or(0),
                leaves: matches!(command, Command::Leave(leave) if !leave.session_only),
            })
        });
        let Some(asked) = asked else { return };
        if asked.leaves {
            *self.open_leaves.entry(asked.key).or_default() += 1;
        }
        let session = self.asked.entry((record.client, record.session));
        session.or_default().insert(frame.id.clone(), asked);
    }

    fn acked(&mut self, record: &Record, ack: &v1::Ack, report: &mut Report) {
        let asked = self.take(record, &ack.id);
        match &ack.result {
            Some(Answer::Joined(joined)) => {
                self.told(record, joined.room.as_ref(), joined.head, report);
            }
            Some(Answer::Rooms(page)) => {
                for summary in page.rooms.iter().filter(|summary| !summary.unavailable) {
                    self.told(record, summary.room.as_ref(), summary.head, report);
                }
            }
            _ => {}
        }
        let Some(asked) = asked.filter(|asked| asked.leaves) else {
            return;
        };
        self.leave_ended(asked);
        if let Some(false) = self.may_be_out(record, asked) {
            let what = format!(
                "a leave was acknowledged, but by the log {:?} has been a member since {} at least",
                self.judged.people.name(asked.key.0),
                asked.member_at
            );
            report.found(Verdict::Lost, self.judged.seen(record, asked.key.1, what));
        }
    }

    /// An answer that only members get, with the number of members.
    fn told(&mut self, record: &Record, room: Option<&v1::Room>, head: u64, report: &mut Report) {
        let judged = self.judged;
        let number = room.and_then(|room| judged.rooms.find(&room.id));
        let (Some(room), Some(number), Some(user)) = (room, number, judged.user(record)) else {
            return;
        };
        let known = self.known.entry((user, number)).or_default();
        *known = head.max(*known);
        let Some(log) = self.log(number) else {
            return;
        };
        report.totals.members_checked += 1;
        let mut wrong = |what| report.found(Verdict::Divergent, seen(record, &room.id, what));
        if !log.members.is_member(user, head) {
            let user = judged.people.name(user);
            wrong(format!(
                "{user:?} taken for a member, by the log none at head {head}"
            ));
        }
        let count = log.members.count(head);
        if room.member_count as usize != count {
            let told = room.member_count;
            wrong(format!(
                "told of {told} members, by the log {count} at head {head}"
            ));
        }
    }

    fn refused(&mut self, record: &Record, error: &v1::Error, report: &mut Report) {
        let Some(asked) = self.take(record, &error.id) else {
            return;
        };
        if asked.leaves && !maybe(error.code()) {
            self.leave_ended(asked);
        }
        if error.code() != Code::NotMember {
            return;
        }
        // An owner that takes a leave refuses at once; that its event is lost with it is allowed.
        let excused = self
            .open_leaves
            .get(&asked.key)
            .is_some_and(|open| *open > 0);
        if let (Some(false), false) = (self.may_be_out(record, asked), excused) {
            let what = format!(
                "{:?} refused as not a member, by the log one since {} at least",
                self.judged.people.name(asked.key.0),
                asked.member_at
            );
            report.found(Verdict::Stale, self.judged.seen(record, asked.key.1, what));
        }
    }

    fn leave_ended(&mut self, asked: Asked) {
        if let Some(open) = self.open_leaves.get_mut(&asked.key) {
            *open -= 1;
        }
    }

    /// Whether the log has a head, between what was known at the question and what there may have
    /// been at the answer, at which the user is out; `None`: it cannot be judged.
    fn may_be_out(&self, record: &Record, asked: Asked) -> Option<bool> {
        let log = self.log(asked.key.1)?;
        let to = log.head_possible_at(record.at);
        (asked.member_at > 0).then(|| {
            let members = &log.members;
            members.is_out_within(asked.key.0, asked.member_at, to)
        })
    }
}
