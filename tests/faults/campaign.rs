//! Rounds of faults under a workload, each judged by itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use rookery_loadtest::{
    checker::{self, Report},
    cluster::{Cluster, ClusterOptions, Database},
    history::{Header, HistoryWriter},
    services::{say, variable},
    workload::{Progress, Workload},
};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    fault::{Kind, Stage},
    recovery::Mark,
    services::find,
};

const SEED_DEFAULT: u64 = 1;
/// Faults in one round: few enough that a round's history names its cause.
const FAULTS_IN_A_ROUND: usize = 6;
/// For one round with its faults: more than any of them may take together.
const ROUND_MAX: Duration = Duration::from_secs(400);

/// Limits on clients' rates, out of the way of tests that are about something else.
const SETTINGS: [&str; 4] = [
    "gateway.commands_per_second=1000000",
    "gateway.commands_burst=1000000",
    "rooms.sends_per_second=1000000",
    "rooms.sends_burst=1000000",
];

/// A cluster to come, and a seed.
pub(crate) struct Campaign {
    what: &'static str,
    nats_servers: usize,
    database: Database,
    nats_binary: PathBuf,
    seed: u64,
    /// How many faults in all, when not as many as the deck holds.
    faults: Option<usize>,
}

impl Campaign {
    /// `None`: something is not here, and that was said.
    pub(crate) fn with(what: &'static str, nats_servers: usize, database: &str) -> Option<Self> {
        let (database, nats_binary) = find(what, database)?;
        let number = |name| variable(name).map(|text| text.parse().expect("a number"));
        Some(Self {
            what,
            nats_servers,
            database,
            nats_binary,
            seed: number("ROOKERY_FAULT_SEED").unwrap_or(SEED_DEFAULT),
            faults: number("ROOKERY_FAULTS").and_then(|faults| usize::try_from(faults).ok()),
        })
    }

    /// Runs a deck of faults, shuffled by the seed, again and again for longer runs.
    pub(crate) async fn run(self, deck: &[(Kind, usize)]) -> Result<()> {
        let folder = TempDir::new()?;
        let path = folder.path().to_owned();
        let began = Instant::now();
        say(&format!("{}: seed {}", self.what, self.seed));
        let outcome = self.rounds(&path, deck).await;
        say(&format!("{}: {:.0?}", self.what, began.elapsed()));
        if outcome.is_err() || variable("ROOKERY_FAULT_KEEP").is_some() {
            say(&format!(
                "logs and histories are in {}",
                folder.keep().display()
            ));
        }
        outcome.with_context(|| format!("{} with ROOKERY_FAULT_SEED={}", self.what, self.seed))
    }

    async fn rounds(&self, folder: &Path, deck: &[(Kind, usize)]) -> Result<()> {
        let mut random = Rng::with_seed(self.seed);
        let whole: usize = deck.iter().map(|(_, count)| count).sum();
        let wanted = self.faults.unwrap_or(whole);
        let mut faults = Vec::new();
        while faults.len() < wanted {
            let mut once: Vec<Kind> = deck
                .iter()
                .flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count))
                .collect();
            random.shuffle(&mut once);
            faults.extend(once);
        }
        faults.truncate(wanted);
        let mut cluster = Cluster::start(ClusterOptions {
            binary: env!("CARGO_BIN_EXE_rookery").into(),
            nats_binary: self.nats_binary.clone(),
            folder: folder.to_owned(),
            nats_servers: self.nats_servers,
            database: self.database.clone(),
            nodes: 3,
            gateways: 2,
            direct: false,
            settings: SETTINGS.map(str::to_owned).to_vec(),
        })
        .await?;
        let mut found = Report::default().totals;
        for (number, faults) in faults.chunks(FAULTS_IN_A_ROUND).enumerate() {
            let report = round(&mut cluster, number, faults, &mut random).await?;
            found.acked += report.totals.acked;
            found.delivered += report.totals.delivered;
            found.sessions += report.totals.sessions;
        }
        let mut kinds = faults.clone();
        kinds.sort_unstable();
        kinds.dedup();
        say(&format!(
            "{}: {} faults of {} kinds; {} changes acknowledged, {} events delivered in {} \
             sessions; 0 lost, 0 duplicated, 0 reordered, 0 phantom",
            self.what,
            faults.len(),
            kinds.len(),
            found.acked,
            found.delivered,
            found.sessions
        ));
        Ok(())
    }
}

/// A workload with some faults, then quiet, then the judgement.
async fn round(
    cluster: &mut Cluster,
    number: usize,
    faults: &[Kind],
    random: &mut Rng,
) -> Result<Report> {
    let addresses = cluster.addresses();
    let workload = Workload {
        seed: random.u64(..),
        clients: 12,
        users: 9,
        rooms: 8,
        operations: u64::MAX,
        in_flight_max: 6,
        prefix: format!("round{number}"),
        others: addresses[1..].to_vec(),
        pace: Duration::from_millis(100),
        wander_one_in: 100,
        deadline: ROUND_MAX,
        ..Workload::default()
    };
    let rooms = workload.room_ids();
    let file = cluster.folder().join(format!("round{number}.jsonl"));
    let header = Header::new([("workload".to_owned(), format!("{workload:?}"))]);
    let history = Arc::new(HistoryWriter::create(&file, &header)?);
    let progress = Arc::new(Progress::default());
    let happening = async {
        let begin = Mark::of(&progress);
        begin.all_rooms_work(&rooms, &progress).await?;
        for kind in faults {
            let mut stage = Stage {
                cluster: &mut *cluster,
                rooms: &rooms,
                progress: &progress,
                random: &mut *random,
            };
            let what = stage.happen(*kind).await;
            let what = what.with_context(|| format!("round {number}, {kind:?}"))?;
            say(&format!("  {kind:?}: {what}"));
        }
        progress.stop();
        anyhow::Ok(())
    };
    let running = workload.run(&addresses[0], &history, &progress);
    tokio::pin!(happening, running);
    let outcome = tokio::select! {
        happened = &mut happening => {
            happened?;
            (&mut running).await
        }
        outcome = &mut running => outcome,
    };
    let outcome = outcome.with_context(|| format!("the workload of round {number}: {progress}"))?;
    history.finish()?;
    ensure!(
        outcome.unsettled.is_empty(),
        "round {number}: did not come to the head: {:?}",
        outcome.unsettled
    );
    let report = tokio::task::spawn_blocking(move || checker::check_file(&file)).await??;
    ensure!(report.is_sound(), "round {number}:\n{report}");
    ensure!(
        report.totals.acked > 100,
        "round {number}: too little was acknowledged to be lost:\n{report}"
    );
    say(&format!("  round {number} is sound: {progress}"));
    Ok(report)
}
