//! Programs in nodes: child processes with a PID namespace, a /proc and an end of their own.

mod child;
mod command;
mod launcher;
mod namespace;
mod refusal;
mod signal;

pub use self::child::Child;
pub(crate) use self::child::Running;
pub use self::command::Command;
pub(crate) use self::launcher::Launcher;
pub(crate) use self::namespace::PidNamespace;
pub use self::signal::Signal;
