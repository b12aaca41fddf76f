//! Durations as people write them: `500ms`, `30s`, `1h30m`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads numbers with units (`ms`, `s`, `m`, `h`, `d`), added up. `None` when it is not one.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_bytes = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == &rest[..unit_bytes])?;
        total_ms = total_ms.checked_add(number.checked_mul(*unit_ms)?)?;
        rest = &rest[unit_bytes..];
    }
    Some(Duration::from_millis(total_ms))
}

/// Writes a duration in the largest unit that is exact; parts below a millisecond are cut.
pub(crate) fn format(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let exact = UNITS
        .iter()
        .find(|(_, unit)| ms >= *unit && ms.is_multiple_of(*unit));
    match exact {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print() {
        for (text, ms, printed) in [
            ("30s", 30_000, "30s"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "90m"),
            ("2d", 172_800_000, "2d"),
            ("0s", 0, "0s"),
            (" 25s ", 25_000, "25s"),
            ("1m1ms", 60_001, "60001ms"),
        ] {
            let duration = parse(text);
            assert_eq!(duration, Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(format(Duration::from_millis(ms)), printed, "{text}");
            assert_eq!(parse(printed), duration, "{printed}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "30",
            "s",
            "30x",
            "-1s",
            "1.5s",
            "30 s",
            "s30",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
