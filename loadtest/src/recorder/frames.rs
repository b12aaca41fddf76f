//! What a frame that comes means for the client it comes to.

use rookery_proto::v1::{
    self, ack::Result as Answer, error::Code, event, notice, server_frame::Frame, signal,
};

use super::{RecordingClient, Step};
use crate::{
    client::{Command, command, maybe},
    history::What,
    replica::Applied,
};

impl RecordingClient {
    pub(super) async fn took(&mut self, frame: Frame) -> Step {
        if let Frame::Signal(signal) = &frame
            && !matches!(signal.body, Some(signal::Body::Presence(_)))
        {
            // Not durable and never judged: kept out of the history for its size.
            return Step::Other;
        }
        self.record(What::Received(Box::new(v1::ServerFrame {
            frame: Some(frame.clone()),
        })));
        match frame {
            Frame::Ack(ack) => {
                let Some(command) = self.answered(&ack.id) else {
                    return Step::Other;
                };
                let Some(answer) = ack.result else {
                    return Step::Other;
                };
                match (&command, &answer) {
                    (Command::Join(join), Answer::Joined(joined)) => self.joined(join, joined),
                    (Command::Leave(leave), _) => self.goes_absent(&leave.room),
                    _ => {}
                }
                Step::Answered {
                    command,
                    answer: Ok(answer),
                }
            }
            Frame::Error(error) => {
                let Some(command) = self.answered(&error.id) else {
                    return Step::Other;
                };
                if maybe(error.code()) {
                    self.keep_for_retry(command.clone());
                }
                let refused = matches!(command, Command::Join(_));
                if (refused || error.code() == Code::NotMember)
                    && let Some(room) = command::room_of(&command)
                {
                    self.goes_absent(room);
                }
                Step::Answered {
                    command,
                    answer: Err(Box::new(error)),
                }
            }
            Frame::Event(event) => {
                // A hole is the checker's business; the replica waits for a resume.
                let replica = self.rooms.get_mut(&event.room);
                let applied = replica.map(|replica| replica.apply(&event));
                if applied == Some(Applied::New) && self.is_own_leave(&event) {
                    self.goes_absent(&event.room);
                }
                Step::Event(Box::new(event))
            }
            Frame::Notice(notice) => match notice.body {
                Some(notice::Body::ResumeRoom(resume)) => {
                    if let Some(replica) = self.rooms.get(&resume.room) {
                        let again = command::resume(replica.room(), replica.head());
                        self.invoke(again).await;
                    }
                    Step::Notice(notice::Body::ResumeRoom(resume))
                }
                Some(body) => {
                    if let notice::Body::LeftRoom(left) = &body {
                        self.goes_absent(&left.room);
                    }
                    Step::Notice(body)
                }
                None => Step::Other,
            },
            Frame::Signal(v1::Signal {
                body: Some(signal::Body::Presence(presence)),
                ..
            }) => Step::Presence(presence),
            Frame::Welcome(_) | Frame::Signal(_) => Step::Other,
        }
    }

    fn joined(&mut self, join: &v1::Join, joined: &v1::Joined) {
        let after = match join.from {
            Some(v1::join::From::AfterOffset(after)) => Some(after),
            _ => None,
        };
        if let Some(replica) = self.rooms.get_mut(&join.room) {
            replica.join(joined, after);
            self.absent.remove(&join.room);
        }
    }

    fn goes_absent(&mut self, room: &str) {
        if self.rooms.contains_key(room) {
            self.absent.insert(room.to_owned());
        }
    }

    fn is_own_leave(&self, event: &v1::Event) -> bool {
        match &event.body {
            Some(event::Body::MemberLeft(left)) => {
                left.user.as_ref().is_some_and(|user| user.id == self.user)
            }
            _ => false,
        }
    }

    fn answered(&mut self, id: &str) -> Option<Command> {
        self.pending.remove(&id.strip_prefix('r')?.parse().ok()?)
    }
}
