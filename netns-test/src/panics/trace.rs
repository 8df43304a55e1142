//! What the frames of a thread say of a panic.

use std::backtrace::Backtrace;

/// Whether a panic of this thread will be caught before it ends the task or thread, told by the frames.
///
/// Unwinding stops at the first `catch_unwind`. That is the end of the task if Tokio's harness called it, the end of the
/// thread if the standard library did. Without symbols nothing is known to be caught.
pub(super) fn is_caught_by_user() -> bool {
    is_caught(Trace::capture().names())
}

/// The calling thread's frames, innermost first; without symbols there is nothing in it.
pub(super) struct Trace(String);

impl Trace {
    pub(super) fn capture() -> Self {
        // The long form tells the instances of a generic function apart, by a hash in its name.
        Self(format!("{:#}", Backtrace::force_capture()))
    }

    /// The names of the frames.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(": ")?;
            let name = rest.split_once(" - ").map_or(rest, |(_address, name)| name);
            number.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
        })
    }

    /// The names of the functions, those that were inlined into a frame included.
    fn functions(&self) -> impl Iterator<Item = &str> {
        let names = self.0.lines().map(str::trim).filter(|line| !line.starts_with("at "));
        names.map(|line| line.split_once(" - ").map_or(line, |(_number, name)| name))
    }

    /// What polls the innermost task: called through a table, it is a frame of its own in every build.
    pub(super) fn poll(&self) -> Option<&str> {
        self.functions().find(|name| is_poll(&path(name)))
    }

    /// Whether the innermost task is still being polled, and does not just tell that it has ended.
    pub(super) fn is_in_a_task(&self) -> bool {
        self.functions().map(path).take_while(|name| !is_poll(name)).any(|name| name.contains("poll_future"))
    }

    /// Whether it is a thread of a runtime's pool, beside which others run tasks.
    pub(super) fn is_in_a_pool(&self) -> bool {
        self.functions().any(|name| path(name).contains("tokio::runtime::blocking::pool"))
    }
}

/// A function's own path. Names of the newer form (rustc's symbol mangling v0, RFC 2603; always with `-C instrument-coverage`)
/// have a hash behind each crate, and the generic arguments, which may name anything.
fn path(name: &str) -> String {
    let mut path = String::new();
    let mut skipped = 0;
    let mut last = ' ';
    for letter in name.chars() {
        let is_behind_name = last.is_alphanumeric() || last == '_';
        match letter {
            '<' | '[' if skipped > 0 || is_behind_name => skipped += 1,
            '<' if path.ends_with("::") => {
                path.truncate(path.len() - 2);
                skipped += 1;
            }
            // Not the arrow of a function's type.
            '>' | ']' if skipped > 0 && last != '-' => skipped -= 1,
            _ if skipped > 0 => {}
            _ => path.push(letter),
        }
        last = letter;
    }
    path
}

fn is_poll(name: &str) -> bool {
    name.contains("tokio::runtime::task::raw::poll")
}

/// The part of Tokio that polls a task, and that catches its panic.
fn is_harness(name: &str) -> bool {
    name.contains("tokio::runtime::task::")
}

