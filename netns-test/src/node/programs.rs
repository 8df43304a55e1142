//! Programs in a node.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Node;
use crate::error::Error;
use crate::network::Net;
use crate::program::{Command, Launcher, PidNamespace, Running};

/// The programs of a node.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    launcher: Mutex<Option<Arc<Launcher>>>,
    running: Mutex<Vec<Arc<Running>>>,
}

impl Programs {
    /// Gives the launcher up: its thread ends.
    pub(crate) fn stop(&self) {
        drop(self.launcher.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Those that have been started, whatever became of them.
    fn all(&self) -> Vec<Arc<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last lines that each of them has written: when, by the clock of the packets; which program; the line.
    pub(crate) fn log(&self, most: usize) -> Vec<(u64, String, String)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().flat_map(|running| running.log(most)).collect()
    }

    /// Has no more programs started, and returns those that have been; that they end is no failure.
    pub(crate) fn end(&self) -> Vec<Arc<Running>> {
        self.stop();
        let programs = self.all();
        programs.iter().for_each(|program| program.expect_end());
        programs
    }

    /// How those failed of which the test does not know yet.
    pub(crate) fn failures(&self) -> Vec<String> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(|running| running.unexpected_failure()).collect()
    }
}

impl Node {
    /// A program that is to be started in this node: [`Command`] has the details.
    ///
    /// A node's first program takes a few milliseconds more, for what all programs of the test and of the node share.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.clone(), std::process::Command::new(program), true)
    }

    /// A command that other code has built, to be started in this node: `assert_cmd`'s or `escargot`'s for instance.
    ///
    /// Its program, arguments, environment (PATH included) and working directory stay; its standard streams become those of
    /// [`Command`].
    pub fn adopt(&self, command: std::process::Command) -> Command {
        Command::new(self.clone(), command, false)
    }

    /// The thread that starts the node's programs; started if there is none yet.
    pub(crate) fn launcher(&self) -> Result<Arc<Launcher>, Error> {
        let operation = || format!("start programs in `{}`", self.name());
        let net = self.net().map_err(|error| Error::new(operation(), error))?;
        let mut slot = self.0.programs.launcher.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_out() {
            return Err(Error::because(operation(), "it has crashed"));
        }
        if let Some(launcher) = &*slot {
            return Ok(Arc::clone(launcher));
        }
        self.private_files()?;
        let name = self.thread_name(&net, Some("programs"));
        let launcher = Arc::new(Launcher::start(name, &self.0.namespaces, processes(&net)?)?);
        // Torn down meanwhile: it must not outlive the test.
        self.net().map_err(|error| Error::new(operation(), error))?;
        Ok(Arc::clone(slot.insert(launcher)))
    }

    /// As [`Programs::end`].
    pub(crate) fn end_programs(&self) -> Vec<Arc<Running>> {
        self.0.programs.end()
    }

    pub(crate) fn keep_running(&self, running: &Arc<Running>) {
        self.0.programs.running.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(running));
    }

    /// How a program of this node failed of which the test does not know yet: what is waited for will not come.
    pub(super) fn failed_program(&self) -> Option<String> {
        let running = self.0.programs.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().find_map(|running| running.unexpected_failure())
    }
}

/// The PID namespace of a test, made when it is first wanted.
fn processes(net: &Net) -> Result<Arc<PidNamespace>, Error> {
    let mut slot = net.processes.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(processes) = &*slot {
        return Ok(Arc::clone(processes));
    }
    Ok(Arc::clone(slot.insert(Arc::new(PidNamespace::make()?))))
}
