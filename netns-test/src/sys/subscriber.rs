//! A subscriber of `tracing` that has somebody beside it: looking into it is unsafe in that crate's own trait.

use std::any::TypeId;
use std::fmt;

use tracing_core::subscriber::{Interest, Subscriber};
use tracing_core::{Dispatch, Event, LevelFilter, Metadata, span};

/// A subscriber of `tracing` whose test's report has its events as well.
///
/// A test that has no subscriber needs none of this: its events are recorded anyway. One that is wrapped here hears and
/// decides all that it would otherwise: spans are its alone, its filters stay its own, and what looks for a layer in it
/// (`Dispatch::downcast_ref`) finds that. Beside it, events of a test's threads are recorded from the level on that
/// `NETNS_TEST_LOG` names, or else `INFO`. [`guide::failures`](crate::guide::failures) says where they are shown.
///
/// ```
/// // Once for the process, or for a scope, as any other subscriber.
/// let subscriber = netns_test::Logged::new(tracing_subscriber::fmt().with_test_writer().finish());
/// tracing::subscriber::set_global_default(subscriber).expect("there is none yet");
/// ```
pub struct Logged<S> {
    inner: S,
    beside: Beside,
}

/// Who stands beside a subscriber.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    pub(crate) level: LevelFilter,
    pub(crate) note: fn(&Event<'_>),
}

impl<S: Subscriber> Logged<S> {
    /// Wraps a subscriber.
    pub fn new(subscriber: S) -> Self {
        Self::beside(subscriber, crate::log::beside())
    }

    pub(crate) fn beside(inner: S, beside: Beside) -> Self {
        Self { inner, beside }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.beside.level >= *metadata.level()
    }
}

impl<S: Subscriber> Subscriber for Logged<S> {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.inner.on_register_dispatch(dispatch);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.inner.register_callsite(metadata);
        match self.wants(metadata) && interest.is_never() {
            true => Interest::sometimes(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Asked in any case: a subscriber may note what it has answered.
        self.inner.enabled(metadata) || self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.inner.max_level_hint().map(|level| level.max(self.beside.level))
    }

    fn event(&self, event: &Event<'_>) {
        if self.inner.enabled(event.metadata()) && self.inner.event_enabled(event) {
            self.inner.event(event);
        }
        if self.wants(event.metadata()) {
            (self.beside.note)(event);
        }
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.inner.new_span(attributes)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        self.inner.record(span, values);
    }

    fn record_follows_from(&self, span: &span::Id, follows: &span::Id) {
        self.inner.record_follows_from(span, follows);
    }

    fn enter(&self, span: &span::Id) {
        self.inner.enter(span);
    }

    fn exit(&self, span: &span::Id) {
        self.inner.exit(span);
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.inner.clone_span(id)
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.inner.try_close(id)
    }

    fn current_span(&self) -> span::Current {
        self.inner.current_span()
    }

    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some((&raw const *self).cast());
        }
        // SAFETY: what the inner subscriber returns points to a value of that type, which lives as long as this one.
        unsafe { self.inner.downcast_raw(id) }
    }
}

impl<S: fmt::Debug> fmt::Debug for Logged<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Logged").field(&self.inner).finish()
    }
}
