//! The whole library against the fake server: what is recorded of a right server is sound.

use super::*;
use crate::{checker, fake::FakeServer, wait::eventually};

fn small(seed: u64) -> Workload {
    Workload {
        seed,
        clients: 6,
        users: 4,
        rooms: 2,
        operations: 600,
        deadline: Duration::from_secs(60),
        ..Workload::default()
    }
}

#[tokio::test]
async fn quiet_run_is_sound_and_uses_all_its_commands() {
    let server = FakeServer::start().await;
    let history = Arc::new(HistoryWriter::memory());
    let progress = Arc::new(Progress::default());
    let outcome = small(7)
        .run(&server.address, &history, &progress)
        .await
        .unwrap();
    assert_eq!(outcome.unsettled, Vec::<String>::new());
    assert_eq!(progress.invoked(), 600);
    let report = checker::check(&history.snapshot());
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.totals.rooms, 2);
    assert_eq!(report.totals.replicas, 12);
    assert!(report.totals.unread_checked > 50, "{report}");
    assert_eq!(
        report.totals.unknown_happened + report.totals.unknown_not_happened,
        0
    );
}

#[tokio::test]
async fn run_cut_again_and_again_reconnects_and_is_sound() {
    let server = FakeServer::start().await;
    let history = Arc::new(HistoryWriter::memory());
    let progress = Arc::new(Progress::default());
    let running = tokio::time::timeout(Duration::from_secs(60), async {
        let workload = Workload {
            operations: 3_000,
            ..small(11)
        };
        workload.run(&server.address, &history, &progress).await
    });
    let cutting = async {
        for cut in 1..=4u64 {
            eventually("some more commands", Duration::from_secs(20), || {
                progress.invoked() > cut * 500
            })
            .await;
            server.cut_all();
        }
    };
    let (outcome, ()) = tokio::join!(running, cutting);
    assert_eq!(outcome.unwrap().unwrap().unsettled, Vec::<String>::new());
    let report = checker::check(&history.snapshot());
    assert!(report.is_sound(), "{report}");
    assert!(progress.reconnects() >= 12, "{progress}");
    assert!(progress.unknown() > 0, "{progress}");
}

#[tokio::test]
async fn client_that_was_away_ends_equal_to_one_that_stayed() {
    let server = FakeServer::start().await;
    for encoding in Encoding::ALL {
        let away = Away {
            seed: 3,
            room: format!("away-{encoding:?}"),
            before: 20,
            events: 100,
            encoding,
        };
        let report = away.run(&server.address).await.unwrap();
        assert_eq!(report.difference(), None);
        assert!(!report.reset);
        assert_eq!(report.resumed_events, 100);
    }
}
