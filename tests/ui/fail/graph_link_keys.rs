use netns_test::netns_test;

#[netns_test(nodes(client, b), links(client -- b { mut = 1400, mtu, prefix = , dleay = 1ms, loss, wire = tap }))]
async fn unknown() {}

#[netns_test(nodes(client, b, c), links(client -- b { cleint = "10.1.0.1/24", c = ["10.1.0.1/24"] }))]
async fn other_ends() {}

#[netns_test(nodes(a, b), links(a -- b { mtu = "1400" }, a -- b { mtu = 1400bytes }, a -- b { mtu = 1400, mtu = 1500 }))]
async fn numbers() {}

#[netns_test(nodes(a, b), links(a -- b { prefix = 10.1 }, a -- b { prefix = [] }, a -- b { a = here }))]
async fn texts() {}

fn main() {}
