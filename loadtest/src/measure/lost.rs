//! How long it takes until a lost NATS message is noticed and made good.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, timeout};

use super::{Measured, Setting, at_rest, millis, prober::text_of};
use crate::{
    client::{Client, ConnectOptions, Incoming, command},
    cluster::Member,
    histogram::Histogram,
    proxy::Loss,
};

/// More than it may ever take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two people in an otherwise silent room, on two gateways. A message that carries one's words is
/// lost, on its way from the gateway to the owner or from the owner to a gateway; measures from
/// the send until both the ack and the event are there.
///
/// # Errors
/// It is not made good.
pub async fn lost(setting: &Setting, times: usize) -> Result<Measured> {
    let cluster = setting.cluster(2, 2).await?;
    let gateways = cluster.addresses();
    let (ann, ann_in) = Client::connect(&ConnectOptions::named(&gateways[0], "ann")).await?;
    drop(ann_in);
    let (bob, mut bob_in) = Client::connect(&ConnectOptions::named(&gateways[1], "bob")).await?;
    ann.create(command::create_group("silent", true, &[], "open"))
        .await?;
    ann.join(command::join("silent")).await?;
    let mut head = bob.join(command::join("silent")).await?.head;
    at_rest(&cluster).await?;
    let (mut asking, mut telling, mut all) = (
        Histogram::default(),
        Histogram::default(),
        Histogram::default(),
    );
    for number in 0..times {
        let text = format!("words {number}.");
        let on_the_way_there = number % 2 == 0;
        let losers: Vec<&Member> = if on_the_way_there {
            vec![&cluster.gateways[0]]
        } else {
            cluster.nodes.iter().collect()
        };
        let before: u64 = losers.iter().map(|member| member.lost()).sum();
        for member in &losers {
            member.lose(&Loss::NextWith(text.clone().into_bytes()));
        }
        let began = Instant::now();
        let client_id = format!("m{number}");
        let acked = async {
            // What a client library does: the same again while it is not refused for good.
            loop {
                match ann.send("silent", &text, &client_id).await {
                    Ok(appended) => return anyhow::Ok(appended.offset),
                    Err(error) if error.is_unknown() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let (acked, seen) = timeout(PATIENCE, async {
            tokio::join!(acked, seen(&mut bob_in, head + 1, &text))
        })
        .await
        .with_context(|| format!("{text:?} was not made good within {PATIENCE:?}"))?;
        head = acked?;
        seen?;
        let took = millis(began.elapsed());
        for member in &losers {
            member.lose(&Loss::None);
        }
        let lost = losers.iter().map(|member| member.lost()).sum::<u64>() - before;
        anyhow::ensure!(lost > 0, "no message with {text:?} passed");
        all.record(took);
        if on_the_way_there {
            asking.record(took);
        } else {
            telling.record(took);
        }
    }
    Ok(Measured {
        what: "a lost NATS message, until it is made good in an otherwise silent room".to_owned(),
        times: all,
        unit: "ms",
        notes: vec![
            format!("from gateway to owner, ms: {asking}"),
            format!("from owner to a gateway, ms: {telling}"),
        ],
    })
}

/// Waits for the event of that offset and text.
async fn seen(incoming: &mut Incoming, offset: u64, text: &str) -> Result<()> {
    let event = incoming.event(PATIENCE).await?;
    anyhow::ensure!(
        event.offset == offset && text_of(&event) == Some(text),
        "wanted {text:?} at {offset}, came {event:?}"
    );
    Ok(())
}
