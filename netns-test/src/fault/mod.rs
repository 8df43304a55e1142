//! Faults: what a test does to its network, each until its guard ends.
//!
//! What vanishes is picked out by filters at the nodes' interfaces, each fault's its own: so faults overlap freely, and a link
//! works again when the last one that concerns it has ended.

mod crash;
mod frames;
mod group;
mod hold;
mod hook;
mod link;
mod partition;
mod ways;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use self::crash::Crashed;
pub use self::hold::Hold;
pub(crate) use self::hold::Station;
use self::hook::Hook;
pub(crate) use self::hook::Hooked;
use crate::error::{Doing, Error};
use crate::network::Net;
use crate::node::{Interface, Node};

/// How many faults that have ended are remembered for the report.
const MOST_ENDED: usize = 8;

/// The most faults that are in force at once.
const MOST: u16 = u16::MAX - 1;

/// The faults of one network.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u16,
    /// How many changes that are no faults there have been.
    changes: u64,
    /// In the order in which they began.
    notes: Vec<Note>,
    failures: Vec<String>,
    /// Of each interface how many packets were lost that nothing held any more, and why the last ones were.
    lost: BTreeMap<String, (u64, String)>,
}

/// What a note of the report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Fault(u16),
    Change(u64),
}

/// Something else than a fault that a test changes for a while, as the report tells it.
#[derive(Debug)]
pub(crate) struct Change(u64);

/// A change that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Told {
    net: Weak<Net>,
    change: Option<Change>,
}

impl Drop for Told {
    fn drop(&mut self) {
        // With the network, its report has been written.
        if let (Some(net), Some(change)) = (self.net.upgrade(), self.change.take()) {
            net.faults.end_change(change);
        }
    }
}

/// What the report tells of a fault.
#[derive(Debug)]
struct Note {
    subject: Subject,
    text: String,
    began: Instant,
    ended: Option<Instant>,
}

impl Note {
    fn new(subject: Subject, text: String) -> Self {
        Self { subject, text, began: Instant::now(), ended: None }
    }

    fn is(&self, subject: Subject) -> bool {
        self.subject == subject
    }
}

impl State {
    /// Forgets the oldest of too many that have ended.
    fn trim(&mut self) {
        let ended = self.notes.iter().filter(|note| note.ended.is_some()).count();
        if ended > MOST_ENDED
            && let Some(oldest) = self.notes.iter().position(|note| note.ended.is_some())
        {
            self.notes.remove(oldest);
        }
    }
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what could not be ended: the test fails over it.
    pub(crate) fn failed(&self, text: String) {
        self.state().failures.push(text);
    }

    /// Notes a fault that begins, and gives it a number that no other one has.
    fn begin(&self, text: String) -> Result<u16, Error> {
        let mut state = self.state();
        let is_free = |number: &u16| {
            !state.notes.iter().any(|note| note.is(Subject::Fault(*number)) && note.ended.is_none())
        };
        // 0 leaves the choice to the kernel, and the last one is that of redirections.
        let number = (state.last.saturating_add(1)..=MOST).chain(1..=state.last).find(is_free);
        let Some(number) = number else {
            return Err(Error::because(text, format!("there are {MOST} faults already")));
        };
        state.last = number;
        state.notes.push(Note::new(Subject::Fault(number), text));
        Ok(number)
    }

    fn end(&self, number: u16) {
        self.note_end(Subject::Fault(number));
    }

    /// Notes something else that begins: other conditions of a link, another firewall.
    pub(crate) fn begin_change(&self, text: &str, place: &Location<'_>) -> Change {
        let mut state = self.state();
        state.changes += 1;
        let number = state.changes;
        let text = format!("{text} ({}:{})", place.file(), place.line());
        state.notes.push(Note::new(Subject::Change(number), text));
        Change(number)
    }

    /// Notes what a test did at once, and what has no end.
    pub(crate) fn done(&self, text: &str, place: &Location<'_>) {
        let change = self.begin_change(text, place);
        let mut state = self.state();
        let note = state.notes.iter_mut().find(|note| note.is(Subject::Change(change.0)));
        if let Some(note) = note {
            note.ended = Some(note.began);
        }
        state.trim();
    }

