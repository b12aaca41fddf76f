//! Ports that stay ours over restarts.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

/// Below the range the kernel gives to outgoing connections: none of those takes the port of a
/// server while it is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const ATTEMPTS_MAX: usize = 200;

/// A port nobody listens on at any of these addresses.
pub(super) fn free_port(addresses: &[IpAddr]) -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS_MAX {
        let port = fastrand::u16(PORTS);
        let bound: io::Result<Vec<TcpListener>> = addresses
            .iter()
            .map(|address| TcpListener::bind(SocketAddr::new(*address, port)))
            .collect();
        match bound {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}
