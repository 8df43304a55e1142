//! Ways to break the server, for all names or for one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use simple_dns::RCODE;
use tokio::sync::watch;

use crate::fault::Told;

/// A response code (RFC 1035 section 4.1.1), by its mnemonic in IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rcode {
    /// No error; with it, [`answer_with`](super::Server::answer_with) sends an answer that has nothing in it.
    NoError,
    /// The server did not understand the query.
    FormErr,
    /// The server has a problem.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// The server cannot answer such queries.
    NotImp,
    /// The server does not want to.
    Refused,
}

/// As dig(1) has it: `SERVFAIL`.
impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoError => "NOERROR",
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
        })
    }
}

impl From<Rcode> for RCODE {
    fn from(rcode: Rcode) -> Self {
        match rcode {
            Rcode::NoError => Self::NoError,
            Rcode::FormErr => Self::FormatError,
            Rcode::ServFail => Self::ServerFailure,
            Rcode::NxDomain => Self::NameError,
            Rcode::NotImp => Self::NotImplemented,
            Rcode::Refused => Self::Refused,
        }
    }
}

/// What a fault does to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Silence,
    Hold,
    Delay(Duration),
    Answer(Rcode),
    Truncate,
    WrongId,
}

/// What it does, as the report tells it of a server.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("is silent"),
            Self::Hold => f.write_str("holds its answers"),
            Self::Delay(by) => write!(f, "answers {by:?} later"),
            Self::Answer(rcode) => write!(f, "answers with {rcode}"),
            Self::Truncate => f.write_str("truncates its answers"),
            Self::WrongId => f.write_str("answers with other ids"),
        }
    }
}

#[derive(Debug)]
struct Active {
    number: u64,
    /// The name that it is about; `None` for all.
    name: Option<String>,
    kind: Kind,
}

/// The faults that are in force, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Faults {
    active: Vec<Active>,
    begun: u64,
}

/// What the faults make of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) silence: bool,
    pub(super) hold: bool,
    pub(super) delay: Duration,
    pub(super) rcode: Option<Rcode>,
    pub(super) truncate: bool,
    pub(super) wrong_id: bool,
}

impl Faults {
    pub(super) fn effect(&self, name: &str) -> Effect {
        let mut effect = Effect::default();
        let concerned =
            self.active.iter().filter(|fault| fault.name.as_deref().is_none_or(|only| only == name));
        for fault in concerned {
            match fault.kind {
                Kind::Silence => effect.silence = true,
                Kind::Hold => effect.hold = true,
                // The longest of several; of response codes the last.
                Kind::Delay(delay) => effect.delay = effect.delay.max(delay),
                Kind::Answer(rcode) => effect.rcode = Some(rcode),
                Kind::Truncate => effect.truncate = true,
                Kind::WrongId => effect.wrong_id = true,
            }
        }
        effect
    }
}

/// A fault of a [`Server`](super::Server), which ends when this is dropped.
///
/// Several at once add up; of two response codes the later one is sent, of two delays the longer one is kept.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct Fault {
    faults: Arc<watch::Sender<Faults>>,
    number: u64,
    /// What the report tells of it, until it ends.
    _told: Option<Told>,
}

impl Fault {
    pub(super) fn begin(
        faults: &Arc<watch::Sender<Faults>>,
        name: Option<String>,
        kind: Kind,
        told: Option<Told>,
    ) -> Self {
        let mut number = 0;
        faults.send_modify(|faults| {
            faults.begun += 1;
            number = faults.begun;
            faults.active.push(Active { number, name, kind });
        });
        Self { faults: Arc::clone(faults), number, _told: told }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.faults.send_modify(|faults| faults.active.retain(|fault| fault.number != self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_in_force_for_their_names_until_they_are_dropped() {
        let faults = Arc::new(watch::Sender::new(Faults::default()));
        let of = |name: &str| faults.borrow().effect(name);
        let all = Fault::begin(&faults, None, Kind::Answer(Rcode::Refused), None);
        let one = Fault::begin(&faults, Some("a.test".to_owned()), Kind::Answer(Rcode::ServFail), None);
        let late =
            Fault::begin(&faults, Some("a.test".to_owned()), Kind::Delay(Duration::from_secs(1)), None);
        assert_eq!((of("a.test").rcode, of("b.test").rcode), (Some(Rcode::ServFail), Some(Rcode::Refused)));
        assert_eq!((of("a.test").delay, of("b.test").delay), (Duration::from_secs(1), Duration::ZERO));
        drop(one);
        assert_eq!(of("a.test").rcode, Some(Rcode::Refused));
        drop((all, late));
        assert_eq!(of("a.test"), Effect::default());
    }
}
