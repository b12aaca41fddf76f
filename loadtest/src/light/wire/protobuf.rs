//! Reads protobuf field by field, without a schema and without copying.

use super::Unreadable;

/// The fields of a message, in the order they stand.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint, or one of fixed width.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A number; 0 for what is none.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    /// Bytes; empty for what are none.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The fields of a message.
    #[must_use]
    pub const fn fields(self) -> Fields<'a> {
        Fields::new(self.bytes())
    }
}

impl<'a> Fields<'a> {
    /// Of this encoded message.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next field's number and value.
    ///
    /// # Errors
    /// The bytes end within a field, or are none.
    #[expect(
        clippy::should_implement_trait,
        reason = "errors go by `?`, which an iterator of results makes clumsy"
    )]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Unreadable> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(self.fixed::<8>().map(u64::from_le_bytes)?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                let (value, rest) = self.bytes.split_at_checked(length).ok_or(CUT)?;
                self.bytes = rest;
                Value::Bytes(value)
            }
            5 => Value::Number(self.fixed::<4>().map(u32::from_le_bytes)?.into()),
            _ => return Err(Unreadable("a protobuf field of unknown type")),
        };
        Ok(Some((key >> 3, value)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for (index, byte) in self.bytes.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(number);
            }
        }
        Err(CUT)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (value, rest) = self.bytes.split_first_chunk().ok_or(CUT)?;
        self.bytes = rest;
        Ok(*value)
    }
}

const CUT: Unreadable = Unreadable("a protobuf field is cut off");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_type_are_read_in_order() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1D, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0,
        ];
        let mut fields = Fields::new(&bytes);
        for expected in [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Number(1)),
            (4, Value::Number(2)),
        ] {
            assert_eq!(fields.next(), Ok(Some(expected)));
        }
        assert_eq!(fields.next(), Ok(None));
    }

    #[test]
    fn bytes_cut_within_a_field_are_an_error() {
        for bytes in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x12, 2, b'h'],
            &[0x1D, 1],
            &[0x0B],
            &[0xFF; 12],
        ] {
            assert!(Fields::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
