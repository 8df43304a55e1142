//! The thread of a node that starts its programs.
//!
//! It is in the node's network and host name, and in a copy of the node's mounts with the /proc of the test's PID namespace.
//! A thread whose children go to another PID namespace can start no threads, so this one does nothing else.

use std::sync::Arc;
use std::sync::mpsc;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::os::fd::AsFd as _;

use super::namespace::PidNamespace;
use crate::directory::WorkingDirectory;
use crate::error::{Doing, Error};
use crate::namespace::Namespaces;
use crate::{sys, worker};

type Job = Box<dyn FnOnce() + Send>;

/// The handle to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Launcher {
    queue: mpsc::Sender<Job>,
}

impl Launcher {
    /// Starts the thread, and returns when it is ready. The node has its private layers already.
    pub(crate) fn start(
        name: String,
        namespaces: &Arc<Namespaces>,
        processes: Arc<PidNamespace>,
    ) -> Result<Self, Error> {
        let (queue, jobs) = mpsc::channel::<Job>();
        let (tell, ready) = mpsc::channel();
        let node = Arc::clone(namespaces);
        worker::spawn_in(name, Arc::clone(namespaces), move |settled| {
            let prepared = settled.and_then(|()| prepare(&node, &processes));
            drop((node, processes));
            let is_ready = prepared.is_ok();
            // The one who asked waits for this.
            let _received = tell.send(prepared);
            if is_ready {
                jobs.iter().for_each(|job| job());
            }
        })?;
        match ready.recv() {
            Ok(prepared) => prepared.map(|()| Self { queue }),
            Err(_gone) => {
                Err(Error::because("start programs in a node", "its thread ended before it was ready"))
            }
        }
    }

    /// Hands the thread something to do; `false` when it has ended.
    pub(crate) fn submit(&self, job: Job) -> bool {
        self.queue.send(job).is_ok()
    }
}

/// Moves the calling thread, which is in the node, to where its programs are to be born.
fn prepare(node: &Namespaces, processes: &PidNamespace) -> Result<(), Error> {
    let directory = WorkingDirectory::of_this_thread();
    let proc = processes.proc()?;
    node.settle_mounts().doing(|| "return to the node's mounts")?;
    // Shared memory and queues of System V are the node's programs' own, and end with them (ipc_namespaces(7)).
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
        .doing(|| "copy the node's mounts for its programs")?;
    // What the node mounts later arrives here, too; nothing goes the other way (mount_namespaces(7)).
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .doing(|| "let the mounts of the node's programs follow the node's")?;
    directory.return_to();
    sys::mount::attach(proc.as_fd(), c"/proc").doing(|| "mount the /proc of the test's programs")?;
    // A caller with capabilities but without user id 0 hands them on by the ambient set alone.
    sys::caps::raise().doing(|| "raise the capabilities of the node's programs")?;
    processes.adopt_children()
}
