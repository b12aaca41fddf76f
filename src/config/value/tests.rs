//! Values are read, shown and refused.

use super::*;

fn read(kind: Kind, text: &str) -> Result<Value, Vec<Flaw>> {
    kind.read(&Raw::Text(text.to_owned()))
}

#[test]
fn values_read_from_text_and_from_toml_are_the_same() {
    let span = Kind::Span {
        min: Duration::from_secs(1),
        max: Duration::from_secs(60),
    };
    let count = Kind::Count { min: 1, max: 10 };
    let size = Kind::Bytes {
        min: 1024,
        max: 1 << 20,
    };
    for (kind, text, toml_text) in [
        (Kind::Path, "a b", "\"a b\""),
        (Kind::Address, "localhost:80", "\"127.0.0.1:80\""),
        (Kind::Address, "[::1]:80", "\"[::1]:80\""),
        (span, "5s", "\"5s\""),
        (count, "7", "7"),
        (size, "64KiB", "65536"),
        (Kind::Choice(&["text", "json"]), "json", "\"json\""),
        (Kind::Switch, "true", "true"),
        (Kind::Switch, "auto", "\"auto\""),
        (Kind::Texts, "a, b", "[\"a\", \"b\"]"),
        (Kind::Texts, "[\"a\", \"b\"]", "[\"a\", \"b\"]"),
        (Kind::Texts, "", "[]"),
        (Kind::Words(&["a", "b"]), "b, a, b", "[\"a\", \"b\"]"),
        (Kind::Text { bytes_max: 3 }, "abc", "\"abc\""),
        (
            Kind::LogFilter,
            "info,rookery=debug",
            "\"info,rookery=debug\"",
        ),
    ] {
        let from_text = read(kind, text).expect(text);
        let toml_value = inline(toml_text).expect(toml_text);
        assert_eq!(kind.read(&Raw::Toml(toml_value)).expect(text), from_text);
        let printed = inline(&kind.print(&from_text)).expect("prints TOML");
        assert_eq!(kind.read(&Raw::Toml(printed)).expect(text), from_text);
    }
}

#[test]
fn a_wrong_value_says_what_it_is_and_what_is_wanted() {
    let span = Kind::Span {
        min: Duration::from_secs(1),
        max: Duration::from_secs(60),
    };
    for (kind, text, wanted) in [
        (Kind::Address, "8080", "\"8080\" is not an address"),
        (span, "5", "\"5\" is not a duration"),
        (span, "5ms", "5ms is too small; it must be 1s to 1m"),
        (span, "5m", "5m is too large; it must be 1s to 1m"),
        (
            Kind::Count { min: 1, max: 10 },
            "x",
            "\"x\" is not a whole number",
        ),
        (
            Kind::Count { min: 1, max: 10 },
            "11",
            "11 is too large; it must be 1 to 10",
        ),
        (
            Kind::Bytes {
                min: 1024,
                max: 2048,
            },
            "1MiB",
            "1MiB is too large",
        ),
        (
            Kind::Choice(&["text", "json"]),
            "xml",
            "\"xml\" is not one of \"text\", \"json\"",
        ),
        (
            Kind::Switch,
            "maybe",
            "\"maybe\" is not \"auto\", true or false",
        ),
        (Kind::LogFilter, "rookery=loud", "is not a log filter"),
        (Kind::Text { bytes_max: 2 }, "abc", "has 3 bytes"),
        (
            Kind::Words(&["a", "b"]),
            "a,c",
            "\"c\" is not one of \"a\", \"b\"",
        ),
        (Kind::Words(&["a"]), "", "names none"),
    ] {
        let flaws = read(kind, text).expect_err(text);
        assert!(flaws[0].message.contains(wanted), "{}", flaws[0].message);
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let value = read(Kind::Secret, "hunter2").expect("a text");
    assert_eq!(Kind::Secret.print(&value), "\"***\"");
    assert!(!format!("{value:?}").contains("hunter2"));
    let number = Raw::Toml(toml::Value::Integer(471_147));
    let flaws = Kind::Secret.read(&number).expect_err("not a text");
    assert!(!flaws[0].message.contains("471147"), "{flaws:?}");
}
