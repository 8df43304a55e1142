//! As much of DNS (RFC 1035) as one line shows.

use std::net::{Ipv4Addr, Ipv6Addr};

const RESPONSE_CODES: [&str; 6] = ["NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused"];

/// A DNS message in the words of tcpdump(8): `4711 A? db.test`, `4711 NXDomain`, `4711 A 10.0.0.2`.
///
/// `None` where it is none. Names are not followed over their compression.
pub(super) fn summary(message: &[u8]) -> Option<String> {
    let mut reader = Reader { bytes: message, at: 0 };
    let id = reader.number()?;
    let flags = reader.number()?;
    let [questions, answers, _, _] = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    let is_answer = flags & 0x8000 != 0;
    // Nobody asks two things at once, and what answers nothing is no answer. Opcode 0 is a question.
    if questions != 1 && (!is_answer || questions > 1) || flags & 0x7800 != 0 {
        return None;
    }
    let mut asked = String::new();
    if questions == 1 {
        let name = reader.name()?;
        let kind = reader.number()?;
        reader.number()?;
        asked = format!("{}? {name}", type_name(kind));
    }
    if !is_answer {
        return Some(format!("{id} {asked}"));
    }
    let code = flags & 0xf;
    let truncated = if flags & 0x0200 != 0 { " truncated" } else { "" };
    if code != 0 {
        let code =
            RESPONSE_CODES.get(usize::from(code)).map_or_else(|| format!("code {code}"), ToString::to_string);
        return Some(format!("{id} {code}{truncated}, {asked}"));
    }
    let mut records = Vec::new();
    for _ in 0..answers.min(4) {
        let Some(record) = reader.record() else { break };
        records.push(record);
    }
    let records = match (answers, records.is_empty()) {
        (0, _) => "no answer".to_owned(),
        (count, true) => format!("{count} answers"),
        (count, false) if usize::from(count) > records.len() => format!("{}, …", records.join(", ")),
        _ => records.join(", "),
    };
    Some(format!("{id} {records}{truncated}, {asked}"))
}

fn type_name(kind: u16) -> String {
    let name = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        65 => "HTTPS",
        255 => "ANY",
        _ => return format!("TYPE{kind}"),
    };
    name.to_owned()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name; one that is compressed is passed over, and shown as far as it is written out.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            match self.take(1)?[0] {
                0 => break,
                length @ 1..64 => {
                    let label = self.take(length.into())?;
                    name.extend(label.escape_ascii().map(char::from));
                    name.push('.');
                }
                192.. => {
                    self.take(1)?;
                    break;
                }
                _ => return None,
            }
        }
        if name.len() > 1 {
            name.pop();
        }
        Some(if name.is_empty() { ".".to_owned() } else { name })
    }

    /// One answer: its type and, of addresses, its data.
    fn record(&mut self) -> Option<String> {
        self.name()?;
        let kind = self.number()?;
        self.take(6)?;
        let length = self.number()?;
        let data = self.take(length.into())?;
        let text = match (kind, data) {
            (1, &[a, b, c, d]) => format!(" {}", Ipv4Addr::new(a, b, c, d)),
            (28, data) => <[u8; 16]>::try_from(data)
                .map_or_else(|_| String::new(), |bytes| format!(" {}", Ipv6Addr::from(bytes))),
            _ => String::new(),
        };
        Some(format!("{}{text}", type_name(kind)))
    }
}
