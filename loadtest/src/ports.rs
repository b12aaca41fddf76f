//! Ports for servers of this machine, which stay theirs over restarts.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Mutex, PoisonError},
};

/// Below the range the kernel gives to outgoing connections: none of those takes the port of a
/// server while it is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS_MAX: usize = 200;

/// Ports that were given to somebody, who listens there a moment later.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody listens on at any of these addresses, and that this process gave to nobody before:
/// clusters start side by side.
pub(crate) fn free_port(addresses: &[IpAddr]) -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS_MAX {
        let port = fastrand::u16(PORTS);
        let bound: io::Result<Vec<TcpListener>> = addresses
            .iter()
            .map(|address| TcpListener::bind(SocketAddr::new(*address, port)))
            .collect();
        match bound {
            Ok(_) if give(port) => return Ok(port),
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether it is the first to get it.
fn give(port: u16) -> bool {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    given.insert(port)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports = (0..1_000).map(|_| free_port(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]));
        let ports: BTreeSet<u16> = ports.map(|port| port.expect("one is free")).collect();
        assert_eq!(ports.len(), 1_000);
    }
}
