//! The floor: the least a server of Rookery's wire can do, which ratios of CPU are taken against.
//!
//! One thread, one epoll loop, memory only. No authentication, limits, durability, retries by
//! `clientId` or log. An event is encoded once per encoding as a finished WebSocket frame and
//! written to each listener's socket in a plain loop.
//!
//! A round reads every socket that has something, then writes: each socket its answers, and each
//! room's events to its listeners. So events of one room that were read in one round cost a listener
//! one write, not one each; paced load hardly ever has two in a round, a flat-out load always.
//!
//! It differs from Rookery in what a log keeps, the newest few thousand events of a room and no
//! member rows, and in a `typing` that its sender hears too. Commands it does not know are
//! answered `UNSUPPORTED`.

mod frames;
mod rooms;
mod session;
mod sockets;

use std::{io, net::SocketAddr};

use mio::{Events, Interest, Poll, Token, net::TcpListener};
use rookery_proto::v1::{self, ack::Result as Answer, client_frame::Command, server_frame::Frame};

use crate::limits::{FLOOR_READ_BYTES, FLOOR_ROUND_SOCKETS_MAX};
use rooms::Rooms;
use session::{Input, Stage};
use sockets::Sockets;

const LISTENER: Token = Token(usize::MAX);

/// A floor that listens; see the module's words.
#[derive(Debug)]
pub struct Floor {
    poll: Poll,
    listener: TcpListener,
    address: SocketAddr,
    sockets: Sockets,
    rooms: Rooms,
    logins: u64,
}

impl Floor {
    /// Listens; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            address: listener.local_addr()?,
            sockets: Sockets::new(poll.registry().try_clone()?),
            poll,
            listener,
            rooms: Rooms::default(),
            logins: 0,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// The listener or epoll fails: out of open files, say.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(FLOOR_ROUND_SOCKETS_MAX);
        let mut buffer = vec![0; FLOOR_READ_BYTES];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let Token(socket) = event.token();
                if event.is_writable() {
                    self.sockets.drain(socket);
                }
                if event.is_readable() {
                    let to_the_end = event.is_read_closed() || event.is_error();
                    self.read(socket, &mut buffer, to_the_end);
                }
            }
            self.rooms.flush_all(&mut self.sockets);
            self.sockets.flush_answers();
            for (socket, session) in self.sockets.close_ended() {
                self.rooms.forget(socket, &session);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.sockets.add(stream)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads what is there. After a short read nothing is: the next byte is a new event.
    fn read(&mut self, socket: usize, buffer: &mut [u8], to_the_end: bool) {
        let mut inputs = Vec::new();
        while let Some(session) = self.sockets.get(socket) {
            let read = match session.read(buffer) {
                Ok(0) => {
                    self.sockets.end(socket);
                    return;
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.sockets.end(socket);
                    return;
                }
            };
            session.feed(&mut buffer[..read], &mut inputs);
            for input in inputs.drain(..) {
                self.input(socket, input);
            }
            if read < buffer.len() && !to_the_end {
                return;
            }
        }
    }

    fn input(&mut self, socket: usize, input: Input) {
        match input {
            Input::Command(frame) => self.frame(socket, frame),
            Input::End => self.sockets.end(socket),
        }
    }

    fn frame(&mut self, socket: usize, frame: v1::ClientFrame) {
        let Some(session) = self.sockets.get(socket) else {
            return;
        };
        let Stage::Open { user } = &session.stage else {
            let Some(Command::Authenticate(login)) = frame.command else {
                self.sockets.end(socket);
                return;
            };
            self.logins += 1;
            session.answer(Frame::Welcome(welcome(self.logins, &login)));
            session.stage = Stage::Open { user: login.name };
            return;
        };
        let user = user.clone();
        let answered = match frame.command {
            Some(command) => self.rooms.apply(&mut self.sockets, socket, &user, command),
            None => Err(v1::error::Code::Unsupported),
        };
        if let Some(session) = self.sockets.get(socket) {
            session.answer(answer(frame.id, answered));
        }
    }
}

fn welcome(number: u64, login: &v1::Authenticate) -> v1::Welcome {
    v1::Welcome {
        session_id: format!("floor-{number}"),
        user: Some(rooms::person(&login.name)),
        heartbeat_interval_ms: 30_000,
        limits: Some(v1::Limits {
            frame_bytes_max: size(rookery_proto::limits::FRAME_BYTES_MAX),
            text_bytes_max: size(rookery_proto::limits::TEXT_BYTES_MAX),
            history_events_max: rookery_proto::limits::HISTORY_EVENTS_MAX,
            rooms_per_session_max: u32::MAX,
            commands_per_second: u32::MAX,
            commands_burst: u32::MAX,
            watched_users_max: u32::MAX,
        }),
        server_version: "floor".to_owned(),
        token_expires_ms: 0,
        time_ms: rooms::now_ms(),
    }
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn answer(id: String, answered: Result<Answer, v1::error::Code>) -> Frame {
    match answered {
        Ok(result) => Frame::Ack(v1::Ack {
            id,
            result: Some(result),
        }),
        Err(code) => Frame::Error(v1::Error {
            id,
            code: code.into(),
            message: "the floor does not do this".to_owned(),
            ..v1::Error::default()
        }),
    }
}

#[cfg(test)]
mod tests;
