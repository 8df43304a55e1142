//! What a thread of a node is asked to run, and what becomes of that while the thread waits.
//!
//! A thread that blocks in a call of this crate takes nothing more on: what it was asked to run and has not begun goes to
//! another thread of the node, so that nodes may ask themselves and each other without a deadlock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Something to be run on a thread of a node, within its runtime.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The jobs of one thread.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// In how many calls the thread waits.
    waits: usize,
    stopped: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job, or gives it back: the thread waits, or has been stopped.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state();
        if state.waits > 0 || state.stopped {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no more jobs.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_one();
    }

    /// The next job; `None` when all are done and the queue is stopped.
    pub(crate) async fn next(&self) -> Option<Job> {
        loop {
            {
                let mut state = self.state();
                match state.jobs.pop_front() {
                    Some(job) => return Some(job),
                    None if state.stopped => return None,
                    None => {}
                }
            }
            self.changed.notified().await;
        }
    }
}

/// What the calling thread serves, and who takes its jobs while it waits.
struct Own {
    queue: Arc<Queue>,
    elsewhere: Arc<dyn Fn(Job) + Send + Sync>,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

/// Makes the calling thread the one that serves `queue`. While it waits, its jobs go to `elsewhere`.
pub(crate) fn serve_here(queue: Arc<Queue>, elsewhere: Arc<dyn Fn(Job) + Send + Sync>) {
    OWN.set(Some(Own { queue, elsewhere }));
}

/// The calling thread blocks until this is dropped, and serves nobody meanwhile.
#[must_use = "the thread serves again when this is dropped"]
pub(crate) struct Waiting(Option<Arc<Queue>>);

impl Waiting {
    pub(crate) fn start() -> Self {
        let own = OWN
            .with_borrow(|own| own.as_ref().map(|own| (Arc::clone(&own.queue), Arc::clone(&own.elsewhere))));
        let Some((queue, elsewhere)) = own else { return Self(None) };
        let jobs = {
            let mut state = queue.state();
            state.waits += 1;
            std::mem::take(&mut state.jobs)
        };
        let waiting = Self(Some(queue));
        jobs.into_iter().for_each(|job| elsewhere(job));
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.state().waits -= 1;
        }
    }
}
