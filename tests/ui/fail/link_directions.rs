use netns_test::netns_test;

#[netns_test(nodes(a, b, c), links(a -- b, a -> c { loss = 1% }, a -> d { loss = 1% }, a -> b {}, b -> a { mtu = 1400, loss = 1% }))]
async fn no_direction() {}

#[netns_test(nodes(a, b), links(a -- b, a.eth7 -- b, a -> b { loss = 1% }, a.eth7 -> b { delay = 1ms }, a.eth7 -> b { loss = 1% }))]
async fn which_one() {}

#[netns_test(nodes(a, b), links(a -- b { delay = 1ms }, a -> b { jitter = 5ms }, b -> a { loss = 101%, dealy = 1ms }))]
async fn with_the_link() {}

fn main() {}
