//! The suite every bus passes.

use rookery_cluster::{NatsBus, bus::contract::Pair};

use rookery_loadtest::services::NatsServer;

use super::{config, connect};

async fn pair() -> Option<(Pair<NatsBus>, Option<NatsServer>)> {
    let (url, server) = match std::env::var_os("ROOKERY_TEST_NATS") {
        Some(url) => (url.into_string().unwrap(), None),
        None => {
            let server = NatsServer::start("bus contract", "")?;
            (server.url(), Some(server))
        }
    };
    let config = config(&url);
    let pair = Pair::new(connect(config.clone()).await, connect(config).await);
    Some((pair, server))
}

rookery_cluster::bus_contract!(pair);
