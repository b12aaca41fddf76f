//! Ways to make a right history wrong, each in one way only. They give `None` when the history
//! offers no place for it.

#![expect(
    clippy::ptr_arg,
    reason = "faults share one type; some insert and remove records"
)]

mod log;
mod members;
mod places;
mod presence;
mod reads;
mod streams;

use fastrand::Rng;

use crate::{checker::Verdict, history::Record};
pub(super) use places::{ask_at_rest, forget_final_log, lose_answer};

/// What is wrong, as what it must be judged, and how it is done.
pub(super) type Fault = (
    &'static str,
    Verdict,
    fn(&mut Vec<Record>, &mut Rng) -> Option<()>,
);

/// All of them.
pub(super) fn faults() -> Vec<Fault> {
    [
        log::FAULTS,
        streams::FAULTS,
        reads::FAULTS,
        members::FAULTS,
        presence::FAULTS,
    ]
    .concat()
}
