//! What people do, over both encodings, through the whole path.

use std::time::Duration;

use anyhow::{Context, Result};
use rookery_loadtest::client::{Client, Command, ConnectOptions, Encoding, Incoming, command};
use rookery_proto::{
    close::CloseCode,
    errors::Code,
    v1::{self, event::Body, notice, presence::Status, signal},
};

use crate::start;

const SOON: Duration = Duration::from_secs(10);

async fn connect(
    server: &rookery_loadtest::server::Server,
    name: &str,
    encoding: Encoding,
) -> Result<(Client, Incoming)> {
    Ok(Client::connect(&ConnectOptions::named(server.address(), name).encoding(encoding)).await?)
}

fn text(event: &v1::Event) -> Option<&str> {
    match &event.body {
        Some(Body::Message(message)) => Some(&message.text),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_chat_across_encodings_and_a_restart() -> Result<()> {
    let (_folder, mut server) = start(&[]).await?;
    let (ada, mut ada_in) = connect(&server, "ada", Encoding::Json).await?;
    let (bob, mut bob_in) = connect(&server, "bob", Encoding::Protobuf).await?;
    ada.create(command::create_group("lab", false, &["bob"], "c1"))
        .await?;
    let Some(added) = added_room(&mut bob_in).await else {
        anyhow::bail!("bob is told");
    };
    assert_eq!(added, "lab");
    let joined = bob.join(command::join_last("lab", 20)).await?;
    assert_eq!((joined.head, joined.unread), (1, 0));
    ada.join(command::join("lab")).await?;

    let sent = ada.send("lab", "hello", "a1").await?;
    let seen = bob_in.event(SOON).await?;
    assert_eq!((seen.offset, text(&seen)), (sent.offset, Some("hello")));
    assert_eq!(seen.actor.context("an actor")?.id, "ada");
    // A retry is answered with the first result; other content is a conflict.
    let again = ada.send("lab", "hello", "a1").await?;
    assert!(again.duplicate && again.offset == sent.offset);
    let conflict = ada.send("lab", "something else", "a1").await.unwrap_err();
    assert_eq!(conflict.code(), Some(Code::Conflict));

    bob.append(command::react("lab", sent.offset, "👍")).await?;
    ada.append(command::edit("lab", sent.offset, "hello, world"))
        .await?;
    let refused = bob
        .append(command::edit("lab", sent.offset, "mine"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(Code::Forbidden));
    let mine: Vec<u64> = [
        ada_in.event(SOON).await?,
        ada_in.event(SOON).await?,
        ada_in.event(SOON).await?,
    ]
    .iter()
    .map(|event| event.offset)
    .collect();
    assert_eq!(
        mine,
        [2, 3, 4],
        "the sender's own session sees the same order"
    );

    // Unread counts: bob has read nothing since he joined.
    let rooms = bob.rooms().await?;
    assert_eq!((rooms.len(), rooms[0].unread, rooms[0].head), (1, 1, 4));
    assert_eq!(bob.mark_read("lab", 4).await?.unread, 0);
    ada.send("lab", "one more", "a2").await?;
    assert_eq!(bob.rooms().await?[0].unread, 1);

    // Everything is there after a restart, and the retry still has one effect.
    server.terminate().await?;
    server.restart().await?;
    let (ada, _ada_in) = connect(&server, "ada", Encoding::Protobuf).await?;
    let page = ada.history(command::history_newest("lab", 50)).await?;
    assert_eq!(
        page.events
            .iter()
            .map(|event| event.offset)
            .collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    let Some(Body::Message(message)) = &page.events[1].body else {
        anyhow::bail!("offset 2 is the message");
    };
    assert_eq!(message.text, "hello, world");
    assert_eq!((message.reactions.len(), message.revision), (1, 4));
    let again = ada.send("lab", "hello", "a1").await?;
    assert!(
        again.duplicate && again.offset == sent.offset,
        "also after a restart"
    );
    let (bob, _bob_in) = connect(&server, "bob", Encoding::Json).await?;
    assert_eq!(bob.rooms().await?[0].unread, 1, "cursors are kept");

    // A deleted message is not unread and shows no text.
    ada.append(command::delete("lab", 5)).await?;
    assert_eq!(bob.rooms().await?[0].unread, 0);
    let page = bob.history(command::history_after("lab", 4, 1)).await?;
    let Some(Body::Message(message)) = &page.events[0].body else {
        anyhow::bail!("offset 5 is the message");
    };
    assert!(message.deleted && message.text.is_empty());
    Ok(())
}

async fn added_room(incoming: &mut Incoming) -> Option<String> {
    match incoming.notice(SOON).await {
        Ok(notice::Body::AddedToRoom(added)) => added.room.map(|room| room.id),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_typing_and_roster_reach_those_who_look() -> Result<()> {
    let (_folder, server) = start(&[("ROOKERY_PRESENCE__GRACE", "200ms")]).await?;
    let (ada, mut ada_in) = connect(&server, "ada", Encoding::Json).await?;
    ada.create(command::create_group("hall", true, &[], "c1"))
        .await?;
    ada.join(command::join("hall")).await?;
    let watched = ada
        .call(Command::WatchPresence(v1::WatchPresence {
            users: vec!["bob".to_owned()],
        }))
        .await?;
    let Some(v1::ack::Result::Presence(list)) = watched.result else {
        anyhow::bail!("a presence list");
    };
    assert_ne!(list.users[0].status(), Status::Online);

    let (bob, _bob_in) = connect(&server, "bob", Encoding::Protobuf).await?;
    check_signal(&mut ada_in, "bob is online", |signal| {
        matches!(signal, signal::Body::Presence(presence) if presence.user == "bob" && presence.status() == Status::Online)
    })
    .await?;
    bob.join(command::join("hall")).await?;
    check_signal(&mut ada_in, "bob came", |signal| {
        matches!(signal, signal::Body::Roster(roster) if roster.came.iter().any(|user| user.id == "bob"))
    })
    .await?;
    bob.call(command::typing("hall", true)).await?;
    check_signal(
        &mut ada_in,
        "bob types",
        |signal| matches!(signal, signal::Body::Typing(typing) if typing.active),
    )
    .await?;
    // A second device keeps him online when the first goes.
    let (bob_phone, _phone_in) = connect(&server, "bob", Encoding::Json).await?;
    bob.close().await;
    bob_phone
        .call(Command::SetPresence(v1::SetPresence {
            status: Status::Dnd.into(),
        }))
        .await?;
    check_signal(&mut ada_in, "bob does not want to be disturbed", |signal| {
        matches!(signal, signal::Body::Presence(presence) if presence.status() == Status::Dnd)
    })
    .await?;
    bob_phone.close().await;
    check_signal(&mut ada_in, "bob went, and when", |signal| {
        matches!(signal, signal::Body::Presence(presence) if presence.status() == Status::Offline && presence.last_seen_ms > 0)
    })
    .await
}

async fn check_signal(
    incoming: &mut Incoming,
    what: &str,
    wanted: impl Fn(&signal::Body) -> bool,
) -> Result<()> {
    incoming
        .wait_for(SOON, |frame| match frame {
            v1::server_frame::Frame::Signal(signal) => signal.body.filter(&wanted),
            _ => None,
        })
        .await
        .map(|_| ())
        .with_context(|| what.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_server_tells_its_sessions_and_exits_clean() -> Result<()> {
    let (_folder, mut server) = start(&[]).await?;
    let (ada, mut ada_in) = connect(&server, "ada", Encoding::Json).await?;
    let stopped = server.terminate();
    let told = ada_in.notice(SOON);
    let (stopped, told) = tokio::join!(stopped, told);
    assert!(matches!(told?, notice::Body::GoingAway(_)));
    let closed = tokio::time::timeout(SOON, ada.closed()).await?;
    assert_eq!(closed.code(), Some(CloseCode::GoingAway));
    assert_eq!(stopped?.code(), Some(0));
    Ok(())
}
