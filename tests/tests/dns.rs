//! A name server of the test's own: whatever resolves names asks it, and meets what the test has broken.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use netns_test::dns::{Query, Rcode, Record, RecordType, Server, Transport};
use netns_test::{Network, Node, netns_test};
use netns_test_tests::rerun;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 7);

fn once(found: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found = Vec::from_iter(found);
    found.sort();
    found.dedup();
    found
}

fn std_lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok(once((name, 80).to_socket_addrs()?.map(|address| address.ip())))
}

async fn by_std(from: &Node, name: &'static str) -> io::Result<Vec<IpAddr>> {
    from.spawn_thread("lookup", move || std_lookup(name)).await.expect("no panic")
}

async fn by_tokio(from: &Node, name: &'static str) -> io::Result<Vec<IpAddr>> {
    from.run(async move || Ok(once(tokio::net::lookup_host((name, 80)).await?.map(|address| address.ip()))))
        .await
}

async fn by_getent(from: &Node, name: &str) -> Option<Vec<IpAddr>> {
    let output = from.command("getent").args(["ahosts", name]).output().await.expect("getent");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let ips = text.lines().map(|line| line.split_whitespace().next().unwrap().parse().expect("an address"));
    output.status.success().then(|| once(ips))
}

/// By a program that speaks DNS and nothing else.
async fn by_dns(from: &Node, name: &str) -> Result<Vec<IpAddr>, String> {
    let text = dig(from, &format!("+short +tries=1 {name}. A {name}. AAAA")).await;
    // Names on the way (CNAME) have a line each, too; what went wrong begins with a semicolon.
    let ips = once(text.lines().filter_map(|line| line.parse().ok()));
    if ips.is_empty() || text.contains(';') { Err(text) } else { Ok(ips) }
}

async fn dig(from: &Node, arguments: &str) -> String {
    let output = from.command("dig").args(arguments.split_whitespace()).output().await.expect("dig");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.trim_end().to_owned()
}

async fn everything_resolves(client: Node, server: Node, v4: bool, v6: bool) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let wanted: Vec<IpAddr> = v4.then_some(V4.into()).into_iter().chain(v6.then_some(V6.into())).collect();
    for ip in &wanted {
        dns.add("db.test", *ip)?;
    }
    dns.add("www.test", Record::Cname("DB.test.".to_owned()))?;
    // The server's own code asks it like any other.
    for from in [&client, &server] {
        for name in ["db.test", "DB.Test", "www.test"] {
            let what = format!("`{name}` in `{}`", from.name());
            assert_eq!(by_std(from, name).await?, wanted, "std, {what}");
            assert_eq!(by_tokio(from, name).await?, wanted, "Tokio, {what}");
            assert_eq!(by_getent(from, name).await.as_deref(), Some(&wanted[..]), "getent, {what}");
            assert_eq!(by_dns(from, name).await.as_deref(), Ok(&wanted[..]), "DNS, {what}");
            let record_type = if v4 { "A" } else { "AAAA" };
            assert!(
                dig(from, &format!("+short {name} {record_type}")).await.contains(&wanted[0].to_string())
            );
        }
        let own = once(server.addresses()?.iter().map(|address| address.ip).filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_loopback(),
            IpAddr::V6(ip) => ip.segments()[0] == 0x2001,
        }));
        for name in ["server", "ns.test"] {
            assert_eq!(by_dns(from, name).await.as_deref(), Ok(&own[..]), "`{name}`, which the network has");
        }
        for name in ["nobody.test", "nobody"] {
            assert!(by_std(from, name).await.is_err() && by_tokio(from, name).await.is_err());
            assert_eq!(by_getent(from, name).await, None);
            assert!(by_dns(from, name).await.is_err());
        }
    }
    // On each of the node's addresses, over both transports.
    for address in dns.addresses() {
        for transport in ["+notcp", "+tcp"] {
            let asked = format!("@{} {transport} +short -x {}", address.ip(), client.ip());
            assert_eq!(dig(&client, &asked).await, "client.", "{asked}");
        }
    }
    Ok(())
}

#[netns_test(nodes = 2, dns = server, aliases(server = ["ns.test"]))]
async fn dual(client: Node, server: Node) -> io::Result<()> {
    everything_resolves(client, server, true, true).await
}

#[netns_test(nodes = 2, dns = server, family = v4, aliases(server = ["ns.test"]))]
async fn v4(client: Node, server: Node) -> io::Result<()> {
    everything_resolves(client, server, true, false).await
}

