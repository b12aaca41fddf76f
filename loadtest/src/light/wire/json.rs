//! Reads JSON from the front, member by member, without copying: what is not asked for is passed
//! over. Strings are given as they stand between their quotes, escapes and all.

use super::Unreadable;

/// How deep arrays and objects passed over may lie in each other.
const DEPTH_MAX: u32 = 128;

/// A place in a JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the beginning.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The byte the next value begins with; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return Some(*other),
            }
        }
        None
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(Unreadable("not the JSON expected"))
    }

    /// Steps into an object; its members follow by [`Scanner::key`].
    ///
    /// # Errors
    /// There is none here.
    pub fn object(&mut self) -> Result<(), Unreadable> {
        self.expect(b'{')
    }

    /// The key of the next member, with its value ahead, which must be read or skipped; `None`:
    /// the object ends here and is left.
    ///
    /// # Errors
    /// No member and no end.
    #[inline]
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, Unreadable> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') => self.at += 1,
            _ => {}
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Steps into an array; its items follow by [`Scanner::item`].
    ///
    /// # Errors
    /// There is none here.
    pub fn array(&mut self) -> Result<(), Unreadable> {
        self.expect(b'[')
    }

    /// Whether another item is ahead, which must be read or skipped; false: the array ends here
    /// and is left.
    ///
    /// # Errors
    /// The text ends.
    pub fn item(&mut self) -> Result<bool, Unreadable> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Ok(true),
            None => Err(CUT),
        }
    }

    /// A string, as it stands between its quotes.
    ///
    /// # Errors
    /// There is none here, or the text ends.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], Unreadable> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..).ok_or(CUT)?;
            let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            let special = special.ok_or(CUT)?;
            if rest[special] == b'"' {
                self.at += special + 1;
                return Ok(&self.bytes[start..self.at - 1]);
            }
            // What is escaped ends nothing.
            self.at += special + 2;
        }
    }

    /// A number that is not negative, bare or as a string; a fraction is cut off.
    ///
    /// # Errors
    /// There is none here.
    pub fn number(&mut self) -> Result<u64, Unreadable> {
        const NONE: Unreadable = Unreadable("not the number expected in JSON");
        let digits = if self.peek() == Some(b'"') {
            self.string()?
        } else {
            self.bare()
        };
        let mut number: u64 = 0;
        for (index, digit) in digits.iter().enumerate() {
            match digit {
                b'0'..=b'9' => {
                    number = number
                        .checked_mul(10)
                        .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                        .ok_or(NONE)?;
                }
                b'.' if index > 0 => return Ok(number),
                _ => return Err(NONE),
            }
        }
        if digits.is_empty() {
            Err(NONE)
        } else {
            Ok(number)
        }
    }

    /// A literal `true` or `false`.
    ///
    /// # Errors
    /// There is none here.
    pub fn boolean(&mut self) -> Result<bool, Unreadable> {
        match (self.peek(), self.bare()) {
            (_, b"true") => Ok(true),
            (_, b"false") => Ok(false),
            _ => Err(Unreadable("neither true nor false in JSON")),
        }
    }

    /// A number or literal, as it stands.
    fn bare(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.'))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Passes over the next value and gives it as it stands.
    ///
    /// # Errors
    /// There is none, or it does not end.
    pub fn skip(&mut self) -> Result<&'a [u8], Unreadable> {
        self.peek();
        let start = self.at;
        let mut depth = 0;
        loop {
            match self.peek().ok_or(CUT)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(Unreadable("JSON nested too deep"));
                    }
                }
                b'}' | b']' if depth > 0 => {
                    self.at += 1;
                    depth -= 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                }
                _ => {
                    if self.bare().is_empty() {
                        return Err(Unreadable("not the JSON expected"));
                    }
                }
            }
            if depth == 0 {
                return Ok(&self.bytes[start..self.at]);
            }
        }
    }
}

const CUT: Unreadable = Unreadable("the JSON is cut off");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn members_are_read_whatever_stands_between_them() {
        let text = br#" { "a" : "x\"}y" , "b":[1,{"c":[]},"]"], "n":42,"s":"43", "yes":true } "#;
        let mut scanner = Scanner::new(text);
        scanner.object().unwrap();
        assert_eq!(scanner.key(), Ok(Some(&b"a"[..])));
        assert_eq!(scanner.string(), Ok(&br#"x\"}y"#[..]));
        assert_eq!(scanner.key(), Ok(Some(&b"b"[..])));
        assert_eq!(scanner.skip(), Ok(&br#"[1,{"c":[]},"]"]"#[..]));
        assert_eq!(scanner.key(), Ok(Some(&b"n"[..])));
        assert_eq!(scanner.number(), Ok(42));
        assert_eq!(scanner.key(), Ok(Some(&b"s"[..])));
        assert_eq!(scanner.number(), Ok(43));
        assert_eq!(scanner.key(), Ok(Some(&b"yes"[..])));
        assert_eq!(scanner.boolean(), Ok(true));
        assert_eq!(scanner.key(), Ok(None));
        assert_eq!(scanner.peek(), None);
    }

    #[test]
    fn what_is_no_json_is_an_error_and_ends() {
        for text in [
            "",
            "{",
            "[",
            "[1",
            "{\"a\"",
            "{\"a\":",
            "\"",
            "\"\\",
            "}",
            ",",
            "{\"a\":}x",
        ] {
            let mut scanner = Scanner::new(text.as_bytes());
            let skipped = scanner.skip();
            assert!(
                skipped.is_err() || text == "{\"a\":}x",
                "{text}: {skipped:?}"
            );
        }
        let deep = "[".repeat(1_000);
        assert!(Scanner::new(deep.as_bytes()).skip().is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f32>().prop_map(|number| json!(number)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_passed_over_whole(value in any_json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let after = format!("{text} ,\"next\"");
            prop_assert_eq!(Scanner::new(after.as_bytes()).skip().unwrap(), text.as_bytes());
        }

        #[test]
        fn any_bytes_end_without_a_panic(bytes: Vec<u8>) {
            let mut scanner = Scanner::new(&bytes);
            while scanner.skip().is_ok() {}
        }
    }
}
