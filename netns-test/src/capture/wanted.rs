//! Whether a test's packets are recorded: by the environment, by the attribute, or as what it costs allows.

use std::env;
use std::sync::Arc;

use netns_test_model::Capture;

use super::recorder;
use super::recording::{Keep, Recorded, Recording, Tap};
use crate::error::Error;
use crate::knob;
use crate::sys::packets::Buffers;

/// The variable that says it for all tests.
const VARIABLE: &str = "NETNS_TEST_CAPTURE";

/// In how many nodes packets are recorded that nobody asked for.
const MOST_NODES: usize = 64;

/// Whether a test's packets are to be recorded.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) when: Capture,
    /// Somebody asked for it: what stands in the way is an error then.
    is_asked: bool,
    /// Why not, where nobody decided.
    why_not: Option<String>,
}

impl Wanted {
    /// A network without a test has no failure to show.
    pub(crate) fn never() -> Self {
        Self { when: Capture::Never, is_asked: false, why_not: None }
    }

    /// What the environment says, or else the attribute, or else the default.
    pub(crate) fn read(declared: Option<Capture>, nodes: usize) -> Result<Self, String> {
        let of_environment = match knob::value(VARIABLE) {
            None => None,
            Some(value) => {
                let known = Capture::ALL.iter().find(|when| value == when.name());
                Some(*known.ok_or_else(|| {
                    format!("{VARIABLE} is `{}`: expected `failure`, `always` or `never`", value.display())
                })?)
            }
        };
        let why_not = match of_environment.or(declared) {
            Some(when) => return Ok(Self { when, is_asked: true, why_not: None }),
            // One process for each test, which waits at its end until the kernel has closed the sockets.
            None if env::var_os("NEXTEST").is_some() => "under nextest",
            None if nodes > MOST_NODES => "with so many nodes",
            None => return Ok(Self { when: Capture::Failure, is_asked: false, why_not: None }),
        };
        let why_not =
            format!("{why_not}, only with {VARIABLE}=failure, or `capture = failure` in the attribute");
        Ok(Self { when: Capture::Never, is_asked: false, why_not: Some(why_not) })
    }

    /// Starts what records. The calling thread must be in the host's namespaces.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        // A test may want packets itself: only from here can what reads them be started.
        let started = recorder::start();
        match self.when {
            Capture::Never => started,
            _ => started.and_then(|()| recorder::keep_timestamps()).or_else(|error| self.refused(error)),
        }
    }

    fn refused(&mut self, error: Error) -> Result<(), Error> {
        if self.is_asked {
            return Err(error);
        }
        self.when = Capture::Never;
        self.why_not = Some(error.to_string());
        Ok(())
    }
}

/// The taps of a network that is being made.
#[derive(Debug)]
pub(crate) struct Opening {
    wanted: Wanted,
    nodes: usize,
    taps: Vec<Tap>,
}

impl Opening {
    pub(crate) fn new(wanted: Wanted, nodes: usize) -> Self {
        Self { wanted, nodes, taps: Vec::new() }
    }

    /// Opens a tap in the node whose network namespace the calling thread is in.
    pub(crate) fn tap(&mut self, name: &str) -> Result<(), Error> {
        if self.wanted.when == Capture::Never {
            return Ok(());
        }
        match Tap::open(name, self.nodes) {
            Ok(tap) => self.taps.push(tap),
            Err(error) => self.wanted.refused(error)?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Packets {
        let recording = (self.wanted.when != Capture::Never && !self.taps.is_empty()).then(|| {
            let recording = Arc::new(Recording::new(self.taps, Keep::Bounded));
            recorder::add(&recording);
            recording
        });
        Packets { wanted: self.wanted, recording }
    }
}

/// The packets of a running test.
#[derive(Debug)]
pub(crate) struct Packets {
    wanted: Wanted,
    recording: Option<Arc<Recording>>,
}

impl Packets {
    /// A tap for a node that is about to join, whose network namespace the calling thread is in; it keeps the node's packets until
    /// it is [added](Self::add).
    #[cfg(feature = "kubernetes")]
    pub(crate) fn tap(&self, name: &str) -> Result<Option<Tap>, Error> {
        self.recording.as_ref().map(|_| Tap::open(name, 1)).transpose()
    }

    /// Records a node that has joined.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn add(&self, tap: Tap) {
        if let Some(recording) = &self.recording {
            recording.add(tap);
        }
    }

    /// Whether there are any.
    pub(crate) fn are_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Whether they are to be kept of a test that passes, too.
    pub(crate) fn are_kept_always(&self) -> bool {
        self.wanted.when == Capture::Always
    }

    /// Reads what has passed up to now: of some packets nothing else tells that they have.
    pub(crate) fn read(&self) {
        if let Some(recording) = &self.recording {
            recording.drain(&mut Buffers::new());
        }
    }

    /// What was recorded up to now, or why it cannot be had; `None` where it is not wanted.
    pub(crate) fn so_far(&self) -> Option<Result<Recorded, String>> {
        match (&self.recording, &self.wanted.why_not) {
            (Some(recording), _) => Some(recording.so_far()),
            (None, Some(why_not)) => Some(Err(format!("they were not recorded: {why_not}"))),
            (None, None) => None,
        }
    }

    /// Says that the test ends now: what is seen later is its tear-down.
    pub(crate) fn end(&self) {
        if let Some(recording) = &self.recording {
            recording.end();
        }
    }

    /// Closes what is open. The calling thread must be in the host's namespaces.
    pub(crate) fn close(&self) {
        if let Some(recording) = &self.recording {
            recording.close();
        }
    }
}
