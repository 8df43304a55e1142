//! Filters of faults on an interface: put there, and taken away.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use nix::libc;

use super::frames::{Frames, programs, redirected};
use crate::error::{Doing, Error};
use crate::netlink::{Batch, Direction, MARK, Request};
use crate::node::Interface;

/// The priority number of what is asked last: what a test's faults let vanish is not redirected.
const LAST: u16 = u16::MAX;

/// Which faults have filters on which interface of a node, and whether the place for them was there before.
#[derive(Debug, Default)]
pub(crate) struct Hooked(Mutex<HashMap<u32, Place>>);

#[derive(Debug)]
struct Place {
    /// The numbers of the faults.
    users: Vec<u16>,
    is_ours: bool,
}

impl Hooked {
    /// Whether a fault lets frames vanish at an interface.
    pub(crate) fn is_used(&self, index: u32) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A redirection stays when nothing is held any more.
        places.get(&index).is_some_and(|place| place.users.iter().any(|user| *user != LAST))
    }

    /// Forgets an interface that is gone.
    pub(crate) fn forget(&self, index: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }
}

/// What one fault lets vanish at one interface.
pub(super) struct Hook {
    pub(super) interface: Interface,
    pub(super) sent: Vec<Frames>,
    pub(super) received: Vec<Frames>,
}

impl Hook {
    fn sides(&self) -> impl Iterator<Item = (Direction, &[Frames])> {
        let sides = [(Direction::Sent, &self.sent[..]), (Direction::Received, &self.received[..])];
        sides.into_iter().filter(|(_, kinds)| !kinds.is_empty())
    }

    /// Puts the filters of fault `number` there: from here on, the frames vanish.
    pub(super) fn put(&self, number: u16) -> Result<(), Error> {
        let index = self.interface.index();
        let describe = || format!("filter the packets of `{}`", self.interface);
        let socket = self.interface.node().route_socket().doing(describe)?;
        let mut places = self.places();
        let is_ours = match places.get(&index) {
            Some(place) => place.is_ours,
            None => match socket.request(Request::add_filters_place(index), describe) {
                Ok(()) => true,
                // A program of the test has filters of its own there.
                Err(error) if error.source.raw_os_error() == Some(libc::EEXIST) => false,
                Err(error) if error.source.raw_os_error() == Some(libc::ENOENT) => {
                    return Err(Error::because(
                        describe(),
                        "the kernel has no `clsact` (CONFIG_NET_SCH_INGRESS)",
                    ));
                }
                Err(error) => return Err(error.into()),
            },
        };
        let mut batch = Batch::new();
        for (direction, kinds) in self.sides() {
            for (position, program) in programs(kinds).iter().enumerate() {
                let request = Request::add_filter(index, direction, number, position as u32 + 1, program);
                batch.push(request, describe);
            }
        }
        let sent = socket.send(batch).map_err(|error| match error.source.raw_os_error() {
            Some(libc::ENOENT) => {
                Error::because(describe(), "the kernel has no filters by BPF (CONFIG_NET_CLS_BPF)")
            }
            _ => error.into(),
        });
        match sent {
            Ok(()) => {
                places.entry(index).or_insert(Place { users: Vec::new(), is_ours }).users.push(number);
                Ok(())
            }
            Err(error) => {
                // What was put there before the refusal goes; where none was, there is nothing to remove.
                let _refused = self.delete(number);
                if is_ours && !places.contains_key(&index) {
                    socket.request(Request::delete_filters_place(index), describe)?;
                }
                Err(error)
            }
        }
    }

    /// Takes the filters of fault `number` away. An interface that is gone has taken them along.
    pub(super) fn remove(&self, number: u16) -> Result<(), Error> {
        let index = self.interface.index();
        let describe = || format!("remove the filters of a fault from `{}`", self.interface);
        let mut places = self.places();
        let user = |place: &Place| place.users.iter().position(|user| *user == number);
        let found = places.get_mut(&index).and_then(|place| user(place).map(|user| (place, user)));
        // Forgotten: the interface is gone, and the one that has its index now is another.
        let Some((place, user)) = found else { return Ok(()) };
        place.users.swap_remove(user);
        let deleted = self.delete(number);
        if !place.users.is_empty() {
            return deleted;
        }
        let is_ours = place.is_ours;
        places.remove(&index);
        deleted?;
        if is_ours {
            let socket = self.interface.node().route_socket().doing(describe)?;
            tolerate_absence(socket.request(Request::delete_filters_place(index), describe))?;
        }
        Ok(())
    }

    fn delete(&self, number: u16) -> Result<(), Error> {
        let index = self.interface.index();
        let describe = || {
            format!(
                "remove the filters of a fault from `{}` (has somebody else removed them, with tc(8) for instance?)",
                self.interface
            )
        };
        let socket = self.interface.node().route_socket().doing(describe)?;
        let deleted = self.sides().map(|(direction, _)| {
            tolerate_absence(socket.request(Request::delete_filters(index, direction, number), describe))
        });
        // All of them, also where one is refused.
        deleted.fold(Ok(()), Result::and)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Place>> {
        self.interface.node().hooked().0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leads all packets that an interface sends to another one of its node, but for those with [`MARK`]. For good: until the test
/// ends.
pub(super) fn redirect(interface: &Interface, to: u32) -> Result<(), Error> {
    let hook = Hook { interface: interface.clone(), sent: Vec::new(), received: Vec::new() };
    let describe = || format!("redirect the packets of `{interface}`");
    // A hook without filters of its own keeps the place for them.
    hook.put(LAST)?;
    let socket = interface.node().route_socket().doing(describe)?;
    let request = Request::add_redirect(interface.index(), Direction::Sent, LAST, &redirected(MARK), to);
    let redirected = socket.request(request, describe).map_err(|error| match error.source.raw_os_error() {
        Some(libc::ENOENT) => {
            let text = "the kernel has no filters by BPF, or cannot redirect (CONFIG_NET_CLS_BPF, CONFIG_NET_ACT_MIRRED)";
            Error::because(describe(), text)
        }
        _ => error.into(),
    });
    redirected.map_err(|error| match hook.remove(LAST) {
        Ok(()) => error,
        Err(more) => Error::because(describe(), format!("{error}; and then {more}")),
    })
}

/// An interface that does not exist any more has no filters.
pub(super) fn tolerate_absence(result: Result<(), crate::netlink::NetlinkError>) -> Result<(), Error> {
    match result {
        Err(error) if error.source.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => Ok(result?),
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.interface).finish()
    }
}
