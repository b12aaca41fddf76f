//! The suite every bus passes.

use rookery_cluster::{NatsBus, bus::contract::Pair};

use super::{config, connect, server::Server};

async fn pair() -> Option<(Pair<NatsBus>, Option<Server>)> {
    let (url, server) = match std::env::var_os("ROOKERY_TEST_NATS") {
        Some(url) => (url.into_string().unwrap(), None),
        None => {
            let server = Server::start("bus contract", "")?;
            (server.url(), Some(server))
        }
    };
    let config = config(&url);
    let pair = Pair::new(connect(config.clone()).await, connect(config).await);
    Some((pair, server))
}

rookery_cluster::bus_contract!(pair);
