//! All connections by number, and their registration with epoll.

use std::io;

use mio::{Interest, Registry, Token, net::TcpStream};

use super::session::{Session, Wrote};

#[derive(Debug)]
pub(super) struct Sockets {
    slots: Vec<Option<Session>>,
    /// Free numbers; taken again in a later round only, so that no event of this one meets another.
    free: Vec<usize>,
    registry: Registry,
    /// Those with answers of this round; may name one twice.
    answered: Vec<usize>,
    ended: Vec<usize>,
}

impl Sockets {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            registry,
            answered: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, mut stream: TcpStream) -> io::Result<()> {
        // Fails only for a connection that is gone, which its first read tells.
        let _ = stream.set_nodelay(true);
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.registry
            .register(&mut stream, Token(number), Interest::READABLE)?;
        self.slots[number] = Some(Session::new(stream));
        Ok(())
    }

    /// The session, to read from or to answer.
    pub(super) fn get(&mut self, number: usize) -> Option<&mut Session> {
        let session = self.slots.get_mut(number)?.as_mut()?;
        self.answered.push(number);
        (!session.ended).then_some(session)
    }

    /// Writes to a listener.
    pub(super) fn write(&mut self, number: usize, bytes: &[u8]) {
        let Some(session) = self.slots[number].as_mut() else {
            return;
        };
        if !session.ended {
            let wrote = session.write(bytes);
            self.settle(number, wrote);
        }
    }

    /// Writes what waited for the socket.
    pub(super) fn drain(&mut self, number: usize) {
        let Some(session) = self.slots.get_mut(number).and_then(Option::as_mut) else {
            return;
        };
        match session.drain() {
            Wrote::All => {
                let token = Token(number);
                let again =
                    self.registry
                        .reregister(&mut session.stream, token, Interest::READABLE);
                if again.is_err() {
                    self.end(number);
                }
            }
            other => self.settle(number, other),
        }
    }

    fn settle(&mut self, number: usize, wrote: Wrote) {
        let Some(session) = self.slots[number].as_mut() else {
            return;
        };
        let kept = match wrote {
            Wrote::All => return,
            Wrote::Nothing => false,
            Wrote::Part => {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.registry
                    .reregister(&mut session.stream, Token(number), both)
                    .is_ok()
            }
        };
        if !kept {
            self.end(number);
        }
    }

    /// Ends a connection at the end of the round.
    pub(super) fn end(&mut self, number: usize) {
        if let Some(session) = self.slots.get_mut(number).and_then(Option::as_mut)
            && !session.ended
        {
            session.ended = true;
            self.ended.push(number);
        }
    }

    /// Writes the answers of this round, also of those that end.
    pub(super) fn flush_answers(&mut self) {
        for number in std::mem::take(&mut self.answered) {
            if let Some(session) = self.slots[number].as_mut()
                && session.has_answers()
            {
                let wrote = session.write_answers();
                self.settle(number, wrote);
            }
        }
    }

    /// Gives those that ended; each is closed with its value.
    pub(super) fn close_ended(&mut self) -> Vec<(usize, Session)> {
        let ended = std::mem::take(&mut self.ended);
        self.free.extend(&ended);
        let slots = &mut self.slots;
        let ended = ended.into_iter();
        let closed = ended.filter_map(|number| Some((number, slots[number].take()?)));
        closed.collect()
    }
}
