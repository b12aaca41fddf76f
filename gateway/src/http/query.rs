//! Query parameters, as browsers write them (`application/x-www-form-urlencoded`).

/// The first value of a parameter, decoded. `None` when it is absent or not UTF-8.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let (_, raw) = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)?;
    decode(raw)
}

fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>()?;
                rest = after;
                let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
                u8::try_from(high? * 16 + low?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_value_is_found_and_decoded() {
        let check = |query: &str, expected: Option<&str>| {
            assert_eq!(value(query, "name").as_deref(), expected, "{query}");
        };
        check("", None);
        check("names=x", None);
        check("a=b&name=ada", Some("ada"));
        check("name=ada&name=bob", Some("ada"));
        check("name=", Some(""));
        check("name", Some(""));
        check("name=Ada+Lovelace", Some("Ada Lovelace"));
        check("name=%C3%A9+%2B%26%3d", Some("é +&="));
        check("name=a=b", Some("a=b"));
        check("name=%C3", None);
        check("name=%zz", None);
        check("name=%4", None);
        check("name=100%", None);
    }
}
