//! How many namespaces a user may have, namespaces(7): each user namespace has limits of its own, and those of the ones
//! around it hold as well.

use std::ffi::CStr;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::read;

/// The limits of a user namespace. One that cannot be read is not known; the kernel refuses in its place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) user: Option<u64>,
    pub(crate) net: Option<u64>,
    pub(crate) mount: Option<u64>,
    pub(crate) uts: Option<u64>,
}

/// A kind of namespace: its name, and the setting that limits it.
pub(crate) type Kind = (&'static str, &'static str);

impl Limits {
    /// Those of the user namespace that the process is in. It makes system calls only, so that it can be called before
    /// `main`.
    pub(crate) fn read() -> Self {
        Self {
            user: number(c"/proc/sys/user/max_user_namespaces"),
            net: number(c"/proc/sys/user/max_net_namespaces"),
            mount: number(c"/proc/sys/user/max_mnt_namespaces"),
            uts: number(c"/proc/sys/user/max_uts_namespaces"),
        }
    }

    /// What holds in a user namespace that stands in another one.
    pub(crate) fn within(self, outer: Self) -> Self {
        let lower = |own: Option<u64>, outer: Option<u64>| own.into_iter().chain(outer).min();
        Self {
            user: lower(self.user, outer.user),
            net: lower(self.net, outer.net),
            mount: lower(self.mount, outer.mount),
            uts: lower(self.uts, outer.uts),
        }
    }

    /// The lowest limit of what a network is made of, since a node needs one of each.
    pub(crate) fn lowest(self) -> Option<(Kind, u64)> {
        let kinds = [
            (("network", "user.max_net_namespaces"), self.net),
            (("mount", "user.max_mnt_namespaces"), self.mount),
            (("UTS", "user.max_uts_namespaces"), self.uts),
        ];
        kinds.into_iter().filter_map(|(kind, limit)| Some((kind, limit?))).min_by_key(|&(_, limit)| limit)
    }
}

fn number(path: &CStr) -> Option<u64> {
    let mut text = [0_u8; 32];
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let length = read(&file, &mut text).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn the_lowest_limit_of_all_user_namespaces_holds() {
        let inner = Limits { net: Some(u64::from(u32::MAX)), mount: Some(7), uts: Some(9), user: None };
        assert_eq!(inner.lowest().map(|((name, _), limit)| (name, limit)), Some(("mount", 7)));
        let outer = Limits { net: Some(5), mount: Some(100), uts: None, user: Some(3) };
        let both = inner.within(outer);
        assert_eq!((both.net, both.mount, both.uts, both.user), (Some(5), Some(7), Some(9), Some(3)));
        assert_eq!(
            both.lowest().map(|((_, setting), limit)| (setting, limit)),
            Some(("user.max_net_namespaces", 5))
        );
        assert!(Limits::default().lowest().is_none());
    }
}
