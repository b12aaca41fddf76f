//! Every statement, prepared once on every node.

use futures_util::future::try_join_all;
use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    errors::PrepareError,
    statement::{Consistency, Statement, prepared::PreparedStatement},
};

use super::{config::CqlConfig, profiles::Profiles};
use crate::limits;

/// Which profile a statement runs under.
#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Transaction,
    SerialRead,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $text:literal;)*) => {
        /// The prepared statements.
        #[derive(Debug)]
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares all of them.
            pub(super) async fn prepare(
                session: &Session,
                config: &CqlConfig,
                profiles: &Profiles,
            ) -> Result<Self, PrepareError> {
                let texts = [$((Kind::$kind, $text)),*];
                let prepared = try_join_all(texts.map(|(kind, text)| {
                    prepare(session, config, profiles, kind, text)
                }));
                let mut prepared = prepared.await?.into_iter();
                Ok(Self {
                    $($name: prepared.next().expect("as many as there are texts"),)*
                })
            }
        }
    };
}

// `@.table` lies in the keyspace, `#.table` in that of the lightweight transactions.
statements! {
    put_log: Write, "INSERT INTO @.room_log
        (room, bucket, offset, epoch, kind, message_count, target, event)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    put_head: Write, "INSERT INTO @.room_heads (room, bucket) VALUES (?, ?) USING TIMESTAMP ?";
    put_mark: Write, "INSERT INTO @.room_marks (room, bucket, target, offset, epoch, kind, event)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    put_deletion: Write, "INSERT INTO @.room_deletions (room, target, offset, epoch)
        VALUES (?, ?, ?, ?)";
    put_room: Write, "INSERT INTO @.rooms
        (room, offset, epoch, kind, name, public, creator, client_id)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    put_member: Write, "INSERT INTO @.room_members (room, user, offset, epoch, role, name)
        VALUES (?, ?, ?, ?, ?, ?)";
    put_user_room: Write, "INSERT INTO @.user_rooms (user, room, offset, epoch, member)
        VALUES (?, ?, ?, ?, ?)";
    put_cursor: Write, "INSERT INTO @.read_cursors (room, user, offset, message_count)
        VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    put_sent: Write, "INSERT INTO @.sent_ids
        (room, user, client_id, offset, epoch, digest, time_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
    put_sent_by_time: Write, "INSERT INTO @.sent_ids_by_time
        (room, user, client_id, offset, epoch, digest, time_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
    put_list: Write, "INSERT INTO @.room_epochs (room, epoch, list) VALUES (?, ?, ?)";
    put_last_seen: Write, "INSERT INTO @.users (user, last_seen_ms) VALUES (?, ?)
        USING TIMESTAMP ?";
    put_heartbeat: Write, "INSERT INTO @.node_heartbeats (part, endpoint, heartbeat)
        VALUES (0, ?, ?) USING TIMESTAMP ?";

    head: Read, "SELECT bucket FROM @.room_heads WHERE room = ?";
    any_in_bucket: Read, "SELECT offset FROM @.room_log WHERE room = ? AND bucket = ? LIMIT 1";
    log_down: Read, "SELECT offset, epoch, kind, message_count, target, event FROM @.room_log
        WHERE room = ? AND bucket = ? ORDER BY offset DESC, epoch DESC";
    log_range: Read, "SELECT offset, epoch, kind, message_count, target, event FROM @.room_log
        WHERE room = ? AND bucket = ? AND offset >= ? AND offset <= ?";
    marks: Read, "SELECT target, offset, epoch, kind, event FROM @.room_marks
        WHERE room = ? AND bucket = ? AND target >= ? AND target <= ?";
    deletions: Read, "SELECT target, offset, epoch FROM @.room_deletions WHERE room = ?";
    settings: Read, "SELECT offset, epoch, kind, name, public, creator, client_id FROM @.rooms
        WHERE room = ?";
    members: Read, "SELECT user, name, offset, epoch, role FROM @.room_members WHERE room = ?";
    cursors: Read, "SELECT user, offset, message_count FROM @.read_cursors WHERE room = ?";
    sent_ids: Read, "SELECT client_id, offset, epoch, digest, time_ms FROM @.sent_ids_by_time
        WHERE room = ? AND user = ? AND time_ms >= ? LIMIT ?";
    sent_id: Read, "SELECT client_id, offset, epoch, digest, time_ms FROM @.sent_ids
        WHERE room = ? AND user = ? AND client_id = ?";
    user_rooms: Read, "SELECT room, offset, epoch, member FROM @.user_rooms
        WHERE user = ? AND room > ?";
    user: Read, "SELECT last_seen_ms FROM @.users WHERE user = ?";
    list: Read, "SELECT list FROM @.room_epochs WHERE room = ? LIMIT 1";
    heartbeats: Read, "SELECT endpoint, heartbeat FROM @.node_heartbeats WHERE part = 0";

    fence: Read, "SELECT fenced FROM #.nodes WHERE incarnation = ?";
    fence_serial: SerialRead, "SELECT fenced FROM #.nodes WHERE incarnation = ?";
    shard: Read, "SELECT epoch, incarnation FROM #.shards WHERE kind = ? AND shard = ?";
    shard_serial: SerialRead, "SELECT epoch, incarnation FROM #.shards
        WHERE kind = ? AND shard = ?";
    insert_node: Transaction, "INSERT INTO #.nodes (incarnation, node, fenced) VALUES (?, ?, ?)
        IF NOT EXISTS";
    fence_node: Transaction, "UPDATE #.nodes SET fenced = true WHERE incarnation = ?
        IF fenced = false";
    insert_shard: Transaction, "INSERT INTO #.shards (kind, shard, epoch, node, incarnation)
        VALUES (?, ?, ?, ?, ?) IF NOT EXISTS";
    change_shard: Transaction, "UPDATE #.shards SET epoch = ?, node = ?, incarnation = ?
        WHERE kind = ? AND shard = ? IF epoch = ? AND incarnation = ?";
}

async fn prepare(
    session: &Session,
    config: &CqlConfig,
    profiles: &Profiles,
    kind: Kind,
    text: &str,
) -> Result<PreparedStatement, PrepareError> {
    let text = text
        .replace("@.", &format!("{}.", config.keyspace))
        .replace("#.", &format!("{}.", config.ownership_keyspace()));
    let statement = Statement::new(text).with_page_size(limits::CQL_PAGE_ROWS);
    let mut prepared = session.prepare(statement).await?;
    let profile: &ExecutionProfileHandle = match kind {
        Kind::Read => &profiles.read,
        Kind::Write => &profiles.write,
        Kind::Transaction | Kind::SerialRead => &profiles.transaction,
    };
    prepared.set_execution_profile_handle(Some(profile.clone()));
    // A repeated transaction may find itself ahead: only reads and plain writes are idempotent.
    prepared.set_is_idempotent(!matches!(kind, Kind::Transaction));
    if matches!(kind, Kind::SerialRead) {
        prepared.set_consistency(Consistency::LocalSerial);
    }
    Ok(prepared)
}
