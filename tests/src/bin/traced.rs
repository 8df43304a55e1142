//! Runs a program as a debugger does: it is traced, and goes on at every stop (ptrace(2)).

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, exit};

fn trace_me() -> io::Result<()> {
    // SAFETY: the request takes no memory.
    match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[expect(clippy::zombie_processes, reason = "waitpid(2) waits for it")]
fn main() {
    let mut line = std::env::args_os().skip(1);
    let mut command = Command::new(line.next().expect("a program to run"));
    // SAFETY: between fork and exec nothing but one system call is made.
    let child = unsafe { command.args(line).pre_exec(trace_me) }.spawn().expect("it starts");
    let process = child.id().cast_signed();
    loop {
        let mut status = 0;
        // SAFETY: the status is this function's own.
        let waited = unsafe { libc::waitpid(process, &raw mut status, libc::__WALL) };
        assert!(waited == process, "failed to wait for it: {}", io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            exit(if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            });
        }
        // The stop at its exec is the tracer's alone; other signals are for the program.
        let signal = match libc::WSTOPSIG(status) {
            libc::SIGTRAP => 0,
            signal => signal,
        };
        // SAFETY: the request takes no memory. One that was killed meanwhile is told by the next wait.
        unsafe { libc::ptrace(libc::PTRACE_CONT, process, 0, signal) };
    }
}
