-- What each table is for, and why it lies in the file as it does: ../README.md.

-- In the order of writing, with its key as an index: the one table where that is cheaper.
CREATE TABLE room_log (
    room          TEXT    NOT NULL,
    offset        INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    target        INTEGER NOT NULL,
    event         BLOB    NOT NULL,
    PRIMARY KEY (room, offset, epoch)
) STRICT;

CREATE TABLE room_marks (
    room   TEXT    NOT NULL,
    target INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    event  BLOB    NOT NULL,
    PRIMARY KEY (room, target, offset, epoch)
) STRICT, WITHOUT ROWID;

-- Kind 4 is a deletion: few rows, read whole when a room wakes.
CREATE INDEX room_marks_deletions ON room_marks (room, target, offset, epoch) WHERE kind = 4;

CREATE TABLE rooms (
    room      TEXT    NOT NULL,
    offset    INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    public    INTEGER NOT NULL,
    creator   TEXT    NOT NULL,
    client_id TEXT    NOT NULL,
    PRIMARY KEY (room, offset, epoch)
) STRICT, WITHOUT ROWID;

-- Role 0: not a member any more.
CREATE TABLE room_members (
    room   TEXT    NOT NULL,
    user   TEXT    NOT NULL,
    offset INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    role   INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    PRIMARY KEY (room, user, offset, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_rooms (
    user   TEXT    NOT NULL,
    room   TEXT    NOT NULL,
    offset INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    member INTEGER NOT NULL,
    PRIMARY KEY (user, room, offset, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE read_cursors (
    room          TEXT    NOT NULL,
    user          TEXT    NOT NULL,
    offset        INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent_ids (
    room      TEXT    NOT NULL,
    user      TEXT    NOT NULL,
    client_id TEXT    NOT NULL,
    offset    INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    digest    INTEGER NOT NULL,
    time_ms   INTEGER NOT NULL,
    PRIMARY KEY (room, user, client_id, offset, epoch)
) STRICT, WITHOUT ROWID;

-- For expiry. Times ascend, so entries are appended.
CREATE INDEX sent_ids_by_time ON sent_ids (time_ms);

CREATE TABLE users (
    user         TEXT    NOT NULL PRIMARY KEY,
    last_seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per claim: the whole list, "epoch:first epoch:first …", keyed by its last epoch.
CREATE TABLE room_epochs (
    room  TEXT    NOT NULL,
    epoch INTEGER NOT NULL,
    list  TEXT    NOT NULL,
    PRIMARY KEY (room, epoch)
) STRICT, WITHOUT ROWID;

-- Kind 1: rooms, 2: presence. Incarnation 0: released, nobody has it.
CREATE TABLE shards (
    kind        INTEGER NOT NULL,
    shard       INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    node        TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    PRIMARY KEY (kind, shard)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    incarnation INTEGER NOT NULL PRIMARY KEY,
    node        TEXT    NOT NULL,
    fenced      INTEGER NOT NULL
) STRICT;