#[netns_test(nodes = 2, dns = server, family = v6, aliases(server = ["ns.test"]))]
async fn v6(client: Node, server: Node) -> io::Result<()> {
    everything_resolves(client, server, false, true).await
}

#[netns_test(topology = line, dns = nodes_2)]
async fn over_a_router(nodes: [Node; 3]) -> io::Result<()> {
    let dns = Server::start(&nodes[2])?;
    dns.add("db.test", V4)?;
    assert_eq!(by_std(&nodes[0], "db.test").await?, [IpAddr::V4(V4)]);
    assert_eq!(dns.wait_query("db.test").await?.node.as_deref(), Some("nodes-0"));
    Ok(())
}

#[netns_test(nodes = 2, dns = server, run_in = client)]
fn in_plain_functions(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", server.ip())?;
    let _listener = server.blocking_listen_tcp(80)?;
    std::net::TcpStream::connect("db.test:80")?;
    client.blocking_connect_tcp("db.test:80")?;
    assert_eq!(dns.blocking_wait_query("db.test")?.node.as_deref(), Some("client"));
    // A node whose only thread is blocked by the question answers all the same.
    assert_eq!(server.blocking_run(async || std_lookup("db.test"))?, [server.ip()]);
    Ok(())
}

#[netns_test(nodes = 2)]
async fn a_name_server_can_be_set_later(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    assert!(by_std(&client, "db.test").await.is_err());
    for ip in [server.ip(), server.ip4().into()] {
        client.set_nameservers(&[ip])?;
        assert_eq!(by_std(&client, "db.test").await?, [IpAddr::V4(V4)]);
        assert_eq!(by_dns(&client, "db.test").await.as_deref(), Ok(&[IpAddr::V4(V4)][..]));
        assert_eq!(dig(&client, "+short db.test").await, V4.to_string());
    }
    client.set_nameservers(&[])?;
    assert!(by_std(&client, "db.test").await.is_err());
    Ok(())
}

