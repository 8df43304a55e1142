#[netns_test(
    nodes(a, b),
    links(
        a -- b { delay = 20ms, loss = burst(enter = 1%, leave = 25%), rate = 1.5mbit, wire = user },
        a -> b { loss = 0.5%, queue = 64kb, ecn = mark },
    ),
    seed = 7,
)]
fn links(a: Node) {}
