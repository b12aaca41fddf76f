//! What comes out of a room.

use rookery_cluster::EndpointId;
use rookery_proto::{
    errors::WireError,
    ids::UserId,
    link::packet,
    v1::{self, ack},
};

use super::command::{Ticket, Who};

/// One thing for the shell to do. None of them can fail in a way the room would care about.
#[derive(Debug)]
pub(crate) enum Output {
    /// Answers a request; its ticket is used up.
    Reply {
        ticket: Ticket,
        result: Result<ack::Result, WireError>,
    },
    /// The membership a join waited for is committed: `needs_join`, then `finish_join`.
    FinishJoin {
        ticket: Ticket,
        who: Box<Who>,
        from: Option<v1::join::From>,
    },
    /// A packet on the link to a gateway.
    ToGateway {
        gateway: EndpointId,
        body: packet::Body,
    },
    /// A notice to all sessions of a user but one (0: none).
    ToUser {
        user: UserId,
        notice: v1::notice::Body,
        except_session: u64,
    },
}

/// Outputs in the order they must be done.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) outputs: Vec<Output>,
}

impl Effects {
    pub(super) fn reply(&mut self, ticket: Ticket, result: Result<ack::Result, WireError>) {
        self.outputs.push(Output::Reply { ticket, result });
    }

    pub(super) fn send_to_gateway(&mut self, gateway: &EndpointId, body: packet::Body) {
        let gateway = gateway.clone();
        self.outputs.push(Output::ToGateway { gateway, body });
    }

    pub(super) fn tell_user(
        &mut self,
        user: &UserId,
        notice: v1::notice::Body,
        except_session: u64,
    ) {
        self.outputs.push(Output::ToUser {
            user: user.clone(),
            notice,
            except_session,
        });
    }
}