    /// As [`begin_change`](Self::begin_change), until what is returned is dropped.
    pub(crate) fn tell(net: &Arc<Net>, text: &str, place: &Location<'_>) -> Told {
        Told { net: Arc::downgrade(net), change: Some(net.faults.begin_change(text, place)) }
    }

    pub(crate) fn end_change(&self, change: Change) {
        self.note_end(Subject::Change(change.0));
    }

    fn note_end(&self, subject: Subject) {
        let mut state = self.state();
        if let Some(note) = state.notes.iter_mut().find(|note| note.is(subject) && note.ended.is_none()) {
            note.ended = Some(Instant::now());
        }
        state.trim();
    }

    fn forget(&self, number: u16) {
        self.state().notes.retain(|note| !note.is(Subject::Fault(number)) || note.ended.is_some());
    }

    /// Says what went wrong when a guard was dropped: it fails the test.
    fn fail(&self, failure: &str) {
        self.state().failures.push(failure.to_owned());
    }

    /// Notes packets that were lost on the way by which an interface's packets go since they were held, while nothing holds them.
    fn lost_behind_hold(&self, interface: &str, count: u64, why: &str) {
        let mut state = self.state();
        let lost = state.lost.entry(interface.to_owned()).or_default();
        *lost = (lost.0 + count, why.to_owned());
    }

    /// What went wrong when guards were dropped.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.state().failures.clone()
    }

    /// Those that are in force and the last that were, a line each; times are counted from the body's start.
    pub(crate) fn lines(&self, started: Option<Instant>) -> Vec<String> {
        let after = |moment: Instant| {
            let after = started.map_or(Duration::ZERO, |started| moment.saturating_duration_since(started));
            format!("{} ms", after.as_millis())
        };
        let line = |note: &Note| match note.ended {
            None => format!("in force since {}: {}", after(note.began), note.text),
            Some(ended) if ended == note.began => format!("at {}: {}", after(ended), note.text),
            Some(ended) => format!("from {} to {}: {}", after(note.began), after(ended), note.text),
        };
        let state = self.state();
        let lost = state.lost.iter().map(|(interface, (count, why))| {
            format!("{count} packets that `{interface}` sent were lost behind a hold that had ended: {why}")
        });
        state.notes.iter().map(line).chain(lost).collect()
    }
}

/// A fault of the network, which ends when this is dropped, or by [`repair`](Fault::repair).
///
/// Faults nest and overlap: each one's packets vanish until it ends itself, and a link works again when the last one that concerns
/// it has ended. One that cannot be ended as it is dropped fails the test. With a node that leaves its network, a pod that is deleted
/// for instance, what concerns its interfaces has ended.
///
/// [`guide::faults`](crate::guide::faults) tells what each does to packets, connections and routes.
#[must_use = "the fault ends when this is dropped"]
pub struct Fault {
    /// `None` when it has ended.
    active: Option<Active>,
}

/// What has to be undone.
struct Active {
    net: Weak<Net>,
    number: u16,
    hooks: Vec<Hook>,
    /// Interfaces that are switched off.
    off: Vec<Interface>,
}

impl Fault {
    /// Has frames vanish at these interfaces. `text` says what it is about, as in "`a` is isolated".
    fn vanish(node: &Node, text: &str, hooks: Vec<Hook>, place: &Location<'_>) -> Result<Self, Error> {
        let mut fault = Self::begin(node, text, place)?;
        for hook in hooks {
            fault.add(|active| match hook.put(active.number) {
                Ok(()) => {
                    active.hooks.push(hook);
                    Ok(())
                }
                // Nothing passes there: a test may delete what was declared, or move it away.
                Err(_) if hook.interface.is_gone() => Ok(()),
                Err(error) => Err(error),
            })?;
        }
        Ok(fault)
    }

    /// Switches an interface off.
    fn switch_off(interface: &Interface, place: &Location<'_>) -> Result<Self, Error> {
        let text = format!("`{interface}` is unplugged");
        let mut fault = Self::begin(interface.node(), &text, place)?;
        fault.add(|active| {
            interface.unplug_once_more(active.number)?;
            active.off.push(interface.clone());
            Ok(())
        })?;
        Ok(fault)
    }

