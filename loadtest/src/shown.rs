//! How numbers and times are written for people: three digits that matter, and a unit.

/// A figure's value in its unit (those of [`crate::outcome::Figure`]), in the multiple that is
/// easy to read: `1.25 ms`, `1.53 KiB`, `60,900 /s`.
#[must_use]
pub fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "" => number(value),
        "µs" => scaled(value, &[("µs", 1_000.0), ("ms", 1_000.0), ("s", f64::MAX)]),
        "bytes" => scaled(
            value,
            &[
                ("bytes", 1_024.0),
                ("KiB", 1_024.0),
                ("MiB", 1_024.0),
                ("GiB", 1_024.0),
                ("TiB", f64::MAX),
            ],
        ),
        unit => format!("{} {unit}", number(value)),
    }
}

/// The first unit in which the value is below the next one's size.
fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let mut scaled = value;
    let mut shown = "";
    for (unit, size) in units {
        shown = unit;
        // What would be rounded up to the next unit is shown in that.
        if scaled.abs() < size - 0.5 {
            break;
        }
        scaled /= size;
    }
    format!("{} {shown}", number(scaled))
}

/// Three digits that matter below a thousand, whole with thousands set apart above.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.009_995 => 3,
        _ => 5,
    };
    // Plus 0: a sum of nothing is -0 to a float.
    let text = format!("{:.decimals$}", value + 0.0);
    if decimals > 0 {
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return text.to_owned();
    }
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |d| ("-", d));
    let mut grouped = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A figure's name in words: `ack_p999_us` is `ack p99.9`, the name without what its unit says.
#[must_use]
pub fn words(name: &str) -> String {
    let bare = name.trim_end_matches("_us");
    bare.replace("_p999", "_p99.9")
        .replace("cpu_us_", "cpu_")
        .replace('_', " ")
        .replace("cpu ", "CPU ")
}

/// A time in milliseconds since 1970 as `2026-11-21 09:30` (UTC).
#[must_use]
pub fn utc(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (year, month, day) = civil(minutes / 1_440);
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// The day that many days after 1970-01-01: years are counted from March, so that a leap day is
/// a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits_and_the_unit_that_fits() {
        for (value, unit, shown) in [
            (0.0, "µs", "0 µs"),
            (0.0912, "µs", "0.091 µs"),
            (812.0, "µs", "812 µs"),
            (999.7, "µs", "1 ms"),
            (1_250.0, "µs", "1.25 ms"),
            (61_500_000.0, "µs", "61.5 s"),
            (1_565.0, "bytes", "1.53 KiB"),
            (512.0, "bytes", "512 bytes"),
            (3.5 * 1_048_576.0, "bytes", "3.5 MiB"),
            (60_942.0, "/s", "60,942 /s"),
            (12.26, "s", "12.3 s"),
            (1_234_567.0, "", "1,234,567"),
            (-1_234.0, "", "-1,234"),
            (-0.0, "", "0"),
            (f64::NAN, "", "–"),
        ] {
            assert_eq!(quantity(value, unit), shown, "{value} {unit}");
        }
    }

    #[test]
    fn names_of_figures_become_words() {
        for (name, shown) in [
            ("ack_p999_us", "ack p99.9"),
            ("cpu_us_per_delivery", "CPU per delivery"),
            ("bytes_per_connection", "bytes per connection"),
            ("lost", "lost"),
        ] {
            assert_eq!(words(name), shown);
        }
    }

    #[test]
    fn times_are_told_also_around_a_leap_day() {
        for (unix_s, shown) in [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (951_868_800, "2000-03-01 00:00"),
            (1_795_253_399, "2026-11-21 09:29"),
        ] {
            assert_eq!(utc(unix_s * 1_000), shown);
        }
    }
}
