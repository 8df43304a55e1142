//! What a proxy has in hand: waited for when it drains, dropped when it is killed.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that end together; its clones are one.
#[derive(Clone, Debug)]
pub struct Tasks {
    own: TaskTracker,
    /// These, and those of all groups beside them.
    all: TaskTracker,
    kill: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        let all = TaskTracker::new();
        Self { own: all.clone(), all, kill: CancellationToken::new() }
    }
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn<F: Future<Output: Send + 'static> + Send + 'static>(&self, task: F) {
        let task = self.kill.clone().run_until_cancelled_owned(task);
        drop(self.own.spawn(self.all.track_future(task)));
    }

    /// Some of these: killing them kills no others.
    pub(crate) fn group(&self) -> Self {
        Self { own: TaskTracker::new(), all: self.all.clone(), kill: self.kill.child_token() }
    }

    /// Drops them all, and with them their connections.
    pub(crate) fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits until none is left.
    pub(crate) async fn finished(&self) {
        self.own.close();
        self.own.wait().await;
    }
}

/// What HTTP/2 needs beside its connection ends with it.
impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
