//! One side, from its server's start to its end.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    Picture, Run,
    counters::{self, Counters},
    fleet::Fleet,
    memory,
    merge::Merging,
    processes::{ByRole, Processes, of_server},
    servers::{self, Servers},
};
use crate::{
    light::orders::{Order, Report, Task},
    limits::{
        FLEET_ANSWER_DEADLINE, LOOK_INTERVAL, QUIET_CPU_PERCENT, QUIET_DEADLINE,
        ROOMS_ASLEEP_DEADLINE, ROOMS_PER_CONNECTION_MIN,
    },
    outcome::{Counts, LOAD, Side, StageOutcome},
    scenario::{Scenario, Stage},
};

/// Measures a side; what there is when it fails stays in `side`.
pub(super) async fn measure(
    run: &Run,
    side: &mut Side,
    show: &mut dyn FnMut(&Picture),
) -> Result<()> {
    let servers = servers::start(run, &side.name).await?;
    side.server.clone_from(&servers.described);
    let task = Task {
        scenario: run.scenario.clone(),
        wire: servers.wire,
        gateways: servers.gateways.clone(),
        part: 0,
        parts: run.light_processes(),
        prefix: format!("run-{:06x}", fastrand::u32(..1 << 24)),
    };
    let fleet = Fleet::start(&run.tool, &task)?;
    let mut processes = Processes::new();
    add_all(&mut processes, &servers, &fleet);
    let mut looking = interval(LOOK_INTERVAL);
    looking.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let picture = Picture {
        side: side.name.clone(),
        round: (side.round, run.rounds.get()),
        connections: run.scenario.people.connections,
        ..Picture::default()
    };
    let mut measuring = Measuring {
        scenario: &run.scenario,
        tool: &run.tool,
        task,
        fleet,
        servers,
        processes,
        side,
        looking,
        doing_since: Instant::now(),
        picture,
        show,
        last_look: None,
        rooms_before: None,
    };
    measuring.connect().await?;
    for (number, stage) in run.scenario.stages.iter().enumerate() {
        measuring.stage(number, stage).await?;
    }
    measuring.fleet.end().await;
    Ok(())
}

fn add_all(processes: &mut Processes, servers: &Servers, fleet: &Fleet) {
    for (role, pid) in &servers.processes {
        processes.add(role, *pid);
    }
    for pid in fleet.pids() {
        processes.add(LOAD, pid);
    }
}

struct Measuring<'a> {
    scenario: &'a Scenario,
    tool: &'a Path,
    task: Task,
    fleet: Fleet,
    servers: Servers,
    processes: Processes,
    side: &'a mut Side,
    looking: Interval,
    picture: Picture,
    doing_since: Instant,
    show: &'a mut dyn FnMut(&Picture),
    /// When the processes were looked at last in turn, and their CPU until then.
    last_look: Option<(Instant, ByRole)>,
    /// Memory of the processes that hold rooms, before there was any.
    rooms_before: Option<u64>,
}

