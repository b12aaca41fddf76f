//! Sockets of the light client: many source addresses, no waiting.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt},
    process::{Resource, getrlimit, setrlimit},
};

use crate::limits::LIGHT_CONNECTIONS_PER_SOURCE;

/// Begins to connect; the socket is writable when it is done.
pub(super) fn open(server: SocketAddr, number: u32) -> io::Result<mio::net::TcpStream> {
    let family = match server {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source(server.ip(), number) {
        bind(&socket, &SocketAddr::new(source.into(), 0))?;
    }
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(mio::net::TcpStream::from_std(TcpStream::from(socket)))
}

/// All of 127.0.0.0/8 is local, and each address has ports of its own.
fn source(server: IpAddr, number: u32) -> Option<Ipv4Addr> {
    let IpAddr::V4(server) = server else {
        return None;
    };
    let host = number / LIGHT_CONNECTIONS_PER_SOURCE % 250 + 1;
    let host = u8::try_from(host).expect("1 to 250");
    server.is_loopback().then(|| Ipv4Addr::new(127, 0, 0, host))
}

/// Ends a connection as a cut does: without a word, and without a port that stays taken.
pub(super) fn cut(stream: mio::net::TcpStream) {
    // Where it fails the connection ends in order.
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}

/// Lets this process, and those it starts, have as many open files as the system allows; says how
/// many.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What it was is enough, or opening says what is missing.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_source_addresses_of_their_own_on_this_machine_only() {
        let local = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(source(local, 0), Some([127, 0, 0, 1].into()));
        assert_eq!(source(local, 9_999), Some([127, 0, 0, 1].into()));
        assert_eq!(source(local, 10_000), Some([127, 0, 0, 2].into()));
        assert!(source(local, u32::MAX).is_some());
        assert_eq!(source([10, 0, 0, 1].into(), 0), None);
        assert_eq!(source(std::net::Ipv6Addr::LOCALHOST.into(), 0), None);
    }
}
