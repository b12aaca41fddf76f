//! A presence node as gateways and rooms see it, in paused time, over SQLite.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message as _;
use rookery_cluster::{Bus, EndpointId, InProcessBus, Links, Ownership, Role, SingleNode};
use rookery_persistence::{Incarnation, MemberRow, RoomWrite, Store};
use rookery_presence::{PresenceConfig, PresencePorts, StartError, limits, start};
use rookery_proto::{
    errors::Code,
    ids::{Epoch, Offset, RoomId, UserId},
    link::{
        Reply, UnwatchUser, WatchUser, packet::Body, reply, user_delivery, user_request::Command,
    },
    v1::{self, member, presence::Status},
};

use self::support::{
    Gateway, PUSH_THAT_PANICS, START_MS, Trouble, World, caller, eventually, pass,
};

#[tokio::test(start_paused = true)]
async fn user_is_offline_only_after_the_last_device_and_its_grace() {
    let world = World::known().await;
    let (one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    one.open(11, "ada", "laptop");
    pass(100).await;
    assert_eq!(two.watch(20, "ada").await, (Status::Online, 0));

    one.close(10, "ada", &[]);
    two.quiet(60_000).await;

    one.close(11, "ada", &[]);
    let closed_ms = world.wall_ms();
    two.quiet(4_900).await;
    let (sessions, status, last_seen_ms) = two.update().await;
    assert_eq!((sessions, status), (vec![20], Status::Offline));
    assert!(
        last_seen_ms.abs_diff(closed_ms) < 100,
        "{last_seen_ms} is not {closed_ms}"
    );
    assert!(world.wall_ms() - closed_ms < 5_300);
    eventually("last seen is stored", async || {
        world.stored_last_seen("ada").await == last_seen_ms
    })
    .await;
    assert_eq!(two.watch(21, "ada").await, (Status::Offline, last_seen_ms));
}

#[tokio::test(start_paused = true)]
async fn reconnect_inside_the_grace_is_not_told_to_anyone() {
    let world = World::known().await;
    let (one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    pass(100).await;
    two.watch(20, "ada").await;
    for session in 11..20 {
        one.close(session - 1, "ada", &[]);
        two.quiet(4_000).await;
        one.open(session, "ada", "phone");
        two.quiet(4_000).await;
    }
    assert_eq!(world.stored_last_seen("ada").await, 0);
}

#[tokio::test(start_paused = true)]
async fn silent_gateway_takes_its_sessions_after_silence_and_grace() {
    let world = World::known().await;
    let (one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    pass(100).await;
    assert_eq!(two.watch(20, "ada").await.0, Status::Online);
    two.quiet(20_000).await;

    drop(one);
    let died_ms = world.wall_ms();
    let (_, status, last_seen_ms) = two.update().await;
    let took_ms = world.wall_ms() - died_ms;
    assert_eq!(status, Status::Offline);
    assert!((7_000..9_500).contains(&took_ms), "took {took_ms} ms");
    assert!(last_seen_ms >= died_ms && last_seen_ms < world.wall_ms());
}

#[tokio::test(start_paused = true)]
async fn status_of_a_device_is_told_at_most_once_in_two_seconds() {
    let world = World::known().await;
    let (mut one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    pass(100).await;
    two.watch(20, "ada").await;
    two.watch(21, "ada").await;
    two.watch(22, "ada").await;
    for status in [
        Status::Away,
        Status::Dnd,
        Status::Invisible,
        Status::Online,
        Status::Dnd,
    ] {
        set_status(&mut one, status.into()).await;
    }
    let told = BTreeMap::from([update(&mut two).await, update(&mut two).await]);
    let lanes = [(vec![20, 22], Status::Away), (vec![21], Status::Away)];
    assert_eq!(told, lanes.into(), "one delivery a lane");
    two.quiet(1_900).await;
    assert_eq!(two.update().await.1, Status::Dnd);
    assert_eq!(two.update().await.1, Status::Dnd);
    two.quiet(10_000).await;
}

async fn update(gateway: &mut Gateway) -> (Vec<u64>, Status) {
    let (sessions, status, _) = gateway.update().await;
    (sessions, status)
}

async fn set_status(gateway: &mut Gateway, status: i32) {
    let command = Command::SetPresence(v1::SetPresence { status });
    gateway.request(1, caller(10, "ada", "phone"), "ada", Some(command));
    assert!(matches!(gateway.ack().await, v1::ack::Result::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn users_of_a_new_node_are_unknown_until_gateways_had_time_to_announce() {
    let world = World::new().await;
    let ada = UserId::parse("ada").unwrap();
    world.store.put_last_seen(&ada, START_MS - 1).await.unwrap();
    let mut one = world.gateway(1).await;
    assert_eq!(one.watch(10, "ada").await, (Status::Unspecified, 0));
    assert_eq!(one.watch(10, "bob").await, (Status::Unspecified, 0));
    one.open(11, "bob", "phone");
    assert_eq!(one.update().await, (vec![10], Status::Online, 0));
    assert_eq!(
        one.update().await,
        (vec![10], Status::Offline, START_MS - 1)
    );
    assert!(world.started.elapsed() >= limits::REANNOUNCE_GRACE);
    one.quiet(10_000).await;
}

#[tokio::test(start_paused = true)]
async fn failed_shard_starts_again_and_asks_gateways_to_announce() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    one.open(10, PUSH_THAT_PANICS, "phone");
    assert_eq!(one.watch(20, PUSH_THAT_PANICS).await.0, Status::Online);
    one.close(10, PUSH_THAT_PANICS, &[]);
    world.notify(PUSH_THAT_PANICS, notice("general"), 0);
    one.asked_to_announce().await;

    assert_eq!(
        one.watch(20, PUSH_THAT_PANICS).await,
        (Status::Unspecified, 0)
    );
    one.open(10, PUSH_THAT_PANICS, "phone");
    assert_eq!(one.update().await, (vec![20], Status::Online, 0));
    one.quiet(60_000).await;
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_restarting_shard_are_told_to_come_back() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    one.watch(20, "ada").await;
    world.notify(PUSH_THAT_PANICS, notice("general"), 0);
    for request in 0..20 {
        pass(10).await;
        let command = Some(Command::Unwatch(UnwatchUser {}));
        one.request(request, caller(20, "w", ""), PUSH_THAT_PANICS, command);
    }
    let error = loop {
        match one.next().await {
            Body::Reply(Reply {
                result: Some(reply::Result::Error(error)),
                ..
            }) => break error,
            Body::Reply(_) | Body::Reannounce(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(
        (error.code(), error.retry_after_ms),
        (Code::Unavailable, 1_000)
    );
    assert_eq!(error.correlation_id.len(), 16);
}

#[tokio::test(start_paused = true)]
async fn sessions_not_announced_after_a_loss_are_gone() {
    let world = World::known().await;
    let (mut one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    one.open(11, "bob", "phone");
    pass(100).await;
    two.watch(20, "ada").await;
    two.watch(20, "bob").await;

    one.lose_a_packet();
    one.open(10, "ada", "phone");
    one.asked_to_announce().await;
    one.open(10, "ada", "phone");
    one.asked_to_announce().await;
    let (_, status, last_seen_ms) = two.update().await;
    assert_eq!(status, Status::Offline);
    assert_ne!(last_seen_ms, 0);
    assert_eq!(two.watch(21, "ada").await.0, Status::Online);
    assert_eq!(two.watch(21, "bob").await.0, Status::Offline);
    one.quiet(60_000).await;
}

fn notice(room: &str) -> v1::Notice {
    let left = v1::LeftRoom {
        room: room.into(),
        ..v1::LeftRoom::default()
    };
    v1::Notice {
        body: Some(v1::notice::Body::LeftRoom(left)),
    }
}

#[tokio::test(start_paused = true)]
async fn notice_reaches_every_device_but_its_origin_once() {
    let world = World::known().await;
    let (mut one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    for session in [10, 11, 12] {
        one.open(session, "ada", "phone");
    }
    two.open(20, "ada", "laptop");
    two.open(22, "bob", "laptop");
    pass(100).await;
    world.notify("ada", notice("general"), 10);

    let expected = user_delivery::Body::Notice(notice("general").encode_to_vec().into());
    let mut got = Vec::new();
    for _ in 0..2 {
        let delivery = one.delivery().await;
        assert_eq!(delivery.body, Some(expected.clone()));
        got.push((delivery.lane, delivery.sessions));
    }
    assert_eq!(got, [(0, vec![12]), (1, vec![11])]);
    let delivery = two.delivery().await;
    assert_eq!(
        (delivery.body, delivery.sessions),
        (Some(expected), vec![20])
    );
    one.quiet(10_000).await;
    two.quiet(10_000).await;
    assert_eq!(world.pushes.taken(), []);
}

#[tokio::test(start_paused = true)]
async fn notice_for_a_user_without_session_is_pushed() {
    let world = World::known().await;
    let one = world.gateway(1).await;
    one.open(10, "ada", "phone");
    one.close(10, "ada", &[]);
    pass(100).await;
    world.notify("ada", notice("general"), 0);
    eventually("a push", async || world.pushes.taken().len() == 1).await;
    let event = &world.pushes.taken()[0];
    assert_eq!(event.user.as_str(), "ada");
    assert_eq!(
        v1::Notice::decode(event.notice.clone()).unwrap(),
        notice("general")
    );
}

#[tokio::test(start_paused = true)]
async fn closed_session_is_told_no_more() {
    let world = World::known().await;
    let (mut one, mut two) = (world.gateway(1).await, world.gateway(2).await);
    one.open(10, "ada", "phone");
    pass(100).await;
    for session in [20, 22, 24] {
        two.watch(session, "ada").await;
    }
    two.close(20, "watcher", &["ada"]);
    let command = Command::Unwatch(UnwatchUser {});
    two.request(5, caller(22, "watcher", ""), "ada", Some(command));
    assert!(matches!(two.ack().await, v1::ack::Result::Done(_)));
    set_status(&mut one, Status::Dnd.into()).await;
    assert_eq!(two.update().await, (vec![24], Status::Dnd, 0));
    two.quiet(10_000).await;
}

async fn rooms(gateway: &mut Gateway, after: &str, limit: u32) -> (Vec<String>, String) {
    let command = Command::Rooms(v1::Rooms {
        after: after.into(),
        limit,
    });
    gateway.request(1, caller(10, "ada", "phone"), "ada", Some(command));
    match gateway.ack().await {
        v1::ack::Result::Rooms(page) => {
            let rooms = page
                .rooms
                .into_iter()
                .map(|summary| summary.room.unwrap().id)
                .collect();
            (rooms, page.next)
        }
        other => panic!("no rooms but {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_come_in_pages_without_those_left() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    assert_eq!(rooms(&mut one, "", 0).await, (vec![], String::new()));

    // Every third room is left.
    let writes: Vec<_> = (0..700_u64).map(membership).collect();
    let sqlite = Arc::clone(&world.store.sqlite);
    let runtime = tokio::runtime::Handle::current();
    let written = move || runtime.block_on(async move { sqlite.commit(&writes).await });
    tokio::task::spawn_blocking(written).await.unwrap().unwrap();
    let expected: Vec<_> = (0..700)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("room-{n:04}"))
        .collect();

    for limit in [0, 1, 7, 199, 200] {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let (page, next) = rooms(&mut one, &after, limit).await;
            assert!(page.len() <= if limit == 0 { 100 } else { limit as usize });
            assert!(next.is_empty() || page.last() == Some(&next));
            all.extend(page);
            if next.is_empty() {
                break;
            }
            after = next;
        }
        assert_eq!(all, expected, "pages of {limit}");
    }
    let (page, next) = rooms(&mut one, "room-0697", 1).await;
    assert_eq!((page, next), (vec!["room-0698".to_owned()], String::new()));
}

fn membership(number: u64) -> RoomWrite {
    let room = RoomId::parse(&format!("room-{number:04}")).unwrap();
    let user = UserId::parse("ada").unwrap();
    let mut write = RoomWrite::new(room);
    let roles = [Some(member::Role::Member), None];
    let events = if number.is_multiple_of(3) { 2 } else { 1 };
    for (offset, role) in (1..).zip(roles).take(events) {
        let offset = Offset(offset);
        let name = "Ada".to_owned();
        write.members.push(MemberRow {
            user: user.clone(),
            name,
            offset,
            epoch: Epoch(1),
            role,
        });
    }
    write
}

#[tokio::test(start_paused = true)]
async fn bad_requests_name_what_is_wrong() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    let presence = |status| Some(Command::SetPresence(v1::SetPresence { status }));
    let rooms = |after: &str, limit| {
        Some(Command::Rooms(v1::Rooms {
            after: after.into(),
            limit,
        }))
    };
    let cases = [
        (
            "ada",
            presence(Status::Offline.into()),
            Code::Invalid,
            "setPresence.status",
        ),
        (
            "ada",
            presence(Status::Unspecified.into()),
            Code::Invalid,
            "setPresence.status",
        ),
        ("ada", presence(77), Code::Invalid, "setPresence.status"),
        ("bob", presence(Status::Dnd.into()), Code::Forbidden, ""),
        ("bob", rooms("", 0), Code::Forbidden, ""),
        ("ada", rooms("", 201), Code::Invalid, "rooms.limit"),
        ("ada", rooms("no room", 0), Code::Invalid, "rooms.after"),
        ("ada", None, Code::Unsupported, ""),
        (
            "",
            Some(Command::Unwatch(UnwatchUser {})),
            Code::Invalid,
            "user",
        ),
    ];
    for (user, command, code, field) in cases {
        let what = format!("{user} {command:?}");
        one.request(1, caller(10, "ada", "phone"), user, command);
        let error = one.error().await;
        assert_eq!(
            (error.code(), error.field.as_str()),
            (code, field),
            "{what}"
        );
        assert_eq!((error.retry_after_ms, error.correlation_id.len()), (0, 16));
    }
    assert_eq!(
        one.watch(20, "ada").await.0,
        Status::Offline,
        "nothing was opened by it"
    );
}

#[tokio::test(start_paused = true)]
async fn full_shard_refuses_with_a_hint_and_recovers() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    world.store.trouble.send_replace(Trouble::Hangs);
    let command = || Some(Command::Rooms(v1::Rooms::default()));
    for request in 0..limits::SHARD_REQUESTS_MAX + 10 {
        one.request(request as u64, caller(10, "ada", ""), "ada", command());
    }
    for request in 0..10 {
        let reply = one.reply().await;
        assert_eq!(reply.request, (limits::SHARD_REQUESTS_MAX + request) as u64);
        let Some(reply::Result::Error(error)) = reply.result else {
            panic!("no error but {reply:?}");
        };
        assert_eq!(
            (error.code(), error.retry_after_ms),
            (Code::Overloaded, 500)
        );
    }
    // Sessions still have room.
    one.open(10, "ada", "phone");
    world.store.trouble.send_replace(Trouble::None);
    for _ in 0..limits::SHARD_REQUESTS_MAX {
        assert!(matches!(one.ack().await, v1::ack::Result::Rooms(_)));
    }
    assert_eq!(one.watch(20, "ada").await.0, Status::Online);
}

#[tokio::test(start_paused = true)]
async fn broken_store_is_told_and_last_seen_is_stored_when_it_is_back() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    one.open(10, "ada", "phone");
    assert_eq!(one.watch(20, "ada").await.0, Status::Online);
    world.store.trouble.send_replace(Trouble::Fails);
    let command = || Some(Command::Watch(WatchUser {}));
    one.request(1, caller(21, "w", ""), "bob", command());
    let error = one.error().await;
    assert_eq!(
        (error.code(), error.retry_after_ms),
        (Code::Unavailable, 1_000)
    );

    one.close(10, "ada", &[]);
    let (_, status, last_seen_ms) = one.update().await;
    assert_eq!(
        status,
        Status::Offline,
        "told although it could not be stored"
    );
    pass(20_000).await;
    world.store.trouble.send_replace(Trouble::Hangs);
    one.request(2, caller(21, "w", ""), "carl", command());
    assert_eq!(
        one.error().await.code(),
        Code::Unavailable,
        "in time, though nothing comes back"
    );
    world.store.trouble.send_replace(Trouble::None);
    eventually("last seen is stored", async || {
        world.stored_last_seen("ada").await == last_seen_ms
    })
    .await;
    assert_eq!(one.watch(21, "bob").await, (Status::Offline, 0));
}

#[tokio::test(start_paused = true)]
async fn shard_put_away_when_empty_still_knows_who_is_offline() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    one.open(10, "ada", "phone");
    one.close(10, "ada", &[]);
    pass(10_000).await;
    let last_seen_ms = world.stored_last_seen("ada").await;
    assert_ne!(last_seen_ms, 0);
    pass(2 * limits::PASSIVATE_AFTER.as_millis() as u64).await;
    assert_eq!(one.watch(20, "ada").await, (Status::Offline, last_seen_ms));
}

#[tokio::test(start_paused = true)]
async fn stopping_node_stores_when_connected_users_were_seen() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    for session in 0..100 {
        one.open(session, &format!("user {session}"), "phone");
    }
    assert_eq!(one.watch(200, "user 99").await.0, Status::Online);
    let stopping_ms = world.wall_ms();
    let store = Arc::clone(&world.store);
    let report = world.node.stop(Duration::from_secs(5)).await;
    assert_eq!(
        (report.stored, report.unsaved, report.in_time),
        (100, 0, true)
    );
    for session in 0..100 {
        let user = UserId::parse(&format!("user {session}")).unwrap();
        assert!(store.user(&user).await.unwrap().last_seen_ms >= stopping_ms);
    }
}

#[tokio::test(start_paused = true)]
async fn stop_with_a_hanging_store_ends_at_the_grace_and_says_what_is_unsaved() {
    let world = World::known().await;
    let mut one = world.gateway(1).await;
    one.open(10, "ada", "phone");
    assert_eq!(one.watch(20, "ada").await.0, Status::Online);
    world.store.trouble.send_replace(Trouble::Hangs);
    let before = tokio::time::Instant::now();
    let report = world.node.stop(Duration::from_secs(2)).await;
    assert_eq!(
        (report.stored, report.unsaved, report.in_time),
        (0, 1, false)
    );
    assert!(before.elapsed() < Duration::from_millis(2_200));
}

#[tokio::test(start_paused = true)]
async fn node_refuses_links_of_another_endpoint() {
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::default());
    let world = World::new().await;
    let ports = PresencePorts {
        links: Links::new(Arc::clone(&bus), EndpointId::new(Role::Presence, 1), 1),
        bus,
        placement: Arc::new(SingleNode {
            rooms: EndpointId::new(Role::Rooms, 9),
            presence: EndpointId::new(Role::Presence, 9),
        }),
        ownership: Ownership::Alone,
        store: Arc::clone(&world.store) as Arc<dyn Store>,
        clock: Arc::new(rookery_cluster::SystemClock),
    };
    let config = PresenceConfig {
        incarnation: Incarnation(2),
        ..PresenceConfig::default()
    };
    let refused = start(config, ports).await.unwrap_err();
    assert!(matches!(refused, StartError::WrongLinks { .. }));
}
