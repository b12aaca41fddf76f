//! `rookery-loadtest verify` on one process: faults happen, and everything is sound.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use rookery_loadtest::{
    checker,
    verify::{self, Kind, Live, Parts, Plan, Run},
};
use tempfile::TempDir;

const PLAN: &str = r#"
about = "A short one."

[target]
kind = "embedded"
settings = [
  "gateway.commands_per_second=1000000",
  "gateway.commands_burst=1000000",
  "rooms.sends_per_second=1000000",
  "rooms.sends_burst=1000000",
  "presence.grace=1s",
  "presence.throttle=100ms",
]

[workload]
clients = 6
users = 4
rooms = 2
pace-ms = 5
weights = { leave = 3 }

[faults]
list = ["kill-server", "cut-clients", "stop-server"]

[window]
faults = 2
"#;

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_plan_happen_in_order_and_every_window_is_sound_and_can_be_judged_again()
-> Result<()> {
    let folder = TempDir::new()?;
    let parts = Parts {
        rookery: env!("CARGO_BIN_EXE_rookery").into(),
        nats_server: "no-nats-server".into(),
        database: None,
    };
    let plan = Plan::parse("short", PLAN)?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let live = Live::new(None, move |line| {
        telling.lock().unwrap().push(line.to_owned());
    });
    let run = Run {
        name: "short",
        plan: &plan,
        parts: &parts,
        seed: 5,
        folder: folder.path(),
        lasting: None,
        keep: true,
    };
    let summary = verify::run(run, &live).await?;
    assert_eq!(
        summary.faults,
        [Kind::KillServer, Kind::CutClients, Kind::StopServer]
    );
    assert_eq!(summary.windows, 2);
    assert!(summary.totals.acked > 50, "{summary}");
    assert!(summary.totals.statuses > 8, "{:?}", summary.totals);
    let told = told.lock().unwrap().join("\n");
    for word in ["kill-server: ", "cut-clients: ", "window 1 is sound"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let picture = live.to_string();
    for word in ["window 1", "faults 3, kill-server 1", "2 windows judged"] {
        assert!(picture.contains(word), "{word} in {picture}");
    }
    let again = |file: &str| checker::check_file(&folder.path().join(Path::new(file)));
    assert!(again("window0.jsonl")?.is_sound());
    assert!(again("window1.jsonl")?.totals.replicas >= 6);
    Ok(())
}
