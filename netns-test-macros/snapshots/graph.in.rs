#[netns_test(
    nodes(client, _server),
    routers(r1),
    switches(s),
    links(client.eth1 -- r1 { mtu = 1400, prefix = ["10.1.0.0/24", "2001:db8:7::/64"] }, r1 -- s, _server -- s { _server = "10.7.0.5/24" }),
    family = dual,
    routes = connected,
    addresses = none,
    run_in = _server,
)]
async fn graph(client: Node, r1: Router) {}
