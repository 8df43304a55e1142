//! Durations as they are written in an attribute and in the environment: `30s`, `1.5s`, `500us`.

use std::time::Duration;

/// Units by their names, with their length in nanoseconds, in the order in which messages list them.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Other spellings, and what they most likely mean.
const MEANT: [(&str, &str); 16] = [
    ("µs", "us"),
    ("μs", "us"),
    ("usec", "us"),
    ("msec", "ms"),
    ("millis", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("mins", "min"),
    ("minute", "min"),
    ("minutes", "min"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("S", "s"),
];

/// The duration that a literal such as `30s`, `10ms`, `2min`, `500us` or `1.5s` stands for.
///
/// # Errors
///
/// What is wrong with it and what would be right: no number, no unit, an unknown unit, nothing but zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let Some((whole, fraction)) = digits(number) else {
        return Err(format!("`{text}` is no duration: write a number and a unit, as in `30s`"));
    };
    let Some(&(_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(number, unit));
    };
    let too_long = || format!("`{text}` is too long for a duration");
    let whole = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(nanos)).ok_or_else(too_long)?;
    let part = match fraction.len() {
        0 => 0,
        // More digits than a nanosecond of the longest unit has (3.6e12) say nothing.
        len @ 1..=13 => {
            let part = fraction.parse::<u128>().expect("at most 13 digits") * u128::from(nanos);
            u64::try_from(part / 10_u128.pow(len as u32)).expect("less than one unit")
        }
        _ => return Err(format!("`{text}` has more digits than a nanosecond needs")),
    };
    match Duration::from_nanos(whole.checked_add(part).ok_or_else(too_long)?) {
        Duration::ZERO => Err(format!("`{text}` leaves no time at all: write a longer one, as in `30s`")),
        duration => Ok(duration),
    }
}

/// The digits before and after the point, without underscores.
fn digits(number: &str) -> Option<(String, String)> {
    let number = number.replace('_', "");
    let (whole, fraction) = match number.split_once('.') {
        Some((_, fraction)) if fraction.is_empty() || fraction.contains('.') => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (number.as_str(), ""),
    };
    (!whole.is_empty()).then(|| (whole.to_owned(), fraction.to_owned()))
}

fn unknown_unit(number: &str, unit: &str) -> String {
    match unit {
        "" => format!("`{number}` has no unit: write `{number}s`"),
        "m" | "M" => format!("`m` could be minutes or milliseconds: write `{number}min` or `{number}ms`"),
        _ => match MEANT.iter().find(|(other, _)| *other == unit) {
            Some((_, name)) => format!("unknown unit `{unit}`: did you mean `{number}{name}`?"),
            None => {
                let names = UNITS.map(|(name, _)| format!("`{name}`"));
                format!("unknown unit `{unit}`: expected one of {}", names.join(", "))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read() {
        for (text, duration) in [
            ("30s", Duration::from_secs(30)),
            ("10ms", Duration::from_millis(10)),
            ("2min", Duration::from_secs(120)),
            ("500us", Duration::from_micros(500)),
            ("1ns", Duration::from_nanos(1)),
            ("1h", Duration::from_secs(3600)),
            ("1_000ms", Duration::from_secs(1)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.25min", Duration::from_secs(15)),
            ("0.000_000_001s", Duration::from_nanos(1)),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_the_fix() {
        for (text, message) in [
            ("", "`` is no duration: write a number and a unit, as in `30s`"),
            ("fast", "`fast` is no duration: write a number and a unit, as in `30s`"),
            ("-1s", "`-1s` is no duration: write a number and a unit, as in `30s`"),
            ("1.s", "`1.s` is no duration: write a number and a unit, as in `30s`"),
            ("30", "`30` has no unit: write `30s`"),
            ("0s", "`0s` leaves no time at all: write a longer one, as in `30s`"),
            ("0.1ns", "`0.1ns` leaves no time at all: write a longer one, as in `30s`"),
            ("5m", "`m` could be minutes or milliseconds: write `5min` or `5ms`"),
            ("5sec", "unknown unit `sec`: did you mean `5s`?"),
            ("5µs", "unknown unit `µs`: did you mean `5us`?"),
            ("5mbit", "unknown unit `mbit`: expected one of `ns`, `us`, `ms`, `s`, `min`, `h`"),
            ("0x10s", "unknown unit `x10s`: expected one of `ns`, `us`, `ms`, `s`, `min`, `h`"),
            ("99999999999999999999s", "`99999999999999999999s` is too long for a duration"),
            ("9999999999999h", "`9999999999999h` is too long for a duration"),
        ] {
            assert_eq!(parse_duration(text), Err(message.to_owned()), "{text}");
        }
    }
}
