//! Events of `tracing` for a test's report, with the node and the time of each.
//!
//! One subscriber serves all tests of the process: whose event it is, and of which node, follows from the namespace of the thread
//! that it came from. It is the default of threads that have none. A global one that is set later is heard all the same.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread;

use tracing_core::dispatcher::{self, DefaultGuard};
use tracing_core::field::{Field, Visit};
use tracing_core::subscriber::{Interest, NoSubscriber, Subscriber};
use tracing_core::{Dispatch, Event, LevelFilter, Metadata, span};

use crate::sys::packets;
use crate::sys::subscriber::{Beside, Logged};
use crate::{job, knob, registry};

/// The variable that says which events are recorded.
const VARIABLE: &str = "NETNS_TEST_LOG";

/// From which level on they are, where nobody says.
const LEVEL: LevelFilter = LevelFilter::INFO;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// How many events of a test are kept: the last ones.
const MOST: usize = 1000;

/// How many bytes of each.
const LONGEST: usize = 1000;

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// By the clock of the packets.
    pub(crate) time: u64,
    /// The node's name; `None` is the body's own namespace.
    pub(crate) node: Option<Arc<str>>,
    /// `INFO` and the target.
    pub(crate) source: String,
    pub(crate) text: String,
}

/// The events of a test.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<VecDeque<Entry>>);

impl Log {
    fn add(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The level that the environment names; `None` where it names none.
pub(crate) fn wanted() -> Result<Option<LevelFilter>, String> {
    let Some(value) = knob::value(VARIABLE) else { return Ok(None) };
    let known = LEVELS.iter().find(|(name, _)| value == *name);
    known.map(|(_, level)| Some(*level)).ok_or_else(|| {
        format!(
            "{VARIABLE} is `{}`: expected `error`, `warn`, `info`, `debug`, `trace` or `off`",
            value.display()
        )
    })
}

/// Who notes events beside a subscriber.
pub(crate) fn beside() -> Beside {
    // A value that is none has failed the test already.
    Beside { level: wanted().ok().flatten().unwrap_or(LEVEL), note }
}

/// Has the events of the calling thread noted, and of those that it starts in nodes, until the guard is dropped. A subscriber of its own stays
/// alone, unless the environment asks for its events.
pub(crate) fn listen() -> Option<DefaultGuard> {
    static ALONE: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(Logged::beside(Heard::of_nobody(), beside())));
    match (wanted().ok().flatten(), job::dispatch()) {
        (Some(LevelFilter::OFF), _) | (None, Some(_)) => None,
        (_, None) => Some(dispatcher::set_default(&ALONE)),
        (Some(_), Some(own)) if own.is::<Logged<Heard>>() => None,
        (Some(_), Some(own)) => {
            Some(dispatcher::set_default(&Dispatch::new(Logged::beside(Heard::of(own), beside()))))
        }
    }
}

fn note(event: &Event<'_>) {
    // A thread whose place is not known is in no test.
    let Some((place, net)) =
        registry::here().ok().flatten().and_then(|place| place.net.upgrade().map(|net| (place, net)))
    else {
        return;
    };
    let metadata = event.metadata();
    let mut text = Text::default();
    event.record(&mut text);
    let source = format!("{} {}", metadata.level(), metadata.target());
    net.log.add(Entry { time: packets::now(), node: place.node, source, text: text.finish() });
}

/// An event's message, and its other fields as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String fails only where a user's own `Debug` does: what it has written until then is shown.
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {}={value:?}", name.trim_start_matches("r#")),
        };
    }
}

impl Text {
    /// One line, of bounded length.
    fn finish(self) -> String {
        let mut text = (self.message + &self.fields).trim().replace('\n', " ⏎ ");
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
        text
    }
}

/// The subscriber that would hear events if nobody stood beside it.
struct Heard {
    dispatch: OnceLock<Dispatch>,
    /// Whether a global one may have been set since it was looked for.
    may_be_new: AtomicBool,
}

impl Heard {
    fn of(dispatch: Dispatch) -> Self {
        Self { dispatch: OnceLock::from(dispatch), may_be_new: AtomicBool::new(false) }
    }

    fn of_nobody() -> Self {
        Self { dispatch: OnceLock::new(), may_be_new: AtomicBool::new(true) }
    }

    fn dispatch(&self) -> Option<&Dispatch> {
        if self.dispatch.get().is_none() && self.may_be_new.swap(false, Ordering::AcqRel) {
            // A thread that has no default of its own sees the global one, which hides behind this one here.
            let look = || dispatcher::get_default(Dispatch::clone);
            let global = thread::Builder::new().spawn(look).ok().and_then(|looks| looks.join().ok());
            match global {
                Some(global) if !global.is::<NoSubscriber>() => {
                    self.dispatch.get_or_init(|| global);
                }
                Some(_none) => {}
                None => self.may_be_new.store(true, Ordering::Release),
            }
        }
        self.dispatch.get()
    }
}

impl Subscriber for Heard {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Also called for each subscriber that is made: a global one is one of them.
        match self.dispatch.get() {
            Some(dispatch) => dispatch.register_callsite(metadata),
            None => {
                self.may_be_new.store(true, Ordering::Release);
                Interest::never()
            }
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.dispatch().is_some_and(|dispatch| dispatch.enabled(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // That of another is counted where it is registered itself.
        Some(LevelFilter::OFF)
    }

    fn event(&self, event: &Event<'_>) {
        if let Some(dispatch) = self.dispatch() {
            dispatch.event(event);
        }
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        // Of nobody, no span is enabled; tracing-core's own `NoSubscriber` returns this number.
        self.dispatch().map_or_else(|| span::Id::from_u64(0xdead), |dispatch| dispatch.new_span(attributes))
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        if let Some(dispatch) = self.dispatch() {
            dispatch.record(span, values);
        }
    }

    fn record_follows_from(&self, span: &span::Id, follows: &span::Id) {
        if let Some(dispatch) = self.dispatch() {
            dispatch.record_follows_from(span, follows);
        }
    }

    fn enter(&self, span: &span::Id) {
        if let Some(dispatch) = self.dispatch() {
            dispatch.enter(span);
        }
    }

    fn exit(&self, span: &span::Id) {
        if let Some(dispatch) = self.dispatch() {
            dispatch.exit(span);
        }
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.dispatch().map_or_else(|| id.clone(), |dispatch| dispatch.clone_span(id))
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.dispatch().is_some_and(|dispatch| dispatch.try_close(id))
    }

    fn current_span(&self) -> span::Current {
        self.dispatch().map_or_else(span::Current::none, Dispatch::current_span)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Text};

    #[test]
    fn an_event_is_one_line_of_bounded_length() {
        let text = Text { message: "two\nlines".to_owned(), fields: " port=80".to_owned() };
        assert_eq!(text.finish(), "two ⏎ lines port=80");
        let long = Text { message: "ü".repeat(LONGEST), fields: String::new() }.finish();
        assert!(long.len() <= LONGEST + '…'.len_utf8() && long.ends_with('…'));
    }
}
