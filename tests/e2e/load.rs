//! The load generator counts what the server did.

use std::{num::NonZeroU32, time::Duration};

use anyhow::Result;
use rookery_loadtest::{
    client::{Client, ConnectOptions, command},
    load::{Asked, Load},
};
use rookery_proto::v1::event;

use crate::{UNLIMITED, start};

const ROOMS: u32 = 2;

/// Messages in the load's rooms, by their logs.
async fn messages(client: &Client, load: &Load) -> Result<u64> {
    let mut messages = 0;
    for room in 0..ROOMS {
        let room = format!("{}-{room}", load.prefix);
        client.join(command::join(&room)).await?;
        let log = client.whole_log(&room).await?;
        let is_message = |event: &&_| matches!(event, Some(event::Body::Message(_)));
        messages += log.iter().map(|it| &it.body).filter(is_message).count() as u64;
    }
    Ok(messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn load_counts_no_more_than_the_logs_hold_and_keeps_its_rate() -> Result<()> {
    let (_folder, server) = start(&UNLIMITED).await?;
    let (reader, _incoming) =
        Client::connect(&ConnectOptions::named(server.address(), "reader")).await?;
    let flat_out = Load {
        asked: Asked::Send,
        prefix: "flat".to_owned(),
        rooms: ROOMS,
        senders: 5,
        in_flight_max: 4,
        text_bytes: 100,
        rate: None,
        warm_up: Duration::ZERO,
        measure: Duration::from_millis(500),
    };
    let gateways = [server.address().clone()];
    let report = flat_out.run(&gateways).await?;
    let stored = messages(&reader, &flat_out).await?;
    assert!(
        report.acked > 0 && report.acked <= stored,
        "{report}, {stored} stored"
    );
    assert_eq!(report.latency_us.count(), report.acked);

    let paced = Load {
        prefix: "paced".to_owned(),
        rate: NonZeroU32::new(50),
        ..flat_out
    };
    let report = paced.run(&gateways).await?;
    let stored = messages(&reader, &paced).await?;
    assert!(report.acked <= stored, "{report}, {stored} stored");
    // Half a second at 50 a second, and one more of each sender at most.
    assert!((1..=30).contains(&stored), "{report}, {stored} stored");
    Ok(())
}
