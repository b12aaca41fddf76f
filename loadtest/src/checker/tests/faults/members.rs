//! What can be wrong about who is a member.

use fastrand::Rng;
use rookery_proto::v1::{self, ack::Result as Answer, event::Body, server_frame::Frame};

use super::{Fault, places::*};
use crate::{
    checker::Verdict,
    client::{Command, command},
    history::{Record, What},
};

pub(super) const FAULTS: &[Fault] = &[
    (
        "members miscounted",
        Verdict::Divergent,
        member_count_changed,
    ),
    ("member refused as none", Verdict::Stale, member_refused),
    (
        "leave acked that is not in the log",
        Verdict::Lost,
        leave_without_trace,
    ),
    ("member joined again", Verdict::Duplicate, joined_again),
    ("member by a resume", Verdict::Phantom, member_by_resume),
];

fn member_count_changed(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let found = places(records, |_, record| {
        matches!(answer(record), Some(Answer::Joined(_) | Answer::Rooms(_)))
    });
    match answer_mut(&mut records[pick(&found, random)?]) {
        Answer::Joined(joined) => joined.room.as_mut()?.member_count += 1,
        Answer::Rooms(page) => page.rooms.first_mut()?.room.as_mut()?.member_count += 1,
        _ => return None,
    }
    Some(())
}

fn member_refused(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&asked_by_a_member(records), random)?;
    let Frame::Ack(ack) = frame_mut(&mut records[index]) else {
        return None;
    };
    let id = ack.id.clone();
    *frame_mut(&mut records[index]) = refusal(id, v1::error::Code::NotMember);
    Some(())
}

fn leave_without_trace(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let index = pick(&asked_by_a_member(records), random)?;
    let Some(Answer::Cursor(cursor)) = answer(&records[index]) else {
        return None;
    };
    let leave = v1::ClientFrame {
        id: "leave".to_owned(),
        command: Some(command::leave(&cursor.room, false)),
    };
    let done = v1::ServerFrame {
        frame: Some(Frame::Ack(v1::Ack {
            id: "leave".to_owned(),
            result: Some(Answer::Done(v1::Done {})),
        })),
    };
    for what in [What::Received(Box::new(done)), What::Sent(Box::new(leave))] {
        let record = Record {
            what,
            ..records[index]
        };
        records.insert(index + 1, record);
    }
    Some(())
}

fn joined_again(records: &mut Vec<Record>, _: &mut Rng) -> Option<()> {
    let user = |event: &v1::Event| event.actor.as_ref().unwrap().id.clone();
    let joins: Vec<v1::Event> = final_events(records, "red")
        .into_iter()
        .filter(|event| matches!(event.body, Some(Body::MemberJoined(_))))
        .collect();
    let again = joins.last()?.clone();
    let done = joins.iter().filter(|event| user(event) == user(&again));
    let log = judged(records);
    let asked = records.iter().filter(|record| {
        user_of(&log, record) == user(&again)
            && matches!(&record.what, What::Sent(frame)
                if matches!(&frame.command, Some(Command::Join(join)) if join.room == "red"))
    });
    // Without one that nobody needed, it would be an event that nobody asked for.
    (asked.count() > done.count()).then_some(())?;
    append_to_final_log(records, "red", again);
    Some(())
}

/// Cursors told to users who were in the room all the time since they were told so.
fn asked_by_a_member(records: &[Record]) -> Vec<usize> {
    let log = judged(records);
    let sent = sent(records);
    let leaves = |user: &str, room: &str| {
        sent.values().any(|(index, command)| {
            matches!(command, Command::Leave(leave) if leave.room == room)
                && user_of(&log, &records[*index]) == user
        })
    };
    let of_members = answers(records).filter(|of| {
        let Answer::Cursor(cursor) = of.answer else {
            return false;
        };
        let user = user_of(&log, of.record);
        let told = records[..of.asked].iter().any(|earlier| {
            user_of(&log, earlier) == user
                && matches!(answer(earlier), Some(Answer::Joined(joined))
                    if joined.room.as_ref().unwrap().id == cursor.room)
        });
        told && !leaves(user, &cursor.room)
    });
    of_members.map(|of| of.index).collect()
}

/// A user who is let in has only ever resumed.
fn member_by_resume(records: &mut Vec<Record>, random: &mut Rng) -> Option<()> {
    let let_in: Vec<(String, String)> = final_pages(records, "red")
        .flat_map(|page| &page.events)
        .filter_map(|event| match &event.body {
            Some(Body::MemberJoined(joined)) => {
                let user = joined.member.as_ref()?.user.as_ref()?;
                Some((event.room.clone(), user.id.clone()))
            }
            _ => None,
        })
        .collect();
    let (room, user) = pick(&let_in, random)?;
    let log = judged(records);
    for record in records {
        let of_user = user_of(&log, record) == user;
        if let What::Sent(frame) = &mut record.what
            && let Some(Command::Join(join)) = &mut frame.command
            && join.room == room
            && of_user
        {
            join.resume = true;
        }
    }
    Some(())
}
