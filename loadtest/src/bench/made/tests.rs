//! Made histories are right, and found wrong once they are made so.

use rookery_proto::v1::{self, ack::Result as Answer, server_frame::Frame};

use super::MadeHistory;
use crate::{
    checker::{Verdict, check, check_each},
    history::What,
};

#[test]
fn made_history_is_right_and_uses_every_rule() {
    let made = MadeHistory {
        seed: 3,
        rooms: 3,
        operations: 5_000,
    };
    let report = check_each(|judge| made.tell(judge));
    assert!(report.is_sound(), "{report}");
    let totals = &report.totals;
    assert!(totals.unknown_happened > 10, "{report}");
    assert!(
        totals.unread_checked > 100 && totals.read > 1_000,
        "{report}"
    );
    assert_eq!((totals.rooms, totals.replicas), (3, 3));
}

#[test]
fn made_history_with_an_event_left_out_of_the_log_is_not() {
    let made = MadeHistory {
        seed: 4,
        rooms: 2,
        operations: 500,
    };
    let mut records = Vec::new();
    made.tell(&mut |record| records.push(record.clone()));
    let page = records.iter_mut().rev().find_map(|record| {
        let What::Received(frame) = &mut record.what else {
            return None;
        };
        match &mut frame.frame {
            Some(Frame::Ack(v1::Ack {
                result: Some(Answer::History(page)),
                ..
            })) => Some(page),
            _ => None,
        }
    });
    page.unwrap().events.remove(17);
    assert_eq!(check(&records).verdicts(), [Verdict::Lost]);
}