fn is_caught<'a>(frames: impl Iterator<Item = &'a str>) -> bool {
    let is_end = |name: &str| {
        // Not all of `std::thread`: a thread's local values are reached through it, and scopes of threads.
        is_harness(name) || name.contains("__rust_begin_short_backtrace") || name.contains("spawn_unchecked")
    };
    let is_catch = |name: &str| {
        ["panicking::try", "panicking::catch_unwind", "panic::catch_unwind", "__rust_try", "AssertUnwindSafe"]
            .iter()
            .any(|part| name.contains(part))
    };
    let mut catching = false;
    for name in frames.map(path) {
        if is_end(&name) {
            return false;
        }
        match is_catch(&name) {
            true => catching |= !name.contains("AssertUnwindSafe"),
            false if catching => return true,
            false => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Trace, is_caught, path};

    #[test]
    fn the_innermost_task_is_told_by_what_polls_it() {
        let trace = |inner: &str| {
            Trace(format!(
                "   0:     0x55d2b0c3a5e6 - {inner}::h0123456789abcdef\n\
                 \x20                              at /tokio/src/runtime/task/harness.rs:1:2\n\
                 \x20                      tokio::runtime::task::raw::poll::h1111111111111111\n\
                 \x20  1:     0x55d2b0c3a5e7 - tokio::runtime::blocking::pool::Inner::run::h2222222222222222\n\
                 \x20  2:     0x55d2b0c3a5e8 - tokio::runtime::task::raw::poll::h3333333333333333\n"
            ))
        };
        let ends = trace("tokio::runtime::task::harness::Harness<T,S>::complete");
        assert_eq!(ends.poll(), Some("tokio::runtime::task::raw::poll::h1111111111111111"));
        assert!(!ends.is_in_a_task() && ends.is_in_a_pool());
        assert!(trace("tokio::runtime::task::harness::poll_future").is_in_a_task());
        assert_eq!(ends.names().count(), 3);
    }

    #[test]
    fn a_panic_in_a_task_ends_it() {
        assert!(!is_caught(
            [
                "std::panicking::panic_with_hook",
                "user::work",
                "tokio::runtime::task::core::Core<T,S>::poll",
                "std::panicking::catch_unwind",
                "tokio::runtime::task::harness::poll_future"
            ]
            .into_iter()
        ));
    }

    #[test]
    fn a_panic_in_a_task_with_inlined_frames_ends_it() {
        assert!(!is_caught(["user::work", "__rust_try", "tokio::runtime::task::raw::poll"].into_iter()));
    }

    #[test]
    fn names_of_the_newer_form_are_told_by_their_own_path() {
        let told = [
            (
                "tokio::runtime::task::raw::poll::h59f28edfd89770af",
                "tokio::runtime::task::raw::poll::h59f28edfd89770af",
            ),
            ("tokio::runtime::task::core::Core<T,S>::poll", "tokio::runtime::task::core::Core::poll"),
            (
                "tokio[35]::runtime::task::raw::poll::<user[39]::work::{closure#0}, alloc[fd]::sync::Arc<S>>",
                "tokio::runtime::task::raw::poll",
            ),
            (
                "<std[e2]::thread::Builder>::spawn_unchecked_::<fn(u8) -> [u8; 4], ()>::{closure#1}",
                "<std::thread::Builder>::spawn_unchecked_::{closure#1}",
            ),
            (
                "<core[c1]::panic::unwind_safe::AssertUnwindSafe<tokio[35]::runtime::task::F> as core[c1]::ops::function::FnOnce<()>>::call_once",
                "<core::panic::unwind_safe::AssertUnwindSafe as core::ops::function::FnOnce>::call_once",
            ),
            (
                "<<std[e2]::sys::Lock>::print::Display as core[c1]::fmt::Display>::fmt",
                "<<std::sys::Lock>::print::Display as core::fmt::Display>::fmt",
            ),
        ];
        for (name, own) in told {
            assert_eq!(path(name), own);
        }
    }

    #[test]
    fn a_panic_in_a_task_ends_it_also_with_names_of_the_newer_form() {
        let task = [
            "nothing_is_lost[39]::panic_in_task::{closure#0}::{closure#0}",
            "<tokio[35]::runtime::task::core::Core<nothing_is_lost[39]::panic_in_task::{closure#0}, S>>::poll",
            "tokio[35]::runtime::task::harness::poll_future::<F, S>::{closure#0}",
            "std[e2]::panicking::catch_unwind::do_call::<tokio[35]::runtime::task::harness::poll_future<F, S>::{closure#0}, R>",
            "__rust_try",
            "std[e2]::panic::catch_unwind::<tokio[35]::runtime::task::harness::poll_future<F, S>::{closure#0}, R>",
            "tokio[35]::runtime::task::harness::poll_future::<F, S>",
        ];
        assert!(!is_caught(task.into_iter()));
        let inlined = ["user[1]::work", "__rust_try", "tokio[35]::runtime::task::raw::poll::<F, S>"];
        assert!(!is_caught(inlined.into_iter()));
        let thread = [
            "user[1]::work",
            "std[e2]::panicking::catch_unwind::<F, R>",
            "<std[e2]::thread::Builder>::spawn_unchecked_::<F, R>",
        ];
        assert!(!is_caught(thread.into_iter()));
        // What the user catches stands in its generic arguments, too.
        let caught = [
            "user[1]::work",
            "std[e2]::panicking::catch_unwind::<core[c1]::panic::unwind_safe::AssertUnwindSafe<tokio[35]::runtime::task::JoinHandle<T>>, R>",
            "user[1]::handler::<std[e2]::thread::JoinHandle<()>>",
            "<tokio[35]::runtime::task::core::Core<F, S>>::poll",
        ];
        assert!(is_caught(caught.into_iter()));
    }

    #[test]
    fn a_panic_below_a_catch_of_the_users_is_caught() {
        assert!(is_caught(
            [
                "user::work",
                "std::panicking::try::do_call",
                "__rust_try",
                "std::panic::catch_unwind",
                "user::handler",
                "tokio::runtime::task::core::Core<T,S>::poll"
            ]
            .into_iter()
        ));
    }

    #[test]
    fn a_panic_under_a_local_value_of_the_thread_is_caught() {
        assert!(is_caught(
            [
                "user::work",
                "std::thread::local::LocalKey<T>::with",
                "__rust_try",
                "std::panic::catch_unwind",
                "user::handler",
                "tokio::runtime::task::core::Core<T,S>::poll"
            ]
            .into_iter()
        ));
    }

    #[test]
    fn a_panic_that_ends_a_thread_is_not_caught() {
        assert!(!is_caught(
            [
                "user::work",
                "std::sys::backtrace::__rust_begin_short_backtrace",
                "std::panicking::try",
                "std::thread::Builder::spawn_unchecked_"
            ]
            .into_iter()
        ));
    }
}
