//! Reading what the machine needs, each read with a deadline.

use rookery_proto::errors::{WireError, chain};
use tokio::time::timeout;

use super::{RoomArgs, RoomError, awake::Awake};
use crate::{
    host::HostMsg,
    limits::{READ_DEADLINE, SENT_LOAD_MAX},
    metrics,
    request::unavailable,
    room::{
        command::{Fact, Need},
        sent,
        state::RoomState,
    },
};

impl Awake {
    /// Reads until the machine needs nothing more.
    pub(super) async fn read_all(
        &mut self,
        args: &RoomArgs,
        needs: impl Fn(&RoomState) -> Option<Need>,
    ) -> Result<(), WireError> {
        let mut last = None;
        while let Some(need) = needs(&self.state) {
            assert!(
                last.as_ref() != Some(&need),
                "what was read is still needed"
            );
            metrics::store_read(need.name());
            let fact = match timeout(READ_DEADLINE, read(args, need.clone())).await {
                Ok(Ok(fact)) => fact,
                Ok(Err(RoomError::Fenced)) => {
                    // A host that is gone has dropped the room already.
                    let _ = args.host.send(HostMsg::Fenced);
                    return Err(unavailable("the room has moved"));
                }
                Ok(Err(error)) => {
                    let error = chain(&error);
                    tracing::warn!(room.id = %args.room, need = need.name(), error, "read failed");
                    return Err(unavailable("storage unavailable"));
                }
                Err(_) => {
                    tracing::warn!(room.id = %args.room, need = need.name(), "read timed out");
                    return Err(unavailable("storage unavailable"));
                }
            };
            self.state.learn(fact)?;
            last = Some(need);
        }
        Ok(())
    }
}

async fn read(args: &RoomArgs, need: Need) -> Result<Fact, RoomError> {
    let store = &args.shared.store;
    let room = &args.room;
    let failed = |source| RoomError::Store {
        what: "read",
        source,
    };
    Ok(match need {
        Need::Message(target) => {
            let (rows, marks) = tokio::try_join!(
                store.log_range(room, target, target),
                store.marks(room, target, target)
            )
            .map_err(failed)?;
            Fact::Message {
                target,
                rows,
                marks,
            }
        }
        Need::Page(from, to) => {
            let (rows, marks) =
                tokio::try_join!(store.log_range(room, from, to), store.marks(room, from, to))
                    .map_err(failed)?;
            Fact::Page {
                from,
                to,
                rows,
                marks,
            }
        }
        Need::Sender(user) => {
            let since = sent::since_ms(args.shared.clock.now_ms());
            let rows = store
                .sent_ids(room, &user, since, SENT_LOAD_MAX)
                .await
                .map_err(failed)?;
            Fact::Sender { user, rows }
        }
        Need::SentId(user, client_id) => {
            let rows = store
                .sent_id(room, &user, &client_id)
                .await
                .map_err(failed)?;
            Fact::SentId {
                user,
                client_id,
                rows,
            }
        }
        Need::Count(offset) => {
            let rows = store
                .log_range(room, offset, offset)
                .await
                .map_err(failed)?;
            Fact::Count { offset, rows }
        }
        Need::Fence => {
            let fenced = store
                .is_fenced(args.shared.incarnation)
                .await
                .map_err(failed)?;
            if fenced {
                return Err(RoomError::Fenced);
            }
            Fact::NotFenced
        }
    })
}
