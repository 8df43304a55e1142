//! A network that waits for a person: that of a failed test (`NETNS_TEST_PAUSE`), or of a program that is there to be explored.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpid, read};

use crate::bootstrap::{self, State};
use crate::network::{Net, Network};
use crate::sys::process::write_raw;
use crate::{knob, report, sys};

/// Whether `NETNS_TEST_PAUSE` asks for failed tests to wait.
///
/// # Errors
/// It has a value that says neither.
pub(crate) fn is_wanted() -> Result<bool, String> {
    match knob::value("NETNS_TEST_PAUSE") {
        None => Ok(false),
        Some(value) if value == "1" => Ok(true),
        Some(value) if value == "0" => Ok(false),
        Some(value) => Err(format!("NETNS_TEST_PAUSE is `{}`: expected `1` or `0`", value.display())),
    }
}

/// Shows the network of a test that failed, past libtest's capture, and waits until somebody has seen enough.
pub(crate) fn after_failure(net: &Arc<Net>, how: &report::How) -> io::Result<()> {
    let report =
        report::report(net, how, false).map(|report| format!("netns-test: {report}\n")).unwrap_or_default();
    wait(
        &format!(
            "{report}netns-test: `{}` failed, and its network waits, with all that runs in its nodes",
            net.test
        ),
        net,
    )
}

/// Says how the network of a program can be entered, and waits.
pub(crate) fn explore(net: &Arc<Net>) -> io::Result<()> {
    wait("netns-test: the network is up", net)
}

/// One after the other: they share a terminal.
static TURN: Mutex<()> = Mutex::new(());

fn wait(what: &str, net: &Arc<Net>) -> io::Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let continued = sys::signal::on_continue()?;
    let text = format!("{what}\n{}press Enter to go on, or: kill -CONT {}\n", ways_in(net), getpid(),);
    write_raw(2, text.as_bytes());
    let mut input = Some(io::stdin());
    loop {
        let mut descriptors = vec![PollFd::new(continued, PollFlags::POLLIN)];
        if let Some(input) = &input {
            descriptors.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let [is_continued, is_typed] =
            [0, 1].map(|index| descriptors.get(index).and_then(PollFd::any).unwrap_or(false));
        if is_continued {
            return Ok(());
        }
        if let (true, Some(stdin)) = (is_typed, &input) {
            match typed(stdin.as_fd())? {
                Typed::Enter => return Ok(()),
                Typed::Other => {}
                // Nobody can type anything: the signal is left.
                Typed::End => input = None,
            }
        }
    }
}

enum Typed {
    Enter,
    Other,
    End,
}

fn typed(input: BorrowedFd<'_>) -> io::Result<Typed> {
    let mut bytes = [0_u8; 256];
    match read(input, &mut bytes) {
        Ok(0) => Ok(Typed::End),
        Ok(length) if bytes[..length].contains(&b'\n') => Ok(Typed::Enter),
        Ok(_) | Err(Errno::EINTR) => Ok(Typed::Other),
        // Of a terminal whose foreground is another program's, or of a descriptor that is closed.
        Err(Errno::EIO | Errno::EBADF) => Ok(Typed::End),
        Err(errno) => Err(errno.into()),
    }
}

/// The command for each node that puts a shell into it: nsenter(1) by the descriptors that this process holds.
fn ways_in(net: &Arc<Net>) -> String {
    let process = getpid();
    // The owner of the user namespace has every capability in it, and stays who they are.
    let user = match bootstrap::state() {
        Some(State::UserNamespace) => format!(" --preserve-credentials --user=/proc/{process}/ns/user"),
        _ => String::new(),
    };
    let nodes = Network(Arc::clone(net)).nodes();
    let width = nodes.iter().map(|node| node.name().len()).max().unwrap_or(0);
    nodes.iter().fold(String::new(), |mut text, node| {
        let [network, mounts, uts] = node.namespaces().descriptors();
        let name = node.name();
        // Writing to a string does not fail.
        let _written = writeln!(
            text,
            "  {name:width$}  nsenter{user} --net=/proc/{process}/fd/{network} --mount=/proc/{process}/fd/{mounts} \
             --uts=/proc/{process}/fd/{uts}"
        );
        text
    })
}