/// The C library remembers one resolv.conf for the whole process, and tells by its file whether it has changed.
#[netns_test(nodes = 4)]
async fn every_node_asks_its_own_name_server(a: Node, b: Node, left: Node, right: Node) -> io::Result<()> {
    let servers = [(&left, Server::start(&left)?), (&right, Server::start(&right)?)];
    for (node, dns) in &servers {
        dns.add("who.test", node.ip())?;
    }
    for turn in 0..20 {
        let [of_a, of_b] = [servers[turn % 2].0, servers[(turn + 1) % 2].0];
        // At once, and of one length: only the servers' addresses differ.
        a.set_nameservers(&[of_a.ip()])?;
        b.set_nameservers(&[of_b.ip()])?;
        for (from, wanted) in [(&a, of_a), (&b, of_b), (&a, of_a)] {
            assert_eq!(
                from.enter(|| std_lookup("who.test"))?,
                [wanted.ip()],
                "{} in turn {turn}",
                from.name()
            );
        }
    }
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn records_of_all_types(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let long = "x".repeat(300);
    dns.set(
        "svc.test",
        [
            Record::A(V4),
            Record::Aaaa(V6),
            Record::Txt("v=1; p=\"q\"".to_owned()),
            Record::Txt(long.clone()),
            Record::Mx { preference: 10, exchange: "mail.test".to_owned() },
        ],
    )?;
    let service = Record::Srv { priority: 1, weight: 2, port: 389, target: "server".to_owned() };
    dns.set("_ldap._tcp.test", [service])?;
    dns.add("7.2.0.192.in-addr.arpa", Record::Ptr("svc.test".to_owned()))?;
    for (asked, answer) in [
        ("svc.test A", "192.0.2.7".to_owned()),
        ("svc.test AAAA", "2001:db8:ff::7".to_owned()),
        ("svc.test MX", "10 mail.test.".to_owned()),
        ("svc.test TXT", format!("\"v=1; p=\\\"q\\\"\"\n\"{}\" \"{}\"", &long[..255], &long[255..])),
        ("_ldap._tcp.test SRV", "1 2 389 server.".to_owned()),
        ("-x 192.0.2.7", "svc.test.".to_owned()),
        ("svc.test SRV", String::new()),
    ] {
        assert_eq!(dig(&client, &format!("+short {asked}")).await, answer, "{asked}");
    }
    dns.set("svc.test", [Record::Cname("server".to_owned())])?;
    assert_eq!(dig(&client, "+short svc.test A").await, format!("server.\n{}", server.ip4()));
    let everything = dig(&client, "+tcp +noall +answer svc.test ANY").await;
    assert!(everything.contains("CNAME\tserver."), "{everything}");
    // What is unknown to the server is told as it is asked.
    assert!(dig(&client, "svc.test TYPE65").await.contains("status: NOERROR"));
    assert!(dig(&client, "svc.test TYPE65280").await.contains("status: NOTIMP"));
    assert!(dig(&client, "svc.test AXFR").await.contains("failed"));
    assert!(dig(&client, "svc.test CH TXT").await.contains("status: REFUSED"));
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn no_data_is_not_no_name(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    dns.set("empty.test", [] as [Record; 0])?;
    for (asked, status) in [
        ("db.test A", "NOERROR"),
        ("db.test AAAA", "NOERROR"),
        ("empty.test A", "NOERROR"),
        ("test A", "NOERROR"),
        ("nobody.test A", "NXDOMAIN"),
    ] {
        let text = dig(&client, asked).await;
        assert!(text.contains(&format!("status: {status}")), "{asked}: {text}");
        // For how long that may be kept: RFC 2308.
        let is_negative = asked != "db.test A";
        assert_eq!(text.contains("SOA\tserver. server. 1"), is_negative, "{asked}: {text}");
    }
    dns.remove("db.test")?;
    assert!(dig(&client, "db.test A").await.contains("status: NXDOMAIN"));
    dns.remove("server")?;
    assert!(dig(&client, "server A").await.contains("status: NXDOMAIN"));
    assert!(by_std(&client, "server").await.is_ok(), "/etc/hosts has it as ever");
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn answers_may_be_kept_as_long_as_the_test_says(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    let asked = "+noall +answer +authority";
    assert!(dig(&client, &format!("{asked} db.test")).await.contains("db.test.\t\t0\tIN"));
    dns.set_default_ttl(Duration::from_secs(60));
    dns.set_ttl("db.test", Duration::from_secs(u64::MAX))?;
    assert!(dig(&client, &format!("{asked} db.test")).await.contains("2147483647 IN"));
    let negative = dig(&client, &format!("{asked} nobody.test")).await;
    assert!(negative.contains("60\tIN\tSOA") && negative.ends_with("86400 60"), "{negative}");
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn long_answers_come_over_tcp(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let many: Vec<IpAddr> = (1..=40).map(|last| Ipv4Addr::new(192, 0, 2, last).into()).collect();
    dns.set("many.test", many.clone())?;
    let transports = |dns: &Server| dns.queries().iter().map(|query| query.transport).collect::<Vec<_>>();
    let cut = dig(&client, "+noedns +ignore many.test").await;
    assert!(cut.contains(" tc ") && cut.contains("ANSWER: 0"), "{cut}");
    assert_eq!(transports(&dns), [Transport::Udp]);
    dns.clear_queries();
    assert_eq!(dig(&client, "+noedns +short many.test").await.lines().count(), 40);
    assert_eq!(transports(&dns), [Transport::Udp, Transport::Tcp]);
    dns.clear_queries();
    assert_eq!(dig(&client, "+bufsize=1232 +short many.test").await.lines().count(), 40);
    assert_eq!(transports(&dns), [Transport::Udp]);
    for found in [by_std(&client, "many.test").await?, by_dns(&client, "many.test").await.expect("DNS")] {
        assert_eq!(found, many);
    }
    Ok(())
}

#[netns_test(nodes = 3, dns = server)]
async fn it_tells_what_was_asked_by_whom(client: Node, third: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    assert_eq!(dns.queries(), []);
    dig(&client, "Db.Test. MX").await;
    dig(&third, "+tcp -4 @server db.test TYPE65").await;
    let queries = dns.queries();
    let told = |query: &Query| {
        (query.name.clone(), query.record_type, query.node.clone(), query.from.ip(), query.transport)
    };
    assert_eq!(
        queries.iter().map(told).collect::<Vec<_>>(),
        [
            ("db.test".into(), RecordType::Mx, Some("client".into()), client.ip(), Transport::Udp),
            (
                "db.test".into(),
                RecordType::Other(65),
                Some("third".into()),
                third.ip4().into(),
                Transport::Tcp
            ),
        ]
    );
    let text = queries[0].to_string();
    assert!(
        text.starts_with("db.test MX from [2001:db8::1]:") && text.ends_with(" (`client`) over UDP"),
        "{text}"
    );
    // Clones are handles to the same server; what was asked before the wait counts.
    assert_eq!(dns.clone().wait_query("DB.test.").await?, queries[0]);
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_fails_and_refuses_and_lies(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    for (rcode, status) in [
        (Rcode::ServFail, "SERVFAIL"),
        (Rcode::Refused, "REFUSED"),
        (Rcode::NxDomain, "NXDOMAIN"),
        (Rcode::FormErr, "FORMERR"),
        (Rcode::NotImp, "NOTIMP"),
        (Rcode::NoError, "NOERROR"),
    ] {
        let fault = dns.answer_with(rcode);
        let text = dig(&client, "db.test").await;
        assert!(text.contains(&format!("status: {status}")) && text.contains("ANSWER: 0"), "{text}");
        let error = by_std(&client, "db.test").await.expect_err(status);
        assert_ne!(error.kind(), ErrorKind::TimedOut);
        assert!(by_dns(&client, "db.test").await.is_err(), "{status}");
        drop(fault);
        assert_eq!(by_std(&client, "db.test").await?, [IpAddr::V4(V4)], "after {status}");
    }
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_is_silent(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    for transport in ["+notcp", "+tcp"] {
        let silence = dns.silence();
        let text = dig(&client, &format!("+tries=1 +time=1 {transport} db.test")).await;
        assert!(text.contains("timed out"), "{text}");
        drop(silence);
        assert_eq!(dig(&client, &format!("+short {transport} db.test")).await, V4.to_string());
    }
    // A resolver that tries again gets through once the silence is over.
    client
        .write("/etc/resolv.conf", format!("nameserver {}\noptions timeout:1 attempts:5\n", server.ip()))?;
    dns.clear_queries();
    let silence = dns.silence();
    let lookup = client.spawn_thread("lookup", || std_lookup("db.test"));
    dns.wait_query("db.test").await?;
    assert!(!lookup.is_finished());
    drop(silence);
    assert_eq!(lookup.await.expect("no panic")?, [IpAddr::V4(V4)]);
    assert!(dns.queries().len() > 2, "asked again: {:?}", dns.queries());
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_holds_answers_until_it_lets_them_go(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let held = dns.hold();
    let lookup = client.spawn_thread("lookup", || std_lookup("db.test"));
    dns.wait_query("db.test").await?;
    assert!(!lookup.is_finished());
    // The answer is what the server knows when it is sent.
    dns.add("db.test", V4)?;
    drop(held);
    assert_eq!(lookup.await.expect("no panic")?, [IpAddr::V4(V4)]);
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_is_slow(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    for transport in ["+notcp", "+tcp"] {
        let by = Duration::from_millis(300);
        let _slow = dns.delay(by);
        let started = Instant::now();
        assert_eq!(dig(&client, &format!("+short {transport} db.test")).await, V4.to_string());
        // Never less: how much more is the machine's matter.
        assert!(started.elapsed() >= by);
    }
    // Questions do not wait for each other.
    let never = dns.only("never.test")?.delay(Duration::from_secs(3600));
    let asking = client.spawn_thread("lookup", || std_lookup("never.test"));
    dns.wait_query("never.test").await?;
    assert_eq!(by_std(&client, "db.test").await?, [IpAddr::V4(V4)]);
    assert!(!asking.is_finished());
    drop(never);
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_truncates_answers(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    let truncated = dns.truncate();
    let text = dig(&client, "+ignore db.test").await;
    assert!(text.contains(" tc ") && text.contains("ANSWER: 0"), "{text}");
    dns.clear_queries();
    assert_eq!(dig(&client, "+short db.test").await, V4.to_string());
    let transports: Vec<_> = dns.queries().iter().map(|query| query.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp]);
    assert_eq!(by_std(&client, "db.test").await?, [IpAddr::V4(V4)]);
    assert_eq!(by_dns(&client, "db.test").await.as_deref(), Ok(&[IpAddr::V4(V4)][..]));
    drop(truncated);
    assert!(!dig(&client, "+ignore db.test").await.contains(" tc "));
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn it_forges_ids(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    let forged = dns.wrong_id();
    let text = dig(&client, "+tries=1 +time=3 db.test").await;
    assert!(text.contains("ID mismatch"), "{text}");
    drop(forged);
    assert_eq!(dig(&client, "+short db.test").await, V4.to_string());
    Ok(())
}

#[netns_test(nodes = 2, dns = server)]
async fn one_name_can_be_broken_alone(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    for name in ["a.test", "b.test"] {
        dns.add(name, V4)?;
    }
    let only = dns.only("A.test.")?;
    let text = |name: &'static str| dig(&client, name);
    {
        let _fails = only.answer_with(Rcode::ServFail);
        assert!(text("a.test").await.contains("SERVFAIL"));
        assert!(text("b.test").await.contains("NOERROR"));
        let _both = (only.truncate(), dns.answer_with(Rcode::Refused));
        // The later of two.
        assert!(text("a.test").await.contains("REFUSED") && text("b.test").await.contains("REFUSED"));
    }
    {
        let _silence = only.silence();
        assert!(text("+tries=1 +time=1 a.test").await.contains("timed out"));
        assert_eq!(text("+short b.test").await, V4.to_string());
    }
    {
        let _forged = only.wrong_id();
        assert!(text("+tries=1 +time=3 a.test").await.contains("ID mismatch"));
        assert_eq!(text("+short b.test").await, V4.to_string());
    }
    {
        let _held = only.hold();
        dns.clear_queries();
        let asking = client.spawn_thread("lookup", || std_lookup("a.test"));
        dns.wait_query("a.test").await?;
        assert_eq!(text("+short b.test").await, V4.to_string());
        assert!(!asking.is_finished());
    }
    assert_eq!(text("+short a.test").await, V4.to_string());
    Ok(())
}

#[netns_test(nodes = 2)]
async fn what_cannot_be_is_an_error_with_its_cause(server: Node, other: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let taken = Server::start(&server).expect_err("taken").to_string();
    assert_eq!(
        taken,
        "failed to bind UDP [2001:db8::1]:53 for a DNS server: Address already in use (os error 98)"
    );
    Server::start(&other)?;
    let alias = || Record::Cname("b.test".to_owned());
    for (error, text) in [
        (dns.add("a..test", V4), "failed to add a record of `a..test`: `a..test` is no domain name"),
        (dns.add("a b", V4), "`a b` is no domain name: it has ` `"),
        (dns.add("*.test", V4), "a wildcard, which this server does not have"),
        (dns.add(&"a".repeat(64), V4), "too long for a domain name"),
        (dns.add("a.test", Record::Cname(String::new())), "`` is no domain name"),
        (dns.add("server", alias()), "`server` would have a CNAME beside other records"),
        (
            dns.set("c.test", [alias(), V4.into()]),
            "failed to set the records of `c.test`: `c.test` would have",
        ),
        (dns.remove("c.test"), "failed to remove the name `c.test`: the server has no such name"),
        (dns.set_ttl("c.test", Duration::ZERO), "failed to set the time to live of `c.test`: the server has"),
        (dns.only(".").map(drop), "failed to break the answers for `.`"),
        (dns.wait_query("a b").await.map(drop), "failed to wait for a query for `a b`"),
    ] {
        let error = error.expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
    Ok(())
}

#[netns_test(nodes = 2, dns = server, timeout = 5s)]
#[ignore = "fails on purpose"]
async fn waits_in_vain(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let _silence = dns.silence();
    let _asking = client.spawn_thread("lookup", || std_lookup("other.test"));
    dns.wait_query("other.test").await?;
    dns.wait_query("db.test").await?;
    Ok(())
}

#[test]
fn a_wait_in_vain_tells_what_was_asked_instead() {
    rerun("waits_in_vain").run().failed_with(&[
        "failed to wait for a query for `db.test` in `server`: the test's timeout is about to pass; there was",
        "other.test A from [2001:db8::1]:",
        "(`client`) over UDP",
    ]);
}

#[netns_test(nodes = 1)]
#[ignore = "fails on purpose"]
fn fails_while_a_server_runs(server: Node) {
    let _dns = Server::start(&server).expect("port 53 is free");
    panic!("on purpose");
}

#[test]
fn a_server_ends_with_its_test() {
    let outcome = rerun("fails_while_a_server_runs").run();
    outcome.failed_with(&["on purpose"]);
    let text = outcome.to_string();
    assert!(!text.contains("left behind"), "{text}");
    rerun("ends_while_questions_hang").run().passed();
}

#[netns_test(nodes = 2, dns = server)]
#[ignore = "run by its proof"]
async fn ends_while_questions_hang(network: Network, client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("db.test", V4)?;
    // Questions that hang when the test ends.
    let _held = dns.hold();
    for node in network.nodes() {
        node.spawn(async || tokio::net::lookup_host("db.test:80").await.map(drop));
    }
    client.spawn(async || tokio::net::lookup_host("other.test:80").await.map(drop));
    dns.wait_query("other.test").await?;
    Ok(())
}
