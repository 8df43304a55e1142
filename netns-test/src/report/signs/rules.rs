//! What rules of nf_tables have stopped.

use super::plural;
use crate::gateway::Stopped;
use crate::netlink::nftables::{Fate, Stop};
use crate::report::data::{Host, Report};

/// What a router's NAT and firewall have let through neither way.
pub(super) fn stopped(_: &Report, host: &Host) -> Vec<String> {
    let line = |stopped: &Stopped| {
        let packets = plural(stopped.packets, "packet was", "packets were");
        format!("{packets} stopped by its {}: {}", stopped.by, stopped.why)
    };
    host.stopped.iter().map(line).collect()
}

/// The most rules of one node that are named one by one.
const MOST_STOPS: usize = 3;

/// The rules of the test's own that have stopped something, as their counters say.
pub(super) fn counted_stops(_: &Report, host: &Host) -> Vec<String> {
    let line = |stop: &Stop| {
        let packets = stop.counted.map(|counted| counted.packets).filter(|packets| *packets > 0)?;
        let fate = match stop.fate {
            Fate::Dropped => "dropped",
            Fate::Rejected => "rejected",
        };
        Some((packets, format!("{} {fate} by {}", plural(packets, "packet was", "packets were"), rule(stop))))
    };
    let mut lines: Vec<(u64, String)> = host.stops.iter().filter_map(line).collect();
    lines.sort_by_key(|(packets, _)| std::cmp::Reverse(*packets));
    let more = lines.len().saturating_sub(MOST_STOPS);
    let mut texts: Vec<String> = lines.into_iter().take(MOST_STOPS).map(|(_, text)| text).collect();
    if more > 0 {
        texts.push(format!(
            "{} packets as well",
            plural(more as u64, "more rule stopped", "more rules stopped")
        ));
    }
    texts
}

/// Those of which nobody knows, as they have no counter.
pub(super) fn uncounted_stops(_: &Report, host: &Host) -> Vec<String> {
    let uncounted: Vec<&Stop> = host.stops.iter().filter(|stop| stop.counted.is_none()).collect();
    let mut names: Vec<String> = uncounted.iter().take(MOST_STOPS).map(|stop| rule(stop)).collect();
    let more = uncounted.len().saturating_sub(MOST_STOPS);
    if more > 0 {
        names.push(plural(more as u64, "more rule", "more rules"));
    }
    match names.is_empty() {
        true => Vec::new(),
        false => {
            vec![format!(
                "packets may have been stopped, and nothing counts how many, by {}",
                names.join(", ")
            )]
        }
    }
}

/// A rule as nft(8) would name it: it prints handles with `-a`.
fn rule(stop: &Stop) -> String {
    let chain = format!("`{} {} {}`", stop.family, stop.table, stop.chain);
    match &stop.rule {
        None => format!("the policy of {chain}"),
        Some((handle, None)) => format!("the rule with handle {handle} of {chain}"),
        Some((handle, Some(comment))) => format!("the rule with handle {handle} of {chain} ({comment})"),
    }
}
