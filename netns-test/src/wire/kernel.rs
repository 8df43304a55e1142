//! The wire in the kernel: what netem and tbf are to do for a link's conditions. Pure.

use std::time::Duration;

use netns_test_model::graph::{Conditions, Ecn, Loss, Percent, Queue};
use nix::libc;

use super::fate::Row;
use crate::error::Error;
use crate::netlink::{Model, Netem, NetlinkError, Shape, Tbf};

/// The length of an Ethernet header.
const HEADER: u64 = 14;
/// Of two tags behind it (IEEE 802.1Q).
const TAGS: u32 = 8;

/// What an interface with this MTU is to send through; [`Conditions::beyond_kernel`] has been asked before. `largest` is the largest MTU
/// that it has had: frames of that time may still wait.
pub(crate) fn shape(conditions: &Conditions, mtu: u32, largest: u32, seed: u64) -> Shape {
    let Conditions { delay, jitter, loss, duplicate, reorder, corrupt, .. } = conditions;
    let share = |share: &Option<Percent>| share.map_or(0, probability);
    let netem = Netem {
        latency: nanos(delay.unwrap_or_default()),
        jitter: nanos(jitter.unwrap_or_default()),
        loss: match loss {
            Some(Loss::Uniform(share)) => probability(*share),
            _ => 0,
        },
        model: match loss {
            Some(Loss::Burst(burst)) => Some(Model {
                p: probability(burst.enter),
                r: probability(burst.leave),
                h: u32::MAX - probability(burst.bad),
                k1: probability(burst.good),
            }),
            _ => None,
        },
        duplicate: share(duplicate),
        reorder: share(reorder),
        corrupt: share(corrupt),
        marks_ecn: conditions.ecn == Some(Ecn::Mark),
        seed,
    };
    let does_nothing = netem == Netem { seed, ..Netem::default() };
    let longest = mtu.saturating_add(HEADER as u32 + TAGS);
    Shape { netem: (!does_nothing).then_some(netem), tbf: tbf(conditions, mtu, largest), longest }
}

/// The error for a shape that the kernel refused, with what is missing from it.
pub(crate) fn refused(error: NetlinkError, shape: &Shape, operation: impl Fn() -> String) -> Error {
    let is_missing = matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP));
    let missing = match (shape.netem, shape.tbf) {
        (None, Some(_)) => "tbf (CONFIG_NET_SCH_TBF)",
        (Some(_), _) => "netem or no tbf (CONFIG_NET_SCH_NETEM, CONFIG_NET_SCH_TBF)",
        (None, None) => return error.into(),
    };
    match is_missing {
        true => {
            let text = format!("this kernel has no {missing}: declare the link with `wire = user`");
            Error::because(operation(), text)
        }
        false => error.into(),
    }
}

/// What the kernel's random numbers follow in one direction of one link.
pub(crate) fn seed(seed: u64, link: usize, side: usize) -> u64 {
    Row::new(seed, [link as u64, side as u64, u64::MAX]).next().below(u64::MAX)
}

fn tbf(conditions: &Conditions, mtu: u32, largest: u32) -> Option<Tbf> {
    let rate = (conditions.rate?.bits() / 8).max(1);
    let frame = u64::from(mtu) + HEADER;
    let waiting = match conditions.queue.unwrap_or(Queue::DEFAULT) {
        Queue::Time(time) => u128::from(rate) * time.as_nanos() / 1_000_000_000,
        Queue::Bytes(bytes) => bytes.into(),
        Queue::Packets(packets) => u128::from(packets) * u128::from(frame),
        _ => unreachable!("this version has no other"),
    };
    // What finds less than that before it may wait as well.
    let limit = waiting + u128::from(frame);
    // So much leaves at once where the kernel's timers come late: with less, five milliseconds of that would cost some of the rate.
    let burst = (rate / 200).max(2 * (u64::from(largest.max(mtu)) + HEADER));
    let fitting = |bytes: u128| u32::try_from(bytes).unwrap_or(u32::MAX);
    Some(Tbf { rate, burst: fitting(burst.into()), limit: fitting(limit) })
}

/// A share of `u32::MAX`.
fn probability(Percent(share): Percent) -> u32 {
    (share / 100.0 * f64::from(u32::MAX)).round() as u32
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use netns_test_model::graph::{Burst, Rate};

    use super::*;

    #[test]
    fn conditions_are_put_in_the_kernels_terms() {
        assert!(shape(&Conditions::new(), 1500, 1500, 1).is_none());
        let all = Conditions::new()
            .delay(Duration::from_millis(20))
            .loss(Burst::new(Percent(1.0), Percent(25.0)).bad(Percent(75.0)))
            .corrupt(Percent(100.0));
        let netem = shape(&all, 1500, 1500, 7).netem.unwrap();
        assert_eq!((netem.latency, netem.jitter, netem.loss, netem.corrupt), (20_000_000, 0, 0, u32::MAX));
        let quarter = u32::MAX / 4 + 1;
        let model = Model { p: 42_949_673, r: quarter, h: quarter - 1, k1: 0 };
        assert_eq!(netem.model.map(|found| (found.p, found.r, found.k1)), Some((model.p, model.r, model.k1)));
        assert!(netem.model.unwrap().h.abs_diff(model.h) <= 1);
    }

    #[test]
    fn a_queue_is_in_bytes() {
        let tbf = |queue: Queue, rate| {
            shape(&Conditions::new().rate(rate).queue(queue), 1500, 1500, 1).tbf.unwrap()
        };
        let slow = tbf(Queue::Time(Duration::from_millis(50)), Rate::mbit(8));
        assert_eq!(slow, Tbf { rate: 1_000_000, burst: 5000, limit: 51_514 });
        assert_eq!(tbf(Queue::Packets(10), Rate::mbit(8)).limit, 15_140 + 1514);
        assert_eq!(tbf(Queue::Bytes(9000), Rate::gbit(8)).burst, 5_000_000);
    }
}
