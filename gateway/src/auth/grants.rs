//! What a token allows in channels.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use rookery_proto::{ids::RoomId, link::Grant};

use super::{AuthError, limits::GRANTS_MAX};

/// The claim `grants`: a map from a room id, or a prefix ending in `*`, to `read`, `write` or
/// `admin`. The longest match wins; an exact id wins over a prefix as long as itself.
///
/// A token without grants holds no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(Option<Arc<[Rule]>>);

/// One entry of the map. Rules are sorted: the first that matches wins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: Box<str>,
    prefix: bool,
    grant: Grant,
}

impl Rule {
    fn matches(&self, room: &str) -> bool {
        if self.prefix {
            room.starts_with(&*self.name)
        } else {
            room == &*self.name
        }
    }
}

impl Grants {
    /// Reads the claim.
    ///
    /// # Errors
    /// [`AuthError::WrongClaim`] for more than [`GRANTS_MAX`] entries, a value other than the
    /// three, or a `*` that is not last.
    pub fn parse(claim: &BTreeMap<String, String>) -> Result<Self, AuthError> {
        let wrong = |problem: String| AuthError::WrongClaim {
            claim: "grants",
            problem,
        };
        if claim.len() > GRANTS_MAX {
            return Err(wrong(format!("more than {GRANTS_MAX} entries")));
        }
        let mut rules = Vec::with_capacity(claim.len());
        for (key, value) in claim {
            let grant = match value.as_str() {
                "read" => Grant::Read,
                "write" => Grant::Write,
                "admin" => Grant::Admin,
                _ => return Err(wrong("a value is not read, write or admin".to_owned())),
            };
            let (name, prefix) = match key.strip_suffix('*') {
                Some(name) => (name, true),
                None => (key.as_str(), false),
            };
            if name.contains('*') {
                return Err(wrong("a * stands elsewhere than last".to_owned()));
            }
            rules.push(Rule {
                name: name.into(),
                prefix,
                grant,
            });
        }
        if rules.is_empty() {
            return Ok(Self(None));
        }
        rules.sort_by_key(|rule| (Reverse(rule.name.len()), rule.prefix));
        Ok(Self(Some(rules.into())))
    }

    /// The same grant in every channel.
    #[must_use]
    pub fn everywhere(grant: Grant) -> Self {
        Self(Some(Arc::new([Rule {
            name: "".into(),
            prefix: true,
            grant,
        }])))
    }

    /// What is granted in this room; [`Grant::None`] when nothing matches.
    #[must_use]
    pub fn for_room(&self, room: &RoomId) -> Grant {
        self.0
            .iter()
            .flat_map(|rules| rules.iter())
            .find(|rule| rule.matches(room.as_str()))
            .map_or(Grant::None, |rule| rule.grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(entries: &[(&str, &str)]) -> Result<Grants, AuthError> {
        let claim = entries
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Grants::parse(&claim)
    }

    #[test]
    fn grant_of_the_longest_match_wins() {
        let grants = grants(&[
            ("*", "read"),
            ("news-*", "write"),
            ("news-staff", "read"),
            ("news-staff*", "admin"),
            ("ops", "admin"),
        ])
        .unwrap();
        let check = |room: &str, expected| {
            let room = RoomId::parse(room).unwrap();
            assert_eq!(grants.for_room(&room), expected, "{room}");
        };
        check("general", Grant::Read);
        check("news-", Grant::Write);
        check("news-today", Grant::Write);
        check("news-staff", Grant::Read);
        check("news-staff-2", Grant::Admin);
        check("ops", Grant::Admin);
        check("ops2", Grant::Read);
        check("news", Grant::Read);
    }

    #[test]
    fn grants_without_a_match_grant_nothing() {
        let room = RoomId::parse("general").unwrap();
        assert_eq!(Grants::default().for_room(&room), Grant::None);
        assert_eq!(
            grants(&[("news-*", "admin")]).unwrap().for_room(&room),
            Grant::None
        );
        assert_eq!(
            Grants::everywhere(Grant::Write).for_room(&room),
            Grant::Write
        );
    }

    #[test]
    fn grants_that_cannot_be_meant_are_refused() {
        assert!(grants(&[("a", "owner")]).is_err());
        assert!(grants(&[("a*b", "read")]).is_err());
        assert!(grants(&[("**", "read")]).is_err());
        let many: Vec<String> = (0..=GRANTS_MAX).map(|n| format!("room-{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|room| (room.as_str(), "read")).collect();
        assert!(grants(&many).is_err());
        assert!(grants(&many[..GRANTS_MAX]).is_ok());
    }
}