    fn begin(node: &Node, text: &str, place: &Location<'_>) -> Result<Self, Error> {
        let net = node.net().doing(|| "begin a fault")?;
        let number = net.faults.begin(format!("{text} ({}:{})", place.file(), place.line()))?;
        let active = Active { net: Arc::downgrade(&net), number, hooks: Vec::new(), off: Vec::new() };
        Ok(Self { active: Some(active) })
    }

    /// Does one more thing for it, or takes back what has been done.
    fn add(&mut self, act: impl FnOnce(&mut Active) -> Result<(), Error>) -> Result<(), Error> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let Err(error) = act(active) else { return Ok(()) };
        if let Some(active) = self.active.take() {
            let undone = active.undo();
            if let Some(net) = active.net.upgrade() {
                net.faults.forget(active.number);
            }
            // The roll-back's own failures are told with what it was for.
            if let Err(more) = undone {
                return Err(Error::because("begin the fault", format!("{error}; and then {more}")));
            }
        }
        Err(error)
    }

    /// Ends the fault: what it was about works again when this returns, as far as no other fault concerns it.
    ///
    /// # Errors
    /// The kernel's own: somebody else has removed the filters by which packets vanished, for instance. An interface that was
    /// [unplugged](Interface::unplug) and that somebody else has switched on is no error.
    pub fn repair(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(active) = self.active.take() else { return Ok(()) };
        let Some(net) = active.net.upgrade().filter(|net| !net.has_ended()) else {
            // With the network, all of it is gone.
            return Ok(());
        };
        let undone = active.undo();
        net.faults.end(active.number);
        match undone {
            // Torn down meanwhile.
            Err(_) if net.has_ended() => Ok(()),
            undone => undone,
        }
    }
}

impl Active {
    /// All of it, also where a part is refused; the first refusal is told.
    fn undo(&self) -> Result<(), Error> {
        // With a node that has left, its interfaces are gone.
        let unless_gone = |interface: &Interface, undone| match undone {
            Err(_) if interface.node().has_left() => Ok(()),
            undone => undone,
        };
        let hooks = self.hooks.iter().map(|hook| unless_gone(&hook.interface, hook.remove(self.number)));
        let off =
            self.off.iter().map(|interface| unless_gone(interface, interface.plug_in_once(self.number)));
        hooks.chain(off).fold(Ok(()), Result::and)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let net = self.active.as_ref().map(|active| Weak::clone(&active.net));
        if let (Err(error), Some(net)) = (self.end(), net.and_then(|net| net.upgrade())) {
            net.faults.fail(&format!("{error} (as the guard of a fault was dropped)"));
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.active.as_ref().map(|active| active.number);
        f.debug_struct("Fault").field("number", &number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, MOST_ENDED};

    #[test]
    fn numbers_are_used_again_and_old_faults_forgotten() {
        let faults = Faults::default();
        let lasting = faults.begin("lasting".to_owned()).unwrap();
        for round in 0..70_000_u32 {
            let number = faults.begin(format!("fault {round}")).unwrap();
            assert!(number != lasting && number != 0);
            faults.end(number);
        }
        let lines = faults.lines(None);
        assert_eq!(lines.len(), 1 + MOST_ENDED);
        assert!(lines[0].starts_with("in force since 0 ms: lasting"), "{lines:?}");
        assert!(lines[MOST_ENDED].ends_with("fault 69999"), "{lines:?}");
    }

    #[test]
    fn what_has_no_end_has_one_time() {
        let faults = Faults::default();
        let here = std::panic::Location::caller();
        for round in 0..=MOST_ENDED {
            faults.done(&format!("round {round}"), here);
        }
        let lines = faults.lines(None);
        assert_eq!(lines.len(), MOST_ENDED);
        assert!(lines[0].starts_with("at 0 ms: round 1 ("), "{lines:?}");
    }

    #[test]
    fn what_is_lost_when_nothing_is_held_is_told_with_its_cause() {
        let faults = Faults::default();
        assert_eq!(faults.lines(None), [] as [&str; 0]);
        faults.lost_behind_hold("a/eth0", 2, "they came faster than they were taken up");
        faults.lost_behind_hold("a/eth0", 1, "the interface refused them: ENOBUFS");
        let told = "3 packets that `a/eth0` sent were lost behind a hold that had ended: the interface refused them: ENOBUFS";
        assert_eq!(faults.lines(None), [told]);
    }
}
