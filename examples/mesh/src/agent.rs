//! How a proxy of a node learns of the node's pods: whoever made a pod hands over its namespace, as a CNI plugin does.
//!
//! A message is `add NAME`, with a descriptor of the pod's network namespace (`SCM_RIGHTS`, unix(7)), or `remove NAME`. Each is
//! answered with a line, `ok` or what is wrong, before the next is sent.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;

/// Longer than any message.
const LONGEST: usize = 512;

/// What a proxy is told.
pub(crate) enum Message {
    /// There is a pod of this name, with this namespace.
    Add(String, OwnedFd),
    /// The pod of this name is about to go.
    Remove(String),
}

/// The next message; none when nobody will send one any more.
pub(crate) async fn receive(agent: &UnixStream) -> io::Result<Option<Message>> {
    let mut text = [0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let receiving = || {
        let flags = RecvFlags::CMSG_CLOEXEC;
        Ok(recvmsg(agent, &mut [IoSliceMut::new(&mut text)], &mut rights, flags)?.bytes)
    };
    let length = agent.async_io(Interest::READABLE, receiving).await?;
    let descriptor = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut all) => all.next(),
        _ => None,
    });
    let text = std::str::from_utf8(&text[..length]).map_err(io::Error::other)?;
    match (text.split_once(' '), descriptor) {
        _ if text.is_empty() => Ok(None),
        (Some(("add", name)), Some(namespace)) => Ok(Some(Message::Add(name.to_owned(), namespace))),
        (Some(("remove", name)), None) => Ok(Some(Message::Remove(name.to_owned()))),
        _ => Err(io::Error::other(format!("the agent sent `{text}`"))),
    }
}

/// Answers a message.
pub(crate) async fn answer(agent: &mut UnixStream, result: io::Result<()>) -> io::Result<()> {
    let line = result.map_or_else(|error| format!("{error}\n"), |()| "ok\n".to_owned());
    agent.write_all(line.as_bytes()).await
}

/// The agent's side: waits for the proxy's answer to what was sent.
///
/// # Errors
/// What the proxy says is wrong; it has gone away.
pub async fn answered(proxy: &mut UnixStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(proxy).read_line(&mut line).await?;
    match line.trim_end() {
        "ok" => Ok(()),
        "" => Err(io::ErrorKind::UnexpectedEof.into()),
        wrong => Err(io::Error::other(wrong.to_owned())),
    }
}
