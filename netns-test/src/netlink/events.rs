//! That something has changed, not what: whoever wants to know asks then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

/// A socket that can be read when an interface of the namespace in which it was opened has changed.
#[derive(Debug)]
pub(crate) struct LinkEvents(Socket);

impl LinkEvents {
    /// Listens in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, libc::RTMGRP_LINK as u32))?;
        Ok(Self(socket))
    }

    /// Forgets what has been told.
    pub(crate) fn forget(&self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            buffer.clear();
            match self.0.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // More was told than there was room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
