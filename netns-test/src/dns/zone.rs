//! What the server knows, and what it finds for a question. No message and no socket is seen here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::record::{Record, RecordType};

/// How many aliases are followed before they count as a loop.
const MOST_ALIASES: usize = 8;

/// All names of the server, which is the authority for everything.
#[derive(Debug, Default)]
pub(super) struct Zone {
    names: BTreeMap<String, Entry>,
    /// Seconds for which answers may be kept, where a name does not say otherwise.
    pub(super) ttl: u32,
}

#[derive(Debug, Default)]
struct Entry {
    records: Vec<Record>,
    ttl: Option<u32>,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whose it is; `None` for the name that was asked, in the spelling of the question.
    pub(super) owner: Option<String>,
    pub(super) ttl: u32,
    pub(super) record: Record,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    /// The name is there, and has nothing of this type (RFC 2308 section 2.2).
    NoData,
    /// There is no such name (RFC 2308 section 2.1).
    NoName,
    /// Aliases lead round in a circle.
    Loop,
}

impl Zone {
    /// One more record of a name.
    pub(super) fn add(&mut self, name: String, record: Record) -> Result<(), String> {
        let existing = self.names.get(&name).map_or(&[][..], |entry| &entry.records);
        compatible(&name, existing.iter().chain([&record]))?;
        let records = &mut self.names.entry(name).or_default().records;
        if !records.contains(&record) {
            records.push(record);
        }
        Ok(())
    }

    /// All records of a name; without any, the name is there and has nothing.
    pub(super) fn set(&mut self, name: String, records: Vec<Record>) -> Result<(), String> {
        compatible(&name, &records)?;
        self.names.entry(name).or_default().records = records;
        Ok(())
    }

    /// Whether the name was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.names.remove(name).is_some()
    }

    /// Whether the name is there.
    pub(super) fn set_ttl(&mut self, name: &str, ttl: u32) -> bool {
        self.names.get_mut(name).map(|entry| entry.ttl = Some(ttl)).is_some()
    }

    /// What there is for a question; aliases are followed (RFC 1034 section 4.3.2).
    pub(super) fn find(&self, name: &str, wanted: RecordType) -> (Vec<Answer>, Outcome) {
        let mut answers = Vec::new();
        let mut current = name;
        for hop in 0..MOST_ALIASES {
            let Some(entry) = self.names.get(current) else {
                let outcome = if self.has_below(current) { Outcome::NoData } else { Outcome::NoName };
                return (answers, outcome);
            };
            let answer = |record: &Record| Answer {
                owner: (hop > 0).then(|| current.to_owned()),
                ttl: entry.ttl.unwrap_or(self.ttl),
                record: record.clone(),
            };
            let is_wanted = |record: &&Record| wanted == RecordType::Any || record.record_type() == wanted;
            let before = answers.len();
            answers.extend(entry.records.iter().filter(is_wanted).map(answer));
            if answers.len() > before {
                return (answers, Outcome::Found);
            }
            match entry.records.first() {
                Some(alias @ Record::Cname(target)) => {
                    answers.push(answer(alias));
                    current = target;
                }
                _ => return (answers, Outcome::NoData),
            }
        }
        (answers, Outcome::Loop)
    }

    /// Whether a name ends with this one: then it exists without having anything (RFC 8020).
    fn has_below(&self, name: &str) -> bool {
        name.is_empty()
            || self.names.keys().any(|other| other.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')))
    }
}

fn compatible<'a>(name: &str, records: impl IntoIterator<Item = &'a Record>) -> Result<(), String> {
    let mut records: Vec<&Record> = records.into_iter().collect();
    records.dedup();
    let has_alias = records.iter().any(|record| matches!(record, Record::Cname(_)));
    match has_alias && records.len() > 1 {
        true => Err(format!("`{name}` would have a CNAME beside other records (RFC 1034 section 3.6.2)")),
        false => Ok(()),
    }
}

/// The name under which an address has its names (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(crate) fn reverse(ip: IpAddr) -> String {
    let mut name = String::new();
    // Writing to a String cannot fail.
    match ip {
        IpAddr::V4(ip) => {
            for octet in ip.octets().iter().rev() {
                let _infallible = write!(name, "{octet}.");
            }
            name + "in-addr.arpa"
        }
        IpAddr::V6(ip) => {
            for octet in ip.octets().iter().rev() {
                let _infallible = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(records: &[(&str, Record)]) -> Zone {
        let mut zone = Zone::default();
        for (name, record) in records {
            zone.add((*name).to_owned(), record.clone()).expect("it fits");
        }
        zone
    }

    fn a(last: u8) -> Record {
        Record::A([10, 0, 0, last].into())
    }

    #[test]
    fn a_name_has_data_or_not_or_is_not_there() {
        let zone = zone(&[("db.test", a(1)), ("db.test", a(2)), ("db.test", a(1))]);
        assert_eq!(zone.find("db.test", RecordType::A).0.len(), 2);
        assert_eq!(zone.find("db.test", RecordType::Aaaa), (Vec::new(), Outcome::NoData));
        assert_eq!(zone.find("test", RecordType::A), (Vec::new(), Outcome::NoData));
        assert_eq!(zone.find("b.test", RecordType::A), (Vec::new(), Outcome::NoName));
        assert_eq!(zone.find("est", RecordType::A), (Vec::new(), Outcome::NoName));
    }

    #[test]
    fn aliases_are_followed_to_the_end() {
        let alias = |target: &str| Record::Cname(target.to_owned());
        let zone = zone(&[
            ("www.test", alias("web.test")),
            ("web.test", a(1)),
            ("lost.test", alias("nobody.test")),
            ("round.test", alias("about.test")),
            ("about.test", alias("round.test")),
        ]);
        let (answers, outcome) = zone.find("www.test", RecordType::A);
        assert_eq!((answers.len(), outcome), (2, Outcome::Found));
        assert_eq!((answers[0].owner.as_deref(), answers[1].owner.as_deref()), (None, Some("web.test")));
        assert_eq!(zone.find("www.test", RecordType::Cname).0.len(), 1);
        let (answers, outcome) = zone.find("lost.test", RecordType::A);
        assert_eq!((answers.len(), outcome), (1, Outcome::NoName));
        assert_eq!(zone.find("round.test", RecordType::A).1, Outcome::Loop);
    }

    #[test]
    fn an_alias_stands_alone() {
        let mut zone = zone(&[("a.test", a(1))]);
        let error = zone.add("a.test".to_owned(), Record::Cname("b.test".to_owned())).unwrap_err();
        assert!(error.contains("CNAME"), "{error}");
        zone.set("a.test".to_owned(), vec![Record::Cname("b.test".to_owned())]).expect("alone");
    }

    #[test]
    fn addresses_have_names_to_look_them_up() {
        assert_eq!(reverse([10, 0, 0, 2].into()), "2.0.0.10.in-addr.arpa");
        let v6 = reverse(IpAddr::V6("2001:db8::2".parse().unwrap()));
        assert_eq!(v6, format!("2.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23)));
    }
}
