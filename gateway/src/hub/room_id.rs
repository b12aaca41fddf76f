//! Which room a `createRoom` means, decided before it is routed: its shard follows from its id.

use std::fmt::Write as _;

use rookery_proto::{
    errors::WireError,
    ids::{RoomId, UserId},
    v1::{CreateRoom, room::Kind},
};
use sha1::{Digest as _, Sha1};

/// Rooms whose id the server chose start so; clients cannot choose such an id, so nobody can take
/// the place of another's room.
const DERIVED: [&str; 2] = ["dm:", "r:"];

/// The id given, or derived: from both users (direct), from user and `clientId`, else random.
pub(super) fn room_id_of(user: &UserId, create: &CreateRoom) -> Result<RoomId, WireError> {
    match create.kind() {
        Kind::Direct => direct_room_id(user, create),
        Kind::Group | Kind::Channel if !create.room.is_empty() => {
            if DERIVED.iter().any(|prefix| create.room.starts_with(prefix)) {
                let message = "must not start with dm: or r:";
                return Err(WireError::invalid("createRoom.room", message));
            }
            RoomId::parse(&create.room)
                .map_err(|error| WireError::invalid("createRoom.room", error.to_string()))
        }
        Kind::Group | Kind::Channel if create.client_id.is_empty() => {
            let random = [fastrand::u64(..), fastrand::u64(..)].map(u64::to_le_bytes);
            Ok(derived("r:", &[random.as_flattened()]))
        }
        Kind::Group | Kind::Channel => {
            let parts = [user.as_str().as_bytes(), create.client_id.as_bytes()];
            Ok(derived("r:", &parts))
        }
        Kind::Unspecified => {
            let message = "must be GROUP, DIRECT or CHANNEL";
            Err(WireError::invalid("createRoom.kind", message))
        }
    }
}

fn direct_room_id(user: &UserId, create: &CreateRoom) -> Result<RoomId, WireError> {
    match create.members.as_slice() {
        [other] if other != user.as_str() => {
            let mut users = [user.as_str().as_bytes(), other.as_bytes()];
            users.sort_unstable();
            Ok(derived("dm:", &users))
        }
        _ => {
            let message = "a direct room names exactly the other user";
            Err(WireError::invalid("createRoom.members", message))
        }
    }
}

/// A digest of the parts, each with its length: 40 hexadecimal digits behind the prefix.
fn derived(prefix: &str, parts: &[&[u8]]) -> RoomId {
    let mut sha = Sha1::new();
    for part in parts {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    let mut id = prefix.to_owned();
    for byte in sha.finalize() {
        write!(id, "{byte:02x}").expect("writing to a string");
    }
    RoomId::parse(&id).expect("prefix and digits are allowed characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(user: &str, create: CreateRoom) -> Result<String, &'static str> {
        room_id_of(&UserId::parse(user).unwrap(), &create)
            .map(|room| room.as_str().to_owned())
            .map_err(|error| error.field.unwrap())
    }

    fn create(kind: Kind, room: &str, client_id: &str, members: &[&str]) -> CreateRoom {
        CreateRoom {
            room: room.into(),
            kind: kind.into(),
            client_id: client_id.into(),
            members: members.iter().map(|&member| member.to_owned()).collect(),
            ..CreateRoom::default()
        }
    }

    #[test]
    fn direct_room_is_the_same_from_both_sides() {
        let ada = id("ada", create(Kind::Direct, "", "", &["bob"])).unwrap();
        let bob = id("bob", create(Kind::Direct, "ignored", "x", &["ada"])).unwrap();
        assert_eq!(ada, bob);
        assert!(ada.starts_with("dm:"));
        assert_ne!(
            ada,
            id("ada", create(Kind::Direct, "", "", &["eve"])).unwrap()
        );
        // Where one name ends and the other begins matters.
        let parts = |a, b| derived("dm:", &[a, b]);
        assert_ne!(parts(b"ab", b"c"), parts(b"a", b"bc"));
    }

    #[test]
    fn group_id_is_given_derived_or_random() {
        assert_eq!(
            id("ada", create(Kind::Group, "lobby", "c", &[])),
            Ok("lobby".into())
        );
        let derived = id("ada", create(Kind::Group, "", "c", &[])).unwrap();
        assert_eq!(
            id("ada", create(Kind::Group, "", "c", &[])).unwrap(),
            derived
        );
        assert_ne!(
            id("bob", create(Kind::Group, "", "c", &[])).unwrap(),
            derived
        );
        let random = || id("ada", create(Kind::Channel, "", "", &[])).unwrap();
        assert_ne!(random(), random());
    }

    #[test]
    fn room_that_cannot_be_meant_names_its_field() {
        let check = |made: CreateRoom, field| assert_eq!(id("ada", made), Err(field));
        check(create(Kind::Direct, "", "", &[]), "createRoom.members");
        check(create(Kind::Direct, "", "", &["ada"]), "createRoom.members");
        check(
            create(Kind::Direct, "", "", &["bob", "eve"]),
            "createRoom.members",
        );
        check(create(Kind::Unspecified, "", "", &[]), "createRoom.kind");
        check(create(Kind::Group, "a b", "", &[]), "createRoom.room");
        check(create(Kind::Group, "dm:x", "", &[]), "createRoom.room");
        check(create(Kind::Channel, "r:x", "", &[]), "createRoom.room");
    }
}
