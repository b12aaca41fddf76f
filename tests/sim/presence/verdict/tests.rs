use rookery_cluster::Role;
use rookery_proto::shard::Shard;

use super::*;

const S: u64 = 1_000_000;

fn node() -> EndpointId {
    EndpointId::new(Role::Presence, 90)
}

fn opened(session: u64, gateway: u64, user: &'static str) -> Fact {
    Fact::Opened {
        session,
        gateway,
        user,
        device: 0,
    }
}

fn told(status: Status, unasked: bool) -> Fact {
    Fact::Told {
        session: 1,
        user: "bob",
        status,
        by: node(),
        unasked,
    }
}

/// Session 1 watches bob from gateway 10; what is found of the facts after that.
fn check(facts: Vec<(u64, Fact)>) -> Vec<Kind> {
    let user = "bob";
    let watches = [opened(1, 10, "ann"), Fact::Watches { session: 1, user }];
    let watches = watches.map(|it| (0, it));
    let all: Vec<_> = watches.into_iter().chain(facts).collect();
    judge(&all).into_iter().map(|found| found.kind).collect()
}

#[test]
fn offline_of_whom_was_long_connected_is_found() {
    let offline = || told(Status::Offline, true);
    let bob = || (S, opened(2, 11, "bob"));
    for (between, at, kinds) in [
        (vec![], 20 * S, vec![Kind::Offline]),
        // Not long enough.
        (vec![], 10 * S, vec![]),
        // Away longer than a page takes to load.
        (vec![(9 * S, Fact::Closed { session: 2 })], 20 * S, vec![]),
        (
            vec![(9 * S, Fact::Died(11)), (10 * S, opened(3, 12, "bob"))],
            20 * S,
            vec![Kind::Offline],
        ),
        (
            vec![(9 * S, Fact::Died(11)), (12 * S, opened(3, 12, "bob"))],
            20 * S,
            vec![],
        ),
        // The way to presence was not whole.
        (vec![(9 * S, Fact::Stands(11))], 20 * S, vec![]),
        (
            vec![(2 * S, Fact::Stands(11)), (3 * S, Fact::GoesOn(11))],
            20 * S,
            vec![Kind::Offline],
        ),
        (
            vec![(2 * S, Fact::Cut(90, 11)), (10 * S, Fact::Healed)],
            20 * S,
            vec![],
        ),
        (
            vec![(2 * S, Fact::Losing(true)), (3 * S, Fact::Losing(false))],
            20 * S,
            vec![Kind::Offline],
        ),
        (vec![(9 * S, Fact::Losing(true))], 20 * S, vec![]),
        // Other processes may do what they like.
        (
            vec![(9 * S, Fact::Stands(90)), (10 * S, Fact::Died(90))],
            20 * S,
            vec![Kind::Offline],
        ),
    ] {
        let what = format!("{between:?} {at}");
        let facts = [bob()].into_iter().chain(between).chain([(at, offline())]);
        assert_eq!(check(facts.collect()), kinds, "{what}");
    }
}

#[test]
fn offline_of_whom_hides_is_right() {
    let status = Status::Invisible;
    let facts = vec![
        (S, opened(2, 11, "bob")),
        (2 * S, Fact::Chose { session: 2, status }),
        (30 * S, told(Status::Offline, true)),
        (31 * S, Fact::Rest),
    ];
    assert_eq!(check(facts), []);
}

#[test]
fn at_rest_the_best_of_the_connected_devices_is_shown() {
    let of = |session, status| Fact::Chose { session, status };
    let two = |then: Vec<(u64, Fact)>, shown| {
        let second = Fact::Opened {
            session: 3,
            gateway: 12,
            user: "bob",
            device: 1,
        };
        let facts = [(S, opened(2, 11, "bob")), (S, second)];
        let facts = facts.into_iter().chain([(2 * S, of(3, Status::Away))]);
        let facts = facts.chain(then);
        let facts = facts.chain([(30 * S, told(shown, true)), (31 * S, Fact::Rest)]);
        check(facts.collect())
    };
    assert_eq!(two(vec![], Status::Online), []);
    assert_eq!(two(vec![], Status::Away), [Kind::Outdated]);
    assert_eq!(two(vec![(3 * S, Fact::Died(11))], Status::Away), []);
    let both = || {
        let closed = Fact::Closed { session: 3 };
        vec![(3 * S, Fact::Died(11)), (3 * S, closed)]
    };
    assert_eq!(two(both(), Status::Offline), []);
    assert_eq!(two(both(), Status::Away), [Kind::Ghost]);
    assert_eq!(two(both(), Status::Unspecified), [Kind::Outdated]);
    assert_eq!(check(vec![(S, Fact::Rest)]), [Kind::Outdated], "not told");
}

#[test]
fn updates_of_one_node_that_follow_too_soon_are_found() {
    let updates = |first: u64, second: u64, between: Vec<(u64, Fact)>| {
        let facts = [(first, told(Status::Online, true))];
        let facts = facts.into_iter().chain(between);
        let facts = facts.chain([(second, told(Status::Away, true))]);
        check(facts.collect())
    };
    assert_eq!(updates(10 * S, 12 * S, vec![]), []);
    assert_eq!(updates(10 * S, 11 * S, vec![]), [Kind::TooOften]);
    let answer = vec![(10 * S, told(Status::Dnd, false))];
    assert_eq!(updates(10 * S, 11 * S, answer), [Kind::TooOften]);
    let moved = vec![(10 * S, Fact::Took(Shard::of("bob")))];
    assert_eq!(updates(10 * S, 11 * S, moved), []);
    let stood = |who| vec![(10 * S, Fact::Stands(who)), (11 * S, Fact::GoesOn(who))];
    assert_eq!(updates(10 * S, 11 * S, stood(10)), [], "its gateway");
    assert_eq!(updates(10 * S, 11 * S, stood(90)), [], "the node");
    assert_eq!(updates(10 * S, 11 * S, stood(12)), [Kind::TooOften]);
}

#[test]
fn owner_that_changes_in_a_split_is_found() {
    let owner = || Fact::Owner {
        gateway: 10,
        shard: Shard::of("bob"),
        owner: node(),
    };
    let split = || (2 * S, Fact::Split { alone: true });
    assert_eq!(check(vec![(S, owner()), split()]), []);
    assert_eq!(check(vec![split(), (3 * S, owner())]), [Kind::Moved]);
    let healed = vec![split(), (3 * S, Fact::Healed), (4 * S, owner())];
    assert_eq!(check(healed), []);
    let other = Fact::Split { alone: false };
    assert_eq!(check(vec![(2 * S, other), (3 * S, owner())]), []);
}
