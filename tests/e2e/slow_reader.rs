//! A reader that stops reading costs itself, and nobody else.

use std::time::{Duration, Instant};

use anyhow::Result;
use rookery_loadtest::client::{Client, ConnectOptions, command};
use rookery_proto::{close::CloseCode, errors::Code};
use tokio::task::JoinSet;

use crate::{UNLIMITED, start};

const MESSAGES: u64 = 100_000;
const SENDERS: u64 = 8;
/// More than a full session queue, the room's ring and the allocator's slack; far less than the
/// messages a slow reader is behind by.
const GROWTH_BYTES_MAX: u64 = 96 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn reader_that_stops_is_closed_and_others_go_on() -> Result<()> {
    let (_folder, server) = start(&UNLIMITED).await?;
    let named = |name: &str| ConnectOptions::named(server.address(), name);
    let (opener, _incoming) = Client::connect(&named("opener")).await?;
    opener
        .create(command::create_group("busy", true, &[], "open"))
        .await?;
    opener
        .create(command::create_group("calm", true, &[], "open"))
        .await?;

    let mut slow_options = named("slow");
    slow_options.receive_buffer_bytes = Some(64 * 1024);
    let (slow, slow_incoming) = Client::connect(&slow_options).await?;
    slow.join(command::join("busy")).await?;
    slow.pause_reading();

    let (reader, mut reader_incoming) = Client::connect(&named("reader")).await?;
    let joined = reader.join(command::join("busy")).await?;
    let before = server.memory_bytes()?;

    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let (client, incoming) = Client::connect(&named(&format!("sender-{number}"))).await?;
        // Not joined as listeners: they are members, and send.
        client.join(command::join("busy")).await?;
        client.call(command::leave("busy", true)).await?;
        drop(incoming);
        senders.spawn(send_all(client, MESSAGES / SENDERS));
    }
    // The room's other reader gets every message, in order.
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut expected = joined.head + 1;
        let mut messages = 0;
        while messages < MESSAGES {
            let event = reader_incoming.event(Duration::from_secs(60)).await?;
            assert_eq!(event.offset, expected, "a hole");
            expected += 1;
            messages += u64::from(matches!(
                event.body,
                Some(rookery_proto::v1::event::Body::Message(_))
            ));
        }
        anyhow::Ok(())
    });
    // Others' latency, in another room, while the flood goes on.
    let mut slowest = Duration::ZERO;
    let mut peak = before;
    while !senders.is_empty() {
        let began = Instant::now();
        opener.send("calm", "still there?", "").await?;
        slowest = slowest.max(began.elapsed());
        peak = peak.max(server.memory_bytes()?);
        while let Some(done) = senders.try_join_next() {
            done??;
        }
    }
    while let Some(read) = reading.join_next().await {
        read??;
    }
    drop(reader);
    slow.resume_reading();
    let closed = slow.closed().await;
    drop(slow_incoming);
    assert_eq!(closed.code(), Some(CloseCode::SlowReader), "{closed}");
    let growth = peak.saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {growth} bytes");
    // A generous bound: a server that waited for the slow reader would never answer at all.
    assert!(
        slowest < Duration::from_secs(5),
        "a send elsewhere took {slowest:?}"
    );
    println!(
        "slowest send elsewhere: {slowest:?}; memory grew by {} KiB",
        growth / 1024
    );
    Ok(())
}

/// Sends with 32 commands in flight.
async fn send_all(client: Client, count: u64) -> Result<()> {
    let text = "x".repeat(100);
    let client = std::sync::Arc::new(client);
    let mut in_flight = JoinSet::new();
    for _ in 0..count {
        if in_flight.len() >= 32
            && let Some(done) = in_flight.join_next().await
        {
            done??;
        }
        let (client, text) = (std::sync::Arc::clone(&client), text.clone());
        in_flight.spawn(async move { send_until_taken(&client, &text).await });
    }
    while let Some(done) = in_flight.join_next().await {
        done??;
    }
    Ok(())
}

/// A full room refuses; its next answer is soon enough to try again.
async fn send_until_taken(client: &Client, text: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match client.send("busy", text, "").await {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Some(Code::Overloaded) && Instant::now() < deadline => {}
            Err(error) => return Err(error.into()),
        }
    }
}
