//! What an expansion calls: it runs nothing, and says so.

use std::future::Future;
use std::io::Write as _;
use std::process::{ExitCode, Termination};

use super::{ELSEWHERE, unavailable};
use crate::__private::{Arguments, TestCase};
use crate::Error;

/// A test that is run although it is ignored.
#[track_caller]
pub fn run_async<F, B>(_test: &'static TestCase, _body: F)
where
    F: FnOnce(&Arguments<'_>) -> Result<B, Error> + Send + 'static,
    B: Future + 'static,
    B::Output: Termination,
{
    unavailable()
}

/// A test that is run although it is ignored.
#[track_caller]
pub fn run_sync<F, R>(_test: &'static TestCase, _body: F)
where
    F: FnOnce(&Arguments<'_>) -> Result<R, Error> + Send + 'static,
    R: Termination,
{
    unavailable()
}

/// A program whose `main` is async.
pub fn main_async<F, B>(program: &'static TestCase, _body: F) -> ExitCode
where
    F: FnOnce(&Arguments<'_>) -> Result<B, Error> + Send + 'static,
    B: Future + 'static,
    B::Output: Termination,
{
    refused(program)
}

/// A program whose `main` is a plain function.
pub fn main_sync<F, R>(program: &'static TestCase, _body: F) -> ExitCode
where
    F: FnOnce(&Arguments<'_>) -> Result<R, Error> + Send + 'static,
    R: Termination,
{
    refused(program)
}

fn refused(program: &TestCase) -> ExitCode {
    // There is nobody to tell that standard error is closed.
    let _closed = writeln!(std::io::stderr(), "netns-test: {}: {ELSEWHERE}", program.name);
    ExitCode::FAILURE
}
