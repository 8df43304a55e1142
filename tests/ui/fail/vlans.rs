use netns_test::netns_test;

#[netns_test(nodes(a, b), links(a -- b { vlan = 10 }))]
async fn without_a_switch() {}

#[netns_test(nodes(a, b), switches(s), links(a -- s { vlan = 0 }, b -- s { vlan = 70000 }))]
async fn numbers() {}

#[netns_test(nodes(a, b), switches(s), links(a -- s { vlan = "10" }, b -- s { vlan }))]
async fn not_written_so() {}

#[netns_test(
    nodes(a, b), switches(s, t),
    links(a -- s { vlan = 10 }, b -- s { vlan = 20 }, s -- t { prefix = "10.0.7.0/24" }),
)]
async fn a_prefix_of_several() {}

#[netns_test(nodes(a, b), switches(s), links(a -- s, b -- s, a -> s { vlan = 10 }))]
async fn a_direction() {}

fn main() {}
