//! The work that nodes are asked to run: a test that timed out tells where what is not done comes from, and a wait what has ended.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::job::Held;

/// Work that is not done.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    number: u64,
    pub(crate) node: String,
    /// The call that asked for it.
    pub(crate) place: &'static Location<'static>,
    pub(crate) since: Instant,
}

/// Work that has ended by itself.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    node: String,
    /// "the task of src/lib.rs:3:5"
    pub(crate) what: String,
    /// The number of its panic's record.
    panic: Option<usize>,
    handle: Held,
    was_held: bool,
}

/// All of a test.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    tasks: Vec<Task>,
    ended: Vec<Ended>,
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
        self.state().tasks.iter().filter(|task| !is_own(task.place)).cloned().collect()
    }

    /// Notes what has ended by itself, with the number of its panic's record, if it was one.
    pub(crate) fn end(
        &self,
        node: &str,
        kind: &str,
        place: &'static Location<'static>,
        panic: Option<usize>,
        handle: &Held,
    ) {
        if is_own(place) && panic.is_none() {
            return;
        }
        let what = format!("the {kind} of {place}");
        let mut state = self.state();
        // A call that waits for its work is done with it when it has the result; what nobody waits for is told once for each place.
        state.ended.retain(|ended| {
            let is_this = panic.is_none() && ended.node == node && ended.what == what;
            ended.panic.is_some() || ended.handle.is_held() || (!ended.was_held && !is_this)
        });
        let was_held = handle.is_held();
        state.ended.push(Ended { node: node.to_owned(), what, panic, handle: handle.clone(), was_held });
    }

    /// What has panicked in a node, each with the number of the panic's record, and nobody can read it from a handle any more.
    pub(crate) fn panicked(&self, node: &str) -> Vec<(usize, Ended)> {
        let state = self.state();
        let of_node = state.ended.iter().filter(|ended| ended.node == node && !ended.handle.is_held());
        of_node.filter_map(|ended| Some((ended.panic?, ended.clone()))).collect()
    }

    /// What has returned in a node, but for calls that have waited for it.
    pub(crate) fn returned(&self, node: &str) -> Vec<String> {
        let state = self.state();
        let of_node = state.ended.iter().filter(|ended| ended.node == node && ended.panic.is_none());
        of_node
            .filter(|ended| !ended.was_held || ended.handle.is_held())
            .map(|ended| ended.what.clone())
            .collect()
    }
}

/// Whether this crate runs it for itself.
fn is_own(place: &Location<'_>) -> bool {
    place.file().starts_with(file!().trim_end_matches("tasks.rs"))
}

/// Dropped with the work, when that is done or given up.
#[derive(Debug)]
pub(crate) struct Unfinished {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Unfinished {
    /// Says that it ended by itself, as [`Tasks::end`].
    pub(crate) fn end(&self, panic: Option<usize>, handle: &Held) {
        let task = self.tasks.state().tasks.iter().find(|task| task.number == self.number).cloned();
        if let Some(task) = task {
            self.tasks.end(&task.node, "task", task.place, panic, handle);
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.tasks.state().tasks.retain(|task| task.number != self.number);
    }
}
