use netns_test::netns_test;

#[netns_test(nodes(a, b, c), links(
    a -- b { prefix = "10.1.0.0/16" },
    b -- c { prefix = "10.1.9.0/24" },
    c -- a { prefix = ["10.2.0.0/24", "10.3.0.0/24"] },
))]
async fn overlap() {}

#[netns_test(nodes(a, b), links(
    a -- b { prefix = "10.1.0.5/24" },
    a -- b { prefix = "10.2.0.0" },
    a -- b { prefix = "here" },
    a -- b { prefix = "127.0.0.0/24" },
    a -- b { prefix = "10.3.0.0/32" },
    a -- b { prefix = "10.4.0.0/33" },
))]
async fn prefixes() {}

#[netns_test(nodes(a, b), switches(s), links(
    a -- b { prefix = "10.1.0.0/24", a = "10.2.0.5", b = "10.1.0.5/16" },
    a -- b { a = "10.3.0.5/24", b = ["10.3.0.5", "10.3.0.0"] },
    a -- b { a = "10.4.0.5" },
    a -- s { s = "10.5.0.1/24", prefix = "10.5.0.0/24" },
    b -- s { prefix = "10.6.0.0/24" },
))]
async fn addresses() {}

#[netns_test(nodes(a, b), links(a -- b { prefix = "10.1.0.0/24", a = "2001:db8::1/64" }), family = v6)]
async fn families() {}

fn main() {}
