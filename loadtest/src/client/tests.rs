//! The client against the fake server.

use std::time::Duration;

use rookery_proto::close::{CloseCode, Reconnect};
use tokio::time::Instant;

use super::*;
use crate::fake::FakeServer;

const SOON: Duration = Duration::from_secs(10);

async fn named(server: &FakeServer, name: &str, encoding: Encoding) -> (Client, Incoming) {
    let options = ConnectOptions::named(&server.address, name).encoding(encoding);
    Client::connect(&options).await.unwrap()
}

#[tokio::test]
async fn calls_and_events_in_both_encodings() {
    let server = FakeServer::start().await;
    for encoding in Encoding::ALL {
        let room = format!("room-{encoding:?}");
        let (ann, _) = named(&server, "ann", encoding).await;
        let (bob, mut incoming) = named(&server, "bob", encoding).await;
        assert_eq!(bob.welcome().user.as_ref().unwrap().id, "bob");
        let create = command::create_group(&room, true, &["cyd"], "k");
        assert_eq!(ann.create(create).await.unwrap().id, room);
        let joined = bob.join(command::join_after(&room, 0)).await.unwrap();
        assert_eq!((joined.head, joined.events.len()), (2, 2));

        let sent = ann.send(&room, "hello", "1").await.unwrap();
        assert_eq!((sent.offset, sent.duplicate), (3, false));
        assert!(ann.send(&room, "hello", "1").await.unwrap().duplicate);
        let refused = ann.send(&room, "other", "1").await.unwrap_err();
        assert_eq!(refused.code(), Some(Code::Conflict));
        assert!(!refused.is_unknown());
        ann.append(command::react(&room, 3, "👍")).await.unwrap();

        // Bob's own joining and the two changes, in order.
        let offsets = incoming.events(2, SOON).await.unwrap();
        assert_eq!(
            offsets.iter().map(|event| event.offset).collect::<Vec<_>>(),
            [3, 4]
        );
        assert_eq!(bob.mark_read(&room, 4).await.unwrap().unread, 0);
        assert_eq!(bob.rooms().await.unwrap().last().unwrap().head, 4);
        assert_eq!(bob.whole_log(&room).await.unwrap().len(), 4);
        let mut replica = Replica::new(&room);
        bob.resume(&mut replica).await.unwrap();
        assert_eq!(replica.messages()[&3].reactions["👍"].len(), 1);
    }
}

#[tokio::test]
async fn many_calls_at_once_each_get_their_own_answer() {
    let server = FakeServer::start().await;
    let (ann, _incoming) = named(&server, "ann", Encoding::Protobuf).await;
    ann.create(command::create_group("r", true, &[], ""))
        .await
        .unwrap();
    let texts: Vec<String> = (0..100).map(|number| format!("text {number}")).collect();
    let sends = texts.iter().map(|text| ann.send("r", text, text));
    let answers = futures_util::future::join_all(sends).await;
    let log = ann.whole_log("r").await.unwrap();
    for (text, answer) in texts.iter().zip(answers) {
        let event = &log[usize::try_from(answer.unwrap().offset).unwrap() - 1];
        assert!(matches!(&event.body, Some(v1::event::Body::Message(m)) if m.text == *text));
    }
}

#[tokio::test]
async fn cut_connection_wakes_calls_and_the_next_one_resumes() {
    let server = FakeServer::start().await;
    let options = ConnectOptions::named(&server.address, "ann");
    let (ann, mut incoming) = Client::connect(&options).await.unwrap();
    server.cut_all();
    let closed = ann.closed().await;
    assert_eq!(closed.code, None);
    assert_eq!(closed.reconnect(), Reconnect::Resume);
    let error = ann.call(command::rooms("", 0)).await.unwrap_err();
    assert!(
        matches!(error, CallError::Disconnected(_)) && error.is_unknown(),
        "{error}"
    );
    assert!(incoming.next().await.is_none());
    assert!(ann.closed_now().is_some());
    let (again, _) = Client::connect_until(&options, Instant::now() + SOON)
        .await
        .unwrap();
    again.call(command::rooms("", 0)).await.unwrap();
}

#[tokio::test]
async fn close_code_before_welcome_is_told_and_not_retried() {
    let server = FakeServer::start().await;
    let mut options = ConnectOptions::named(&server.address, "ann");
    options.credentials = Credentials::None;
    options.connect_deadline = Duration::from_millis(100);
    let error = Client::connect(&options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Deadline(_)), "{error}");
    assert!(error.retry_helps());

    // A first frame that is not `authenticate` closes with a code of the last range.
    let (stream, _) = tokio_tungstenite::connect_async(server.address.websocket_url())
        .await
        .unwrap();
    let (mut sink, mut stream) = futures_util::StreamExt::split(stream);
    let frame = v1::ClientFrame {
        id: "1".to_owned(),
        command: Some(command::rooms("", 0)),
    };
    futures_util::SinkExt::send(&mut sink, Encoding::Json.encode(&frame))
        .await
        .unwrap();
    let message = futures_util::StreamExt::next(&mut stream)
        .await
        .unwrap()
        .unwrap();
    let Message::Close(close) = message else {
        panic!("{message:?}");
    };
    let closed = Closed::from_frame(close.as_ref());
    assert_eq!(closed.code(), Some(CloseCode::NotAuthenticated));
    assert_eq!(closed.reconnect(), Reconnect::Never);
}

#[tokio::test]
async fn paused_reader_backs_up_and_reads_on_when_resumed() {
    let server = FakeServer::start().await;
    let (ann, _ann_incoming) = named(&server, "ann", Encoding::Json).await;
    ann.create(command::create_group("r", true, &[], ""))
        .await
        .unwrap();
    let (bob, mut incoming) = named(&server, "bob", Encoding::Json).await;
    bob.join(command::join("r")).await.unwrap();
    bob.pause_reading();
    for number in 0..50 {
        ann.send("r", &format!("text {number}"), "").await.unwrap();
    }
    // The server has sent them all, and none has been read beyond a frame under way.
    assert!(incoming.next_now().is_none());
    bob.resume_reading();
    let events = incoming.events(50, SOON).await.unwrap();
    assert!(events.is_sorted_by_key(|event| event.offset));
}

#[tokio::test]
async fn malformed_frame_is_sent_as_it_is_and_its_error_comes_in() {
    let server = FakeServer::start().await;
    let (ann, mut incoming) = named(&server, "ann", Encoding::Json).await;
    ann.submit_raw(Message::text("{\"id\":")).await.unwrap();
    assert_eq!(incoming.error(SOON).await.unwrap().code(), Code::Invalid);
    let how = ann.close().await;
    assert_ne!(how.reason, "");
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_a_retry_may_heal() {
    let address = "http://127.0.0.1:1".parse().unwrap();
    let options = ConnectOptions::named(&address, "ann");
    let error = Client::connect(&options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Reach { .. }) && error.retry_helps());
    let deadline = Instant::now() + Duration::from_millis(60);
    assert!(Client::connect_until(&options, deadline).await.is_err());
}
