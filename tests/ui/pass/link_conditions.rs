//! Everything that a link can do to packets.

use netns_test::{Node, netns_test};

#[netns_test(
    nodes(client, server, other),
    routers(r1, r2),
    switches(lan),
    links(
        client -- r1 {
            delay = 20ms, jitter = 2.5ms, loss = 1%, duplicate = 0.1%, reorder = 1%, corrupt = 0.01%,
            rate = 10mbit, queue = 50ms, ecn = mark, icmp = pass, mtu = 1400,
        },
        r1.wan -- r2.wan { loss = burst(enter = 1%, leave = 25%, bad = 90%, good = 0.1%), wire = user },
        r1.wan -> r2.wan { rate = 1.5mbit, queue = 100packets },
        r2.wan -> r1 { rate = 64kbit, queue = 64kb, icmp = drop },
        r2 -- lan,
        server -- lan { ecn = bleach },
        lan -> server { ecn = drop, trace = [10mbit for 2s, 0mbit for 500ms, 1.5mbit for 1min] },
        other -- lan { wire = kernel, delay = 1ms },
    ),
    wire = user,
    seed = 42,
)]
#[ignore = "compiled, not run"]
async fn all(_client: Node, _server: Node) {}

fn main() {}
