use netns_test::netns_test;

#[netns_test(
    nodes(a, b),
    routers(
        no_uplink { nat = home },
        firewall { firewall = stateful },
        wrong { nat = home, uplink = bb },
        elsewhere { nat = home, uplink = firewall },
        twice { nat = home, uplink = b },
        alone { nat = home },
    ),
    links(
        a -- no_uplink, no_uplink -- b,
        a -- firewall, firewall -- b,
        a -- wrong, wrong -- b,
        a -- elsewhere, elsewhere -- b,
        a -- twice, twice -- b, twice -- b,
    ),
)]
async fn uplinks() {}

#[netns_test(
    nodes(a { nat = home }, b),
    routers(
        r1 { nat = hom },
        r2 { nat = symmetric, uplink = b },
        r3 { mapping = endpoint_independent, uplink = b },
        r4 { nat = home, mapping = endpoint_independant, filtering = symmetric, uplink = b },
        r5 { nat = home, hairpinning = yes, port_preservation, udp_timeout = 30, uplink = b },
        r6 { nat = home, nat = cgnat, uplnk = b },
        r7 { firewall = closed, uplink = "b", = },
        r8 { nat =, uplink 7 },
    ),
    links(a -- b),
)]
async fn words() {}

#[netns_test(
    nodes(a, b),
    routers(
        r1 { nat = home, udp_timeout = 500ms, tcp_timeout = 1.5s, uplink = b },
        r2 { uplink = b },
        r3 { nat = none, firewall = open, uplink = b },
    ),
    links(a -- r1, r1 -- b, a -- r2, r2 -- b, a -- r3, r3 -- b),
)]
async fn values() {}

#[netns_test(nodes(a, b), routers(r { nat = home, uplink = b }), links(a -- r, r -- b), family = v6)]
async fn ipv6() {}

#[netns_test(
    nodes(a, b),
    routers(r { nat = home, uplink = b }),
    links(a -- r { prefix = "10.1.0.0/24" }, r -- b),
    addresses = none,
)]
async fn no_outer_address() {}

#[netns_test(
    nodes(a, b),
    routers(nat { nat = home, uplink = r }, r),
    links(a -- nat, nat -- r, r -- b, nat -- b, a -- b { private = true }),
)]
async fn values_of_links() {}

#[netns_test(
    nodes(a, b),
    routers(nat { nat = home, uplink = r }, past, r),
    switches(lan),
    links(a -- lan, nat -- lan, past -- lan, nat -- r, past -- r, r -- b),
)]
async fn past_the_nat() {}

#[netns_test(
    nodes(a, b, c),
    routers(home { nat = home, uplink = isp }, office { nat = home, uplink = isp }, isp),
    links(
        a -- home { prefix = "192.168.1.0/24" },
        b -- office { prefix = "192.168.1.0/24" },
        home -- isp { prefix = "192.168.0.0/16" },
        office -- isp,
        isp -- c { prefix = "192.168.1.0/28" },
    ),
)]
async fn overlaps() {}

fn main() {}
