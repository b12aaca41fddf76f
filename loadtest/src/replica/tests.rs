//! Every way to a room's state leads to the same state.

use proptest::prelude::*;
use rookery_proto::v1;

use super::*;
use crate::fake::Model;

#[test]
fn gap_and_known_event_change_nothing() {
    let log = model_of(3, 40).raw_log("r").to_vec();
    let mut replica = Replica::from_log("r", &log[..10]);
    let before = replica.clone();
    assert_eq!(replica.apply(&log[4]), Applied::Known);
    assert_eq!(replica.apply(&log[12]), Applied::Gap { expected: 11 });
    assert_eq!(replica, before);
}

#[test]
fn difference_names_the_message() {
    let log = model_of(5, 60).raw_log("r").to_vec();
    let one = Replica::from_log("r", &log);
    let mut other = one.clone();
    let message = other
        .messages
        .values_mut()
        .find(|message| !message.deleted)
        .unwrap();
    message.text.push('!');
    let said = one.difference(&other).unwrap().to_string();
    assert!(said.contains("message ") && said.contains('!'), "{said}");
    assert_eq!(one.difference(&one.clone()), None);
}

proptest! {
    /// Live, by pages of any size, and by a snapshot in the middle: equal.
    #[test]
    fn every_way_to_the_head_gives_equal_replicas(
        seed in 0u64..1000, length in 2usize..120, cut in 0usize..120, page in 1usize..50,
    ) {
        let model = model_of(seed, length);
        let live = Replica::from_log("r", model.raw_log("r"));

        let mut paged = Replica::new("r");
        while paged.head() < live.head() {
            for event in model.page_after("r", paged.head(), page) {
                prop_assert_eq!(paged.apply(&event), Applied::New);
            }
        }
        prop_assert_eq!(live.difference(&paged), None);

        // A page folded at an earlier head, then the rest live.
        let early = model_of(seed, cut.min(length));
        let events = early.page_after("r", early.head("r").saturating_sub(page as u64), page);
        let mut late = Replica::new("r");
        let joined = v1::Joined { head: early.head("r"), reset: true, events, ..Default::default() };
        late.join(&joined, Some(0));
        for event in &model.raw_log("r")[usize::try_from(late.head()).unwrap()..] {
            prop_assert_eq!(late.apply(event), Applied::New);
        }
        prop_assert_eq!(late.difference(&live), None);
    }
}

/// A room with `length` random changes by three users; a longer one starts as the shorter one.
fn model_of(seed: u64, length: usize) -> Model {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = Model::default();
    model.open_room("r", "u0", &["u1", "u2"]);
    for step in 0..length {
        let user = format!("u{}", random.u8(0..3));
        let command = model.random_command("r", &user, step as u64, &mut random);
        // Refused ones (the edit of another's message) are part of the mix.
        let _ = model.apply(&user, &command);
    }
    model
}
