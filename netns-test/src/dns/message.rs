//! From the bytes of a query to those of its answer.

use simple_dns::rdata::{OPT, RData, SOA};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, SimpleDnsError,
};

use super::Transport;
use super::fault::Effect;
use super::record::RecordType;
use super::zone::{Outcome, Zone};

/// The most that a client takes over UDP that does not say otherwise (RFC 1035 section 4.2.1).
const UDP_SIZE: usize = 512;

/// The UDP size that the server says it takes itself: what fits into one packet nearly everywhere (RFC 9715).
const OWN_UDP_SIZE: u16 = 1232;

/// What a query asks.
pub(super) struct Asked {
    /// In lower case, without a dot at the end.
    pub(super) name: String,
    pub(super) record_type: RecordType,
}

/// Reads a message of at least a header.
///
/// Room is made for as many questions and records as the header says, so they have to fit: a question takes 5 bytes at least, a record 11
/// (RFC 1035 section 4.1).
fn parse(bytes: &[u8]) -> Result<Packet<'_>, RCODE> {
    let count = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    if 12 + 5 * count(4) + 11 * (count(6) + count(8) + count(10)) > bytes.len() {
        return Err(RCODE::FormatError);
    }
    Packet::parse(bytes).map_err(|error| match error {
        SimpleDnsError::InvalidQType(_) => RCODE::NotImplemented,
        _ => RCODE::FormatError,
    })
}

/// The question of a message that [is a query](is_query); `None` where it has none that could be read.
pub(super) fn question(bytes: &[u8]) -> Option<Asked> {
    let packet = parse(bytes).ok()?;
    let [question] = &packet.questions[..] else { return None };
    Some(Asked {
        name: question.qname.to_string().to_ascii_lowercase(),
        record_type: RecordType::of(question.qtype),
    })
}

/// Whether a message is one that has to be answered: an answer to an answer would go on for ever.
pub(super) fn is_query(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && bytes[2] & 0x80 == 0
}

/// The answer to a query.
pub(super) fn answer(
    bytes: &[u8],
    server: &str,
    zone: &Zone,
    effect: Effect,
    transport: Transport,
) -> Vec<u8> {
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    let sent_id = if effect.wrong_id { !id } else { id };
    let built = parse(bytes).and_then(|query| {
        let limit = match transport {
            Transport::Tcp => usize::from(u16::MAX),
            // RFC 6891 section 6.2.3: less than 512 means 512.
            Transport::Udp => query.opt().map_or(UDP_SIZE, |opt| UDP_SIZE.max(opt.udp_packet_size.into())),
        };
        let truncate = effect.truncate && transport == Transport::Udp;
        respond(&query, sent_id, server, zone, effect, if truncate { 0 } else { limit })
    });
    built.unwrap_or_else(|rcode| {
        let mut reply = Packet::new_reply(sent_id);
        *reply.rcode_mut() = rcode;
        // A header alone can be written always.
        reply.build_bytes_vec().unwrap_or_default()
    })
}

fn respond(
    query: &Packet<'_>,
    id: u16,
    server: &str,
    zone: &Zone,
    effect: Effect,
    limit: usize,
) -> Result<Vec<u8>, RCODE> {
    let answers;
    let mut reply = Packet::new_reply(id);
    *reply.opcode_mut() = query.opcode();
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.clone_from(&query.questions);
    if query.opt().is_some() {
        *reply.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: OWN_UDP_SIZE, version: 0 });
    }
    *reply.rcode_mut() = match (effect.rcode, refused(query)) {
        (Some(rcode), _) => rcode.into(),
        (None, Some(rcode)) => rcode,
        (None, None) => {
            let question = query.questions.first().ok_or(RCODE::FormatError)?;
            let name = question.qname.to_string().to_ascii_lowercase();
            let outcome;
            (answers, outcome) = zone.find(&name, RecordType::of(question.qtype));
            for answer in &answers {
                let owner = match &answer.owner {
                    // In the spelling of the question: some clients mix cases to tell forged answers.
                    None => question.qname.clone(),
                    Some(owner) => Name::new(owner).map_err(|_| RCODE::ServerFailure)?,
                };
                let data = answer.record.rdata().map_err(|_| RCODE::ServerFailure)?;
                reply.answers.push(ResourceRecord::new(owner, CLASS::IN, answer.ttl, data));
            }
            if matches!(outcome, Outcome::NoData | Outcome::NoName) {
                reply.name_servers.push(authority(server, zone.ttl)?);
            }
            match outcome {
                Outcome::Found | Outcome::NoData => RCODE::NoError,
                Outcome::NoName => RCODE::NameError,
                Outcome::Loop => RCODE::ServerFailure,
            }
        }
    };
    let write = |reply: &Packet<'_>| reply.build_bytes_vec_compressed().map_err(|_| RCODE::ServerFailure);
    let bytes = write(&reply)?;
    if bytes.len() <= limit {
        return Ok(bytes);
    }
    // RFC 2181 section 9: what is left of a truncated answer is not to be used, so nothing is left.
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.answers.clear();
    reply.name_servers.clear();
    write(&reply)
}

/// Why a query cannot be answered, whatever it asks for.
fn refused(query: &Packet<'_>) -> Option<RCODE> {
    if query.opcode() != OPCODE::StandardQuery {
        return Some(RCODE::NotImplemented);
    }
    let [question] = &query.questions[..] else { return Some(RCODE::FormatError) };
    let is_internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
    let is_transfer = matches!(question.qtype, QTYPE::AXFR | QTYPE::IXFR);
    (!is_internet || is_transfer).then_some(RCODE::Refused)
}

/// What says for how long nothing may be kept (RFC 2308 section 3): the server is the authority for the root, so for all.
fn authority(server: &str, ttl: u32) -> Result<ResourceRecord<'_>, RCODE> {
    let name = || Name::new(server).map_err(|_| RCODE::ServerFailure);
    let soa = SOA {
        mname: name()?,
        rname: name()?,
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 86400,
        minimum: ttl,
    };
    let root = Name::new_with_labels(&[]);
    Ok(ResourceRecord::new(root, CLASS::IN, ttl, RData::SOA(soa)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_queries_are_answered_by_what_can_be_read() {
        let query = |name: &str, kind: u8| {
            let mut bytes = vec![0x12, 0x67, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            for label in name.split('.') {
                bytes.push(label.len() as u8);
                bytes.extend(label.as_bytes());
            }
            bytes.extend([0, 0, kind, 0, 1]);
            // EDNS (RFC 6891).
            bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
            bytes
        };
        let mut looped = query("loop", 1);
        looped[12..14].copy_from_slice(&[0xc0, 12]);
        let samples = vec![query("db.test", 1), query("db.test", 28), query("nobody", 255), looped];
        let mut zone = Zone::default();
        let ip = std::net::Ipv4Addr::new(10, 0, 0, 2);
        zone.set("db.test".to_owned(), vec![super::super::record::Record::A(ip)]).unwrap();
        crate::fuzz::survives("queries", samples, move |bytes| {
            if !is_query(bytes) {
                return;
            }
            let _asked = question(bytes).map(|asked| asked.name);
            for transport in [Transport::Udp, Transport::Tcp] {
                let answer = answer(bytes, "server", &zone, Effect::default(), transport);
                assert!(answer.len() >= 12 && answer[2] & 0x80 != 0 && answer[..2] == bytes[..2]);
            }
        });
    }
}
