use netns_test::netns_test;

fn number() -> u32 {
    7
}

#[netns_test(topology = number())] //~ ERROR mismatched types
async fn no_topology() {}

#[netns_test(topology = missing())] //~ ERROR cannot find function `missing` in this scope
async fn not_there() {}
