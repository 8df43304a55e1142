//! Rates and queues as they are written in the attribute: `10mbit`, `64kb`, `100packets`.

use super::{Queue, Rate};
use crate::parse_duration;

/// The units of a rate, in bits per second, in the order in which messages list them.
const RATES: [(&str, u64); 4] = [("bit", 1), ("kbit", 1000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// Other spellings of them, and what they most likely mean. To tc(8) `mbps` are bytes, to most people bits.
const MEANT: [(&str, &str); 20] = [
    ("bps", "bit"),
    ("bits", "bit"),
    ("k", "kbit"),
    ("K", "kbit"),
    ("kbps", "kbit"),
    ("Kbps", "kbit"),
    ("Kbit", "kbit"),
    ("kb", "kbit"),
    ("kbits", "kbit"),
    ("m", "mbit"),
    ("M", "mbit"),
    ("mbps", "mbit"),
    ("Mbps", "mbit"),
    ("Mbit", "mbit"),
    ("mb", "mbit"),
    ("mbits", "mbit"),
    ("g", "gbit"),
    ("gbps", "gbit"),
    ("Gbps", "gbit"),
    ("Gbit", "gbit"),
];

/// The units of a queue's size in bytes.
const SIZES: [(&str, u64); 5] =
    [("bytes", 1), ("kb", 1000), ("mb", 1_000_000), ("kib", 1 << 10), ("mib", 1 << 20)];

/// The rate that a literal such as `10mbit` or `1.5mbit` stands for.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let (number, unit) = split(text);
    let is_none = || format!("`{text}` is no rate: write a number and a unit, as in `10mbit`");
    if number.is_empty() {
        return Err(is_none());
    }
    let Some((_, size)) = RATES.iter().find(|(name, _)| *name == unit) else {
        let names = RATES.map(|(name, _)| format!("`{name}`")).join(", ");
        return Err(match MEANT.iter().find(|(other, _)| *other == unit) {
            Some((_, name)) => {
                format!("unknown unit `{unit}`: did you mean `{name}`? (bits in a second: {names})")
            }
            None if unit.is_empty() => format!("`{text}` has no unit: write `{number}mbit`"),
            None => format!("unknown unit `{unit}`: expected one of {names}"),
        });
    };
    scaled(&number, *size).map(Rate::bit).ok_or_else(is_none)
}

/// The queue that a literal such as `50ms`, `64kb` or `100packets` stands for.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn parse_queue(text: &str) -> Result<Queue, String> {
    let (number, unit) = split(text);
    let is_none = || {
        format!(
            "`{text}` is no queue: write it as a time (`50ms`), in bytes (`64kb`) or packets (`100packets`)"
        )
    };
    match unit {
        "packets" | "packet" => number.parse().map(Queue::Packets).map_err(|_| is_none()),
        _ => match SIZES.iter().find(|(name, _)| *name == unit) {
            Some((_, size)) => scaled(&number, *size).map(Queue::Bytes).ok_or_else(is_none),
            None => parse_duration(text).map(Queue::Time).map_err(|_| is_none()),
        },
    }
}

/// The number without underscores, and the unit.
fn split(text: &str) -> (String, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
    (text[..at].replace('_', ""), &text[at..])
}

fn scaled(number: &str, size: u64) -> Option<u64> {
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(size),
        Err(_) => {
            let scaled = number.parse::<f64>().ok()? * size as f64;
            (scaled.fract() == 0.0 && scaled < 1e15).then_some(scaled as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_and_queues_are_read() {
        for (text, rate) in [
            ("10mbit", Rate::mbit(10)),
            ("1.5mbit", Rate::kbit(1500)),
            ("64kbit", Rate::kbit(64)),
            ("1_000bit", Rate::kbit(1)),
            ("2gbit", Rate::gbit(2)),
            ("0mbit", Rate::bit(0)),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
        for (text, queue) in [
            ("50ms", Queue::Time(Duration::from_millis(50))),
            ("64kb", Queue::Bytes(64_000)),
            ("64kib", Queue::Bytes(65_536)),
            ("3000bytes", Queue::Bytes(3000)),
            ("100packets", Queue::Packets(100)),
        ] {
            assert_eq!(parse_queue(text), Ok(queue), "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_the_fix() {
        for (text, message) in [
            ("10mbps", "unknown unit `mbps`: did you mean `mbit`?"),
            ("10Mbit", "unknown unit `Mbit`: did you mean `mbit`?"),
            ("10", "`10` has no unit: write `10mbit`"),
            ("10ms", "unknown unit `ms`: expected one of `bit`, `kbit`, `mbit`, `gbit`"),
            ("fast", "`fast` is no rate"),
            ("0.0001bit", "`0.0001bit` is no rate"),
        ] {
            let error = parse_rate(text).unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
        for text in ["10", "1.5packets", "10mbit", "fast"] {
            assert!(parse_queue(text).unwrap_err().contains("is no queue"), "{text}");
        }
    }
}
