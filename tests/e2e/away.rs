//! A client that was away resumes by offset and ends equal to one that never left.

use anyhow::Result;
use rookery_loadtest::{client::Encoding, workload::Away};

use crate::{UNLIMITED, start};

fn away(room: &str, events: u64, encoding: Encoding) -> Away {
    Away {
        seed: 7,
        room: room.to_owned(),
        before: 30,
        events,
        encoding,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_away_for_500_events_ends_equal() -> Result<()> {
    let (_folder, server) = start(&UNLIMITED).await?;
    for (room, encoding) in [("json", Encoding::Json), ("protobuf", Encoding::Protobuf)] {
        let report = away(room, 500, encoding).run(server.address()).await?;
        assert_eq!(
            report.difference().map(|difference| difference.to_string()),
            None
        );
        assert!(!report.reset, "500 events are not too far back");
        assert!(
            report.resumed_events >= 500,
            "resumed with {}",
            report.resumed_events
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn client_away_too_long_gets_reset_and_a_snapshot() -> Result<()> {
    let (_folder, server) = start(&UNLIMITED).await?;
    let report = away("far", 1_100, Encoding::Json)
        .run(server.address())
        .await?;
    assert!(report.reset, "1,100 events are too far back");
    assert!(
        (1..=200).contains(&report.resumed_events),
        "a page, not the log"
    );
    assert_eq!(
        report.difference().map(|difference| difference.to_string()),
        None
    );
    Ok(())
}
