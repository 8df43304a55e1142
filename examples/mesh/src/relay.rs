//! Carries bytes between two connections.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use crate::metrics::Open;

/// Large enough for what a TLS record holds.
const BUFFER: usize = 16 * 1024;

/// A connection, or a tunnel.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The far side of a connection: one of its own, or a tunnel.
pub(crate) type Far = Box<dyn Io>;

/// Carries bytes both ways until both sides have said their last, or one fails.
pub(crate) async fn relay(near: impl Io, far: Far, open: Open) -> io::Result<()> {
    let (mut from_near, mut to_near) = split(near);
    let (mut from_far, mut to_far) = split(far);
    let sent = pump(&mut from_near, &mut to_far, |bytes| open.sent(bytes));
    let received = pump(&mut from_far, &mut to_near, |bytes| open.received(bytes));
    tokio::try_join!(sent, received).map(drop)
}

async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: impl Fn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            length => {
                count(length);
                to.write_all(&buffer[..length]).await?;
                to.flush().await?;
            }
        }
    }
}
