use netns_test::netns_test;

#[netns_test(nodes(a, b), links(a -- b { mtu = 1279 }, a -- b { mtu = 65536 }, a -- b { mtu = 5000000000 }))]
async fn of_both_families() {}

#[netns_test(nodes(a, b), links(a -- b { mtu = 67 }), family = v4)]
async fn of_ipv4() {}

#[netns_test(switches(s, t), links(s -- t { mtu = 1400 }))]
async fn between_switches() {}

fn main() {}
