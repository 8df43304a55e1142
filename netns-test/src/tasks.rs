//! The async work that nodes are asked to run, while it is not done: a test that timed out tells where it comes from.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Work that is not done.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    number: u64,
    pub(crate) node: String,
    /// The call that asked for it.
    pub(crate) place: &'static Location<'static>,
    pub(crate) since: Instant,
}

/// All of a test.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    tasks: Vec<Task>,
}

impl Tasks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes work, until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, node: &str, place: &'static Location<'static>) -> Unfinished {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.tasks.push(Task { number, node: node.to_owned(), place, since: Instant::now() });
        Unfinished { tasks: Arc::clone(self), number }
    }

    /// What is not done, the oldest first, but for what this crate runs for itself.
    pub(crate) fn unfinished(&self) -> Vec<Task> {
        let own = file!().trim_end_matches("tasks.rs");
        self.state().tasks.iter().filter(|task| !task.place.file().starts_with(own)).cloned().collect()
    }
}

/// Dropped with the work, when that is done or given up.
#[derive(Debug)]
pub(crate) struct Unfinished {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.tasks.state().tasks.retain(|task| task.number != self.number);
    }
}