impl Measuring<'_> {
    async fn connect(&mut self) -> Result<()> {
        let people = &self.scenario.people;
        self.quiet().await?;
        self.rooms_before = memory::of_rooms(&self.processes);
        self.begin("opening rooms");
        self.fleet.tell_first(Order::Open)?;
        self.picture.done = Some((0, people.rooms.into(), "rooms"));
        self.hear(1, "open the rooms", |report| match report {
            Report::Opened => Ok(true),
            other => bail!("{other:?} while rooms are opened"),
        })
        .await?;
        self.quiet().await?;
        self.tell_rooms("connect/bytes_per_room_opened");
        if people.rooms_asleep {
            self.begin("waiting until all rooms sleep");
            self.asleep().await?;
            self.quiet().await?;
            self.tell_rooms("connect/bytes_per_room_asleep");
        }
        if people.rooms_cold {
            self.begin("restarting");
            self.restart().await?;
            self.quiet().await?;
            self.tell_rooms("connect/bytes_per_room_cold");
        }
        let before = self.processes.memory_bytes();
        let kernel = memory::of_kernel();

        self.begin("connecting");
        let began = Instant::now();
        self.fleet.tell_all(Order::Connect)?;
        let joins = u64::from(people.connections) * u64::from(people.rooms_each);
        self.picture.done = Some((0, joins, "joins"));
        let all = self.fleet.count();
        self.hear(all, "connect and join", |report| match report {
            Report::Joined => Ok(true),
            other => bail!("{other:?} while connections join"),
        })
        .await?;
        self.side.connect_s = began.elapsed().as_secs_f64();

        self.begin("quiet");
        self.quiet().await?;
        self.tell_rooms("connect/bytes_per_room_joined");
        let after = self.processes.memory_bytes();
        #[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
        let each = |before: u64, after: u64| {
            after.saturating_sub(before) as f64 / f64::from(people.connections)
        };
        let grown = before.into_iter().filter_map(|(role, before)| {
            let after = *after.get(&role)?;
            // The load had all of its memory from its start.
            let before = if role == LOAD { 0 } else { before };
            Some((role, each(before, after)))
        });
        self.side.bytes_per_connection = grown.collect();
        let kernel = kernel.zip(memory::of_kernel());
        self.side.kernel_bytes_per_connection = kernel.map(|(before, after)| each(before, after));
        Ok(())
    }

    async fn stage(&mut self, number: usize, stage: &Stage) -> Result<()> {
        self.begin(&stage.name);
        self.fleet.tell_all(Order::Stage(number))?;
        let mut merging = Merging::new(self.fleet.count());
        let deadline = Duration::from_secs((stage.warm_up_seconds + stage.seconds).into());
        let deadline = Instant::now() + deadline + FLEET_ANSWER_DEADLINE;
        let mut began = Mark::default();
        let done = loop {
            match self.next(deadline, &stage.name).await? {
                (_, Report::Measuring(at)) if at == number => {
                    if merging.measures() {
                        began = self.mark().await;
                    }
                }
                (part, Report::Tick(tick)) => {
                    let at_ms = self.processes.now_ms();
                    if let Some(tick) = merging.tick(part, tick, at_ms) {
                        self.picture.tick = Some(tick);
                    }
                }
                (part, Report::Stage(part_of)) if part_of.stage == number => {
                    if merging.stage(part, &part_of) {
                        break self.mark().await;
                    }
                }
                (part, other) => bail!("light process {part} said {other:?} in {}", stage.name),
            }
        };
        let merged = merging.finish(done.at_ms);
        let cpu_us = done.cpu_us.iter().map(|(role, until)| {
            let before = began.cpu_us.get(role).copied().unwrap_or(0);
            (role.clone(), until.saturating_sub(before))
        });
        self.side.stages.push(StageOutcome {
            name: stage.name.clone(),
            began_ms: began.at_ms,
            took_ms: merged.took_ms,
            counts: merged.counts,
            latency: merged.latency,
            ticks: merged.ticks,
            cpu_us: cpu_us.collect(),
            memory_bytes: done.memory_bytes,
            server_counters: counters::between(&began.counters, &done.counters),
        });
        self.tell_rooms(&format!("{}/bytes_per_room", stage.name));

        self.fleet.tell_all(Order::Settle)?;
        let mut missing = Counts::default();
        let all = self.fleet.count();
        self.hear(all, "settle", |report| match report {
            Report::Settled(counts) => {
                missing += counts;
                Ok(true)
            }
            // The last of the stage's.
            Report::Tick(_) => Ok(false),
            other => bail!("{other:?} instead of what was missing"),
        })
        .await?;
        let stage = self.side.stages.last_mut().context("one was pushed")?;
        stage.counts += missing;
        Ok(())
    }

    fn begin(&mut self, doing: &str) {
        doing.clone_into(&mut self.picture.doing);
        self.doing_since = Instant::now();
        self.picture.tick = None;
        self.picture.done = None;
    }

    /// Hears all processes until so many said what was waited for; as long as they get on with it.
    async fn hear(
        &mut self,
        mut count: usize,
        what: &str,
        mut is_it: impl FnMut(Report) -> Result<bool>,
    ) -> Result<()> {
        let mut done = vec![0; self.fleet.count()];
        let mut deadline = Instant::now() + FLEET_ANSWER_DEADLINE;
        while count > 0 {
            let (part, report) = self.next(deadline, what).await?;
            if let Report::Progress(of_part) = report {
                done[part] = of_part;
                if let Some((sum, ..)) = &mut self.picture.done {
                    *sum = done.iter().sum();
                }
                deadline = Instant::now() + FLEET_ANSWER_DEADLINE;
                continue;
            }
            let is_it = is_it(report);
            if is_it.with_context(|| format!("light process {part} said"))? {
                count -= 1;
            }
        }
        Ok(())
    }

    /// The next report; meanwhile the processes are looked at.
    async fn next(&mut self, deadline: Instant, what: &str) -> Result<(usize, Report)> {
        loop {
            tokio::select! {
                biased;
                _ = self.looking.tick() => {}
                report = self.fleet.next() => return report,
                () = sleep_until(deadline) => {
                    bail!("the light processes did not {what} in time")
                }
            }
            self.look();
        }
    }

    fn look(&mut self) {
        self.processes.look(&mut self.side.processes);
        let now = Instant::now();
        let cpu_us = self.processes.cpu_us();
        if let Some((then, before)) = &self.last_look {
            let share = |role: &dyn Fn(&ByRole) -> Option<u64>| {
                let used = role(&cpu_us)?.saturating_sub(role(before)?);
                let wall = now.duration_since(*then).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a share")]
                Some(used as f64 / 1e6 / wall.max(1e-3) * 100.0)
            };
            self.picture.server_cpu_percent = share(&of_server);
            self.picture.load_cpu_percent = share(&|by_role| by_role.get(LOAD).copied());
        }
        self.picture.server_memory_bytes = of_server(&self.processes.memory_bytes());
        self.picture.since = self.doing_since.elapsed();
        self.last_look = Some((now, cpu_us));
        (self.show)(&self.picture);
    }

    /// Tells what a room costs, where rooms are what most of the memory is for.
    fn tell_rooms(&mut self, figure: &str) {
        let people = &self.scenario.people;
        let many = people.rooms >= ROOMS_PER_CONNECTION_MIN.saturating_mul(people.connections);
        let (Some(before), Some(now)) = (self.rooms_before, memory::of_rooms(&self.processes))
        else {
            return;
        };
        if many {
            #[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
            let each = now.saturating_sub(before) as f64 / f64::from(people.rooms);
            self.side.bytes_per_room.insert(figure.to_owned(), each);
        }
    }

    /// All begins anew but the rooms, which are in the store: the light processes, too, so that no
    /// connection of theirs is left.
    async fn restart(&mut self) -> Result<()> {
        self.fleet.end().await;
        self.servers.restart().await.context("restart")?;
        self.fleet = Fleet::start(self.tool, &self.task)?;
        self.processes.forget();
        self.last_look = None;
        add_all(&mut self.processes, &self.servers, &self.fleet);
        Ok(())
    }

    /// Waits until the server says that no room is in its memory.
    async fn asleep(&mut self) -> Result<()> {
        ensure!(
            !self.servers.admins.is_empty(),
            "people.rooms_asleep needs a server whose metrics can be read: give --admin"
        );
        let deadline = Instant::now() + ROOMS_ASLEEP_DEADLINE;
        loop {
            let awake = counters::rooms_awake(&self.servers.admins).await?;
            if awake == 0 {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{awake} rooms are awake after {ROOMS_ASLEEP_DEADLINE:?}: set \
                 rooms.passivate_after in the scenario's settings"
            );
            let all = u64::from(self.scenario.people.rooms);
            self.picture.done = Some((all.saturating_sub(awake), all, "rooms"));
            self.looking.tick().await;
            self.look();
        }
    }

    /// Waits until the server does nothing any more: what it has then is what it keeps.
    async fn quiet(&mut self) -> Result<()> {
        let deadline = Instant::now() + QUIET_DEADLINE;
        self.look();
        // The first two looks begin in the middle of something.
        for turn in 0.. {
            self.looking.tick().await;
            self.look();
            let cpu = self.picture.server_cpu_percent.unwrap_or(0.0);
            if turn >= 2 && (cpu < QUIET_CPU_PERCENT || Instant::now() >= deadline) {
                break;
            }
        }
        Ok(())
    }

    async fn mark(&mut self) -> Mark {
        self.processes.look(&mut self.side.processes);
        Mark {
            at_ms: self.processes.now_ms(),
            cpu_us: self.processes.cpu_us(),
            memory_bytes: self.processes.memory_bytes(),
            counters: counters::ask(&self.servers.admins).await,
        }
    }
}

/// Where everything stood at a stage's beginning or end.
#[derive(Default)]
struct Mark {
    at_ms: u64,
    cpu_us: ByRole,
    memory_bytes: ByRole,
    counters: Counters,
}
