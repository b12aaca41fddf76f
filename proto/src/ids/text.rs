//! What the text ids share.

use std::ops::RangeInclusive;

/// Why a text is not an id. Display is a fragment that follows the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Shorter or longer than allowed.
    #[error("must have {min} to {max} bytes, has {bytes}")]
    Length {
        /// Bytes given.
        bytes: usize,
        /// Fewest bytes allowed.
        min: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("must not contain {character:?}")]
    Character {
        /// The first such character.
        character: char,
    },
}

/// Checks length in bytes, then every character.
pub(super) fn check(
    text: &str,
    bytes: RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    if !bytes.contains(&text.len()) {
        return Err(IdError::Length {
            bytes: text.len(),
            min: *bytes.start(),
            max: *bytes.end(),
        });
    }
    match text.chars().find(|&character| !allowed(character)) {
        Some(character) => Err(IdError::Character { character }),
        None => Ok(()),
    }
}

/// Declares a checked, cheaply cloned text id.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $bytes:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and takes a text.
            ///
            /// # Errors
            /// [`IdError`](super::IdError) when its length or a character is not allowed.
            pub fn parse(text: &str) -> Result<Self, super::IdError> {
                super::text::check(text, $bytes, $allowed)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(super) use text_id;
