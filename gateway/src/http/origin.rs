//! Which pages may connect.
//!
//! Browsers name the page's origin in every WebSocket handshake and do not ask the server first,
//! so without this check any page could use its visitor's network position. Clients that are no
//! browsers send no `Origin` and are not concerned.

use hyper::header::{self, HeaderMap};

/// The allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Only pages of the host that is asked.
    SameHost,
    /// Every page.
    Any,
    /// These, in lower case.
    Listed(Vec<String>),
}

impl Origins {
    /// Reads the configured list.
    ///
    /// # Errors
    /// The index of the first entry that is neither `*` nor `scheme://host[:port]`.
    pub(crate) fn parse(entries: &[String]) -> Result<Self, usize> {
        if let Some(wrong) = entries
            .iter()
            .position(|entry| entry != "*" && host_of(entry).is_none())
        {
            return Err(wrong);
        }
        if entries.is_empty() {
            Ok(Self::SameHost)
        } else if entries.iter().any(|entry| entry == "*") {
            Ok(Self::Any)
        } else {
            let listed = entries.iter().map(|entry| entry.to_ascii_lowercase());
            Ok(Self::Listed(listed.collect()))
        }
    }

    /// Whether a request with these headers may upgrade.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let Some(origin) = origins.next() else {
            return true;
        };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
            return false;
        };
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed
                .iter()
                .any(|entry| entry.eq_ignore_ascii_case(origin)),
            Self::SameHost => headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .zip(host_of(origin))
                .is_some_and(|(host, of_origin)| host.eq_ignore_ascii_case(of_origin)),
        }
    }
}

/// The host and port of `scheme://host[:port]`, as the `Host` header spells them.
fn host_of(origin: &str) -> Option<&str> {
    let (scheme, host) = origin.split_once("://")?;
    let scheme_good = !scheme.is_empty()
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let host_good = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '@' | '*' | ','));
    (scheme_good && host_good).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_allowed_as_the_list_says() {
        let check = |list: &[&str], origin: Option<&str>, host: &str, expected: bool| {
            let list: Vec<String> = list.iter().map(|&entry| entry.to_owned()).collect();
            let origins = Origins::parse(&list).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(
                origins.allow(&headers),
                expected,
                "{list:?} {origin:?} {host}"
            );
        };
        let listed = &["https://chat.example.org", "http://localhost:5173"];

        check(&[], None, "a.example", true);
        check(listed, None, "a.example", true);

        check(&[], Some("https://a.example"), "a.example", true);
        check(&[], Some("https://A.Example"), "a.example", true);
        check(&[], Some("http://127.0.0.1:7100"), "127.0.0.1:7100", true);
        check(&[], Some("http://[::1]:7100"), "[::1]:7100", true);
        check(&[], Some("http://127.0.0.1:7101"), "127.0.0.1:7100", false);
        check(&[], Some("https://evil.example"), "a.example", false);
        check(&[], Some("https://a.example.evil"), "a.example", false);
        check(
            &[],
            Some("https://evil.example/a.example"),
            "a.example",
            false,
        );
        check(&[], Some("https://a.example@evil"), "a.example", false);
        check(&[], Some("null"), "null", false);
        check(&[], Some(""), "", false);

        check(listed, Some("https://chat.example.org"), "x", true);
        check(listed, Some("https://CHAT.example.org"), "x", true);
        check(listed, Some("http://localhost:5173"), "x", true);
        check(listed, Some("http://chat.example.org"), "x", false);
        check(listed, Some("https://chat.example.org.evil"), "x", false);
        check(listed, Some("http://localhost"), "localhost", false);

        check(&["*"], Some("https://evil.example"), "x", true);
        check(&["*"], Some("null"), "x", true);
    }

    #[test]
    fn origin_given_twice_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "a".parse().unwrap());
        headers.append(header::ORIGIN, "http://a".parse().unwrap());
        headers.append(header::ORIGIN, "http://a".parse().unwrap());
        assert!(!Origins::SameHost.allow(&headers));
    }

    #[test]
    fn origin_list_with_a_wrong_entry_names_it() {
        let check = |entry: &str, good: bool| {
            let parsed = Origins::parse(&["http://a".to_owned(), entry.to_owned()]);
            assert_eq!(parsed.is_ok(), good, "{entry}");
            assert_eq!(parsed.err(), (!good).then_some(1), "{entry}");
        };
        check("*", true);
        check("https://b.example:8443", true);
        check("b.example", false);
        check("https://b.example/", false);
        check("https://*.example", false);
        check("", false);
    }
}
