use netns_test::netns_test;

#[netns_test(nodes(a, b), links(a -- b { delay = 20, jitter = 2m, loss = 1, rate = 10mbps, queue = 10mbit }))]
async fn units() {}

#[netns_test(nodes(a, b), links(a -- b { delay = "20ms", rate = "10mbps", loss = one, ecn = "mark", icmp = dorp }))]
async fn not_written_so() {}

#[netns_test(nodes(a, b), links(a -- b { loss = burst(1%, 25%) }, a -- b { loss = burst(enter = 1%) }, a -- b { loss = burst(entre = 1%, leave = 2%) }))]
async fn bursts() {}

#[netns_test(nodes(a, b), links(a -- b { loss = 120%, duplicate = 101%, rate = 0mbit, queue = 0packets }))]
async fn too_much_and_too_little() {}

#[netns_test(nodes(a, b), links(a -- b { jitter = 2ms, reorder = 1%, queue = 50ms, ecn = mark }))]
async fn one_goes_with_another() {}

#[netns_test(nodes(a, b), links(a -- b { delay = 1ms, jitter = 2ms, delay = 3ms }))]
async fn jitter_and_twice() {}

#[netns_test(nodes(a, b), switches(s, t), links(a -- s { loss = 1% }, s -- t { delay = 1ms }, b -- t { icmp = drop, wire = kernel }))]
async fn switches_and_wires() {}

#[netns_test(nodes(a, b), links(a -- b { trace = "lte.up" }, a -- b { trace = 10mbit }, a -- b { trace = [10mbit, 2s] }, a -- b { trace = [10mbps for 2s] }))]
async fn no_traces() {}

#[netns_test(nodes(a, b), links(
    a -- b { trace = [] },
    a -- b { trace = [0mbit for 1s] },
    a -- b { trace = [1mbit for 0s] },
    a -- b { trace = [1mbit for 1s], rate = 2mbit },
    a -- b { trace = [1mbit for 1s], wire = kernel },
))]
async fn traces() {}

#[netns_test(nodes = 2, wire = user, seed = 7)]
async fn no_graph() {}

fn main() {}
