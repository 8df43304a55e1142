use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use netlink_packet_core::NetlinkSerializable as _;
use nix::libc;

use super::attributes::{Attributes, find, read as attributes_of, text_of};
use super::*;
use crate::netlink::tests::{in_namespace, wait_until};
use crate::netlink::{Request, RouteSocket};

// What is encoded, against bytes worked out by hand from the kernel's headers.

#[test]
fn attributes_are_padded_nested_and_in_network_byte_order() {
    let inner = Attributes::new().u32(2, 0x0102_0304).u8(3, 7);
    let outer = Attributes::new().text(1, "abc").nested(4, &inner);
    let expected: &[&[u8]] = &[
        &8u16.to_ne_bytes(),
        &1u16.to_ne_bytes(),
        b"abc\0",
        &20u16.to_ne_bytes(),
        &(4u16 | 1 << 15).to_ne_bytes(),
        &8u16.to_ne_bytes(),
        &2u16.to_ne_bytes(),
        &[1, 2, 3, 4],
        &5u16.to_ne_bytes(),
        &3u16.to_ne_bytes(),
        &[7, 0, 0, 0],
    ];
    assert_eq!(outer.as_bytes(), expected.concat());
    assert_eq!(find(outer.as_bytes(), 1).map(text_of).as_deref(), Some("abc"));
    let nested: Vec<_> = attributes_of(find(outer.as_bytes(), 4).unwrap()).collect();
    assert_eq!(nested, [(2, &[1, 2, 3, 4][..]), (3, &[7][..])]);
}

#[test]
fn damaged_answers_are_read_as_far_as_they_go() {
    let chain = Table::new(Family::Inet, "t").chain("c");
    let counter = Attributes::new().u64(1, 70).u64(2, 1);
    let expression = Attributes::new().text(1, "counter").nested(2, &counter);
    let rule = Rule::new().tcp_dport(80).comment("why").accept().attributes(&chain, 1);
    let listed = Attributes::new()
        .text(2, "c")
        .u64(3, 7)
        .nested(4, &Attributes::new().nested(1, &expression))
        .bytes(7, &[0, 4, b'w', b'h', b'y', 0]);
    let element = Attributes::new().nested(1, &Attributes::new().bytes(1, &[10, 0, 0, 1])).u64(5, 1000);
    let elements = Attributes::new().nested(3, &Attributes::new().nested(1, &element));
    let samples = [rule, listed, elements].map(|attributes| attributes.as_bytes().to_vec()).to_vec();
    assert!(read::rule(&samples[1]).is_some_and(|rule| rule.counted.is_some() && rule.comment.is_some()));
    assert_eq!(read::elements(&samples[2]).len(), 1);
    crate::fuzz::survives("answers of nf_tables", samples, |attributes| {
        let _read = (read::rule(attributes), read::elements(attributes));
    });
}

/// The names of a rule's expressions in a table of this family.
fn names(rule: &Rule, family: Family) -> Vec<String> {
    let chain = Table::new(family, "t").chain("c");
    let attributes = rule.attributes(&chain, 1);
    let list = find(attributes.as_bytes(), 4).unwrap();
    attributes_of(list).map(|(_, expression)| text_of(find(expression, 1).unwrap())).collect()
}

#[test]
fn a_rule_asks_for_the_protocol_that_its_fields_are_of_once() {
    let v4 = |host| Ipv4Addr::new(10, 0, 0, host);
    let rule = Rule::new().saddr(v4(1), 32).daddr(v4(2), 32).tcp_dport(1).tcp_dport(2).drop();
    let fields = ["payload", "cmp", "payload", "cmp", "meta", "cmp", "payload", "cmp", "payload", "cmp"];
    let all = |first: &[&'static str]| [first, &fields, &["immediate"]].concat();
    assert_eq!(names(&rule, Family::Ip), all(&[]));
    assert_eq!(names(&rule, Family::Inet), all(&["meta", "cmp"]));
    let masked = Rule::new().saddr(v4(0), 20);
    assert_eq!(names(&masked, Family::Ip), ["payload", "bitwise", "cmp"]);
    let Expr::Mask(_, mask) = &masked.exprs[2] else { panic!("{masked:?}") };
    assert_eq!(mask.0, [255, 255, 240, 0]);
    assert_eq!(names(&Rule::new().saddr(Ipv6Addr::LOCALHOST, 0), Family::Ip6), ["payload", "bitwise", "cmp"]);
}

#[test]
fn values_fill_whole_registers_where_there_are_several() {
    assert_eq!(Value::from(80u16).0, [0, 80]);
    assert_eq!(Value::from((Ipv4Addr::LOCALHOST, 80u16)).0, [127, 0, 0, 1, 0, 80, 0, 0]);
    assert_eq!(Value::from((6u8, 80u16)).0, [6, 0, 0, 0, 0, 80, 0, 0]);
    assert_eq!(Value::name("eth0").0.len(), 16);
}

#[test]
fn a_batch_stands_in_brackets_and_its_last_change_is_acknowledged() {
    let table = Table::new(Family::Inet, "t");
    let chain = table.chain("c");
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.add_rule(&chain, Rule::new().tcp_dport([80, 443]).accept());
    let (messages, descriptions) = batch.finish();
    let messages = messages.unwrap();
    let kinds: Vec<u16> = messages.iter().map(|(message, _)| message.message_type()).collect();
    // The rule's set, its elements, the rule.
    assert_eq!(kinds, [16, 0xa00, 0xa09, 0xa0c, 0xa06, 17]);
    assert_eq!(descriptions.len(), 4);
    let acknowledged: Vec<bool> =
        messages.iter().map(|(_, flags)| flags & netlink_packet_core::NLM_F_ACK != 0).collect();
    assert_eq!(acknowledged, [false, false, false, false, true, false]);
    let mut bytes = vec![0; messages[0].0.buffer_len()];
    messages[0].0.serialize(&mut bytes);
    assert_eq!(bytes, [0, 0, 0, 10]);
    assert!(Batch::new().finish().0.is_none());
}

#[test]
fn many_elements_are_several_lists() {
    let elements: Vec<Element> =
        (0..10_000).map(|host| Element::new((Ipv4Addr::from_bits(host), 80u16))).collect();
    let lists = Set::encode(&elements);
    assert!(lists.len() > 1 && lists.iter().all(|list| list.len() < 60_000));
    let count: usize = lists.iter().map(|list| attributes_of(list.as_bytes()).count()).sum();
    assert_eq!(count, 10_000);
}

// What the kernel makes of it.

const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn loopback() -> RouteSocket {
    let route = RouteSocket::open().unwrap();
    route.request(Request::set_up(1, true), || "switch `lo` on".to_owned()).unwrap();
    wait_until(|| route.link(1).unwrap().unwrap().is_running());
    route
}

/// Every expression, every kind of chain and of set: the kernel takes them all, at once.
#[test]
fn the_kernel_takes_every_word() {
    in_namespace(|| {
        let _route = loopback();
        let socket = NftSocket::open().unwrap();
        let inet = Table::new(Family::Inet, "all");
        let chain = |name, kind, hook, priority| inet.base_chain(name, kind, hook, priority);
        let prerouting = chain("prerouting", ChainKind::Filter, Hook::Prerouting, -150);
        let input = chain("input", ChainKind::Filter, Hook::Input, 0);
        let forward = chain("forward", ChainKind::Filter, Hook::Forward, 0);
        let output = chain("output", ChainKind::Route, Hook::Output, -150);
        let dstnat = chain("dstnat", ChainKind::Nat, Hook::Prerouting, -100);
        let srcnat = chain("srcnat", ChainKind::Nat, Hook::Postrouting, 100);
        let (regular, other) = (inet.chain("regular"), inet.chain("other"));
        let ip = Table::new(Family::Ip, "ip-only");
        let ip_nat = ip.base_chain("nat", ChainKind::Nat, Hook::Postrouting, 90);

        let nets = inet.set("nets", &[Type::Ipv4Addr]);
        let pairs = inet.set("pairs", &[Type::Ipv4Addr, Type::InetService]);
        let six = inet.set("six", &[Type::Ipv6Addr]);
        let names = inet.set("names", &[Type::IfName]);
        let learnt = ip
            .set("learnt", &[Type::InetProto, Type::InetService])
            .map_to(&[Type::Ipv4Addr, Type::InetService])
            .dynamic(65_535)
            .timeout(Duration::from_secs(300));

        let mut batch = Batch::new();
        for table in [&inet, &ip] {
            batch.add_table(table);
        }
        for chain in [&prerouting, &input, &forward, &output, &dstnat, &srcnat, &regular, &other, &ip_nat] {
            batch.add_chain(chain);
        }
        for set in [&nets, &pairs, &six, &names, &learnt] {
            batch.add_set(set);
        }
        batch.add_elements(&nets, &[Element::new(V4)]);
        batch.add_elements(&pairs, &[Element::new((V4, 80u16))]);
        let to_regular = || Verdict::Jump("regular".to_owned());
        batch.add_elements(&six, &[Element::new(Ipv6Addr::LOCALHOST)]);
        batch.add_elements(&names, &[Element::new(Value::name("eth0"))]);

        for (chain, rule) in [
            (&prerouting, Rule::new().tcp().tproxy(Some(V4.into()), 15001).accept()),
            (&prerouting, Rule::new().tcp().tproxy(None, 15001)),
            (&prerouting, Rule::new().equals(Field::SocketTransparent, 1u8).set_mark(7).accept()),
            (&input, Rule::new().iifname("lo").counter().comment("all that comes").accept()),
            (&input, Rule::new().ct_state(CtState::ESTABLISHED | CtState::RELATED).accept()),
            (&input, Rule::new().ct_status(CtStatus::DNAT).ct_mark(3).set_mark(4)),
            (&input, Rule::new().tcp_dport([22, 80]).tcp_dport(1..=1023).reject(Reject::TcpReset)),
            (
                &input,
                Rule::new().saddr(Ipv6Addr::LOCALHOST, 64).udp_dport(53).reject(Reject::AdminProhibited),
            ),
            (&input, Rule::new().saddr_not(V4, 8).r#return()),
            (&input, Rule::new().in_set(&[Field::IpSaddr], &nets).drop()),
            (&input, Rule::new().in_set(&[Field::Ip6Daddr], &six).drop()),
            (&input, Rule::new().in_set(&[Field::IpSaddr, Field::Dport], &pairs).drop()),
            (&forward, Rule::new().oifname("eth1").in_set(&[Field::IifName], &names).goto(&regular)),
            (&forward, Rule::new().random_vmap([to_regular(), Verdict::Goto("other".to_owned())])),
            (&output, Rule::new().skuid(1337).set_ct_mark(5).set_mark(0x40)),
            (&output, Rule::new().masked_mark(0xff00, 0x100).set_ct_mark(6)),
            (&dstnat, Rule::new().tcp_dport(80).redirect(Some(8080))),
            (&dstnat, Rule::new().tcp_dport(81).redirect(None)),
            (&dstnat, Rule::new().udp_dport(53).dnat(&NatTarget::address(V4).port(5353))),
            (&dstnat, Rule::new().udp_dport(54).dnat(&NatTarget::address(Ipv6Addr::LOCALHOST).port(9))),
            (&srcnat, Rule::new().oifname("eth8").masquerade()),
            (&srcnat, Rule::new().oifname("eth7").udp().snat(&NatTarget::address(V4).port(1000))),
            (&regular, Rule::new().counter()),
        ] {
            batch.add_rule(chain, rule);
        }
        // The next free port, noted for the source that gets it.
        let port = Register(9);
        batch.add_rule(
            &ip_nat,
            Rule::new()
                .oifname("eth6")
                .udp()
                .load(Field::L4Proto, Register(8))
                .load(Field::Increment { modulus: 100, offset: 50_000 }, port)
                .push(Expr::ToPort(port))
                .load(Field::IpSaddr, Register(4))
                .load(Field::Sport, Register(5))
                .push(Expr::Add {
                    set: "learnt".to_owned(),
                    key: Register(8),
                    data: Some(Register(4)),
                    timeout: Some(Duration::from_secs(2)),
                    refresh: true,
                    once: false,
                })
                .masquerade(),
        );
        socket.send(batch).unwrap();

        let rules = socket.rules(&inet, Some(&input)).unwrap();
        assert_eq!(rules.len(), 9);
        assert!(rules.iter().all(|rule| rule.chain == "input" && rule.handle > 0));
        assert_eq!(rules[0].comment.as_deref(), Some("all that comes"));
        assert_eq!((rules[0].counted, rules[1].counted), (Some(read::Counted::default()), None));
        let elements = socket.elements(&pairs).unwrap();
        assert_eq!(elements[0].key, [127, 0, 0, 1, 0, 80, 0, 0]);
        let mut batch = Batch::new();
        batch.flush_chain(&output);
        batch.flush_chain(&forward);
        batch.flush_set(&nets);
        batch.delete_elements(&six, &[Element::new(Ipv6Addr::LOCALHOST)]);
        batch.flush_chain(&regular);
        batch.delete_chain(&regular);
        socket.send(batch).unwrap();
        assert_eq!(socket.rules(&inet, Some(&output)).unwrap(), []);
        assert!(socket.elements(&nets).unwrap().is_empty() && socket.elements(&six).unwrap().is_empty());
        let mut batch = Batch::new();
        batch.delete_table(&inet);
        socket.send(batch).unwrap();
        assert_eq!(socket.rules(&inet, None).unwrap(), []);
    });
}

#[test]
fn packets_meet_the_rules() {
    in_namespace(|| {
        let _route = loopback();
        let socket = NftSocket::open().unwrap();
        let table = Table::new(Family::Inet, "t");
        let input = table.base_chain("input", ChainKind::Filter, Hook::Input, 0);
        let dstnat = table.base_chain("output", ChainKind::Nat, Hook::Output, -100);
        let listener = TcpListener::bind((V4, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Ipv4Addr::new(127, 9, 9, 9);
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&input);
        batch.add_chain(&dstnat);
        batch.add_rule(&input, Rule::new().udp_dport(9).counter().drop());
        batch.add_rule(&input, Rule::new().tcp_dport(9).reject(Reject::TcpReset));
        batch.add_rule(&input, Rule::new().tcp_dport(10).reject(Reject::NoRoute));
        let to = NatTarget::address(V4).port(port);
        batch.add_rule(&dstnat, Rule::new().daddr(service, 32).tcp_dport(80).dnat(&to));
        socket.send(batch).unwrap();

        let udp = UdpSocket::bind((V4, 9)).unwrap();
        udp.set_nonblocking(true).unwrap();
        udp.send_to(b"lost", (V4, 9)).unwrap();
        let counted = socket.rules(&table, Some(&input)).unwrap()[0].counted.unwrap();
        assert_eq!((counted.packets, counted.bytes), (1, 32));
        assert_eq!(udp.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let refused = TcpStream::connect((V4, 9)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = TcpStream::connect((V4, 10)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NetworkUnreachable);
        let out = TcpStream::connect((service, 80u16)).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer, out.local_addr().unwrap());
        assert_eq!(out.peer_addr().unwrap().ip(), IpAddr::V4(service));
    });
}

#[test]
fn a_batch_that_is_refused_changes_nothing_and_tells_what_was_refused() {
    in_namespace(|| {
        let socket = NftSocket::open().unwrap();
        let table = Table::new(Family::Inet, "t");
        let chain = table.chain("c");
        let missing = table.chain("missing");
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&chain);
        batch.add_rule(&chain, Rule::new().comment("lost").jump(&missing));
        batch.add_rule(&missing, Rule::new().accept());
        let error = socket.send(batch).unwrap_err();
        assert_eq!(error.operation, "add the rule \"lost\" to the chain `inet t c`");
        assert_eq!(error.source.raw_os_error(), Some(libc::ENOENT));
        // Nor is the table there.
        assert_eq!(socket.rules(&table, None).unwrap(), []);
        let mut batch = Batch::new();
        batch.add_chain(&chain);
        let error = socket.send(batch).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::ENOENT));
        // The kernel checks the hooks at the end of the batch.
        let mut batch = Batch::new();
        batch.add_table(&table);
        let wrong = table.base_chain("wrong", ChainKind::Nat, Hook::Forward, 0);
        batch.add_chain(&wrong);
        let error = socket.send(batch).unwrap_err();
        assert_eq!(error.operation, "add the chain `inet t wrong`");
        // An anonymous set is gone with the rule that was refused.
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&chain);
        batch.add_rule(&chain, Rule::new().tcp_dport([1, 2]).drop());
        batch.add_rule(&chain, Rule::new().tcp_dport([3, 4]).drop());
        socket.send(batch).unwrap();
        assert_eq!(socket.rules(&table, Some(&chain)).unwrap().len(), 2);
    });
}

#[test]
fn what_has_been_removed_is_told_and_no_module_blamed() {
    in_namespace(|| {
        let socket = NftSocket::open().unwrap();
        let table = Table::new(Family::Inet, "t");
        let chain = table.chain("c");
        let why = |change: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::new();
            change(&mut batch);
            let error = socket.send(batch).unwrap_err();
            assert_eq!(error.source.raw_os_error(), Some(libc::ENOENT));
            error.kernel.unwrap_or_default()
        };
        // Modules that are built in are not in /sys/module, so this one may seem to be missing.
        let add_rule =
            |batch: &mut Batch| batch.add_rule(&chain, Rule::new().counter().ct_state(CtState::NEW).drop());
        let add_chain =
            |batch: &mut Batch| batch.add_chain(&table.base_chain("n", ChainKind::Nat, Hook::Output, 0));
        assert_eq!(why(&add_rule), "there is no `t`: it has been removed meanwhile");
        assert_eq!(why(&add_chain), "there is no `t`: it has been removed meanwhile");
        let mut batch = Batch::new();
        batch.add_table(&table);
        socket.send(batch).unwrap();
        assert_eq!(why(&add_rule), "there is no `c`: it has been removed meanwhile");
        let set = table.set("s", &[Type::Ipv4Addr]);
        let elements = [Element::new(Ipv4Addr::LOCALHOST)];
        assert_eq!(
            why(&|batch| batch.add_elements(&set, &elements)),
            "there is no `s`: it has been removed meanwhile"
        );
        // The chain that a rule jumps to is named in an expression, which the kernel knows.
        let mut batch = Batch::new();
        batch.add_chain(&chain);
        socket.send(batch).unwrap();
        assert_eq!(
            why(&|batch| batch
                .add_rule(&chain, Rule::new().ct_state(CtState::NEW).jump(&table.chain("missing")))),
            ""
        );
    });
}

#[test]
fn what_a_rule_takes_of_the_kernel_is_known() {
    let modules = |rule: Rule| rule.modules(Family::Inet);
    assert_eq!(modules(Rule::new().iifname("eth0").tcp_dport(80).drop()), [""; 0]);
    let rule = Rule::new().ct_state(CtState::NEW).reject(Reject::AdminProhibited);
    assert_eq!(modules(rule), ["nft_ct", "nft_reject_inet"]);
    assert_eq!(modules(Rule::new().masquerade()), ["nft_masq"]);
    assert_eq!(modules(Rule::new().counter()), ["nft_counter"]);
    let text = super::lacking(&["nft_nowhere", "nft_neither"]).unwrap();
    assert!(text.contains("`sudo modprobe -a nft_nowhere nft_neither`"), "{text}");
}

#[test]
fn a_counter_is_a_module_only_where_it_is_what_was_refused() {
    let element = |name: &str| {
        let expression = Attributes::new().text(super::expr::NFTA_EXPR_NAME, name);
        Attributes::new().nested(1, &expression)
    };
    // Modules of expressions that no kernel has.
    let modules = ["nft_counter", "nft_nowhere"];
    let counter = super::not_found(&modules, Some(element("counter").as_bytes())).unwrap();
    assert!(counter.contains("`sudo modprobe -a nft_counter nft_nowhere`"), "{counter}");
    let other = super::not_found(&modules, Some(element("nowhere").as_bytes())).unwrap();
    assert!(other.contains("`sudo modprobe -a nft_nowhere`"), "{other}");
    // Kernels that do not say what they refused.
    assert_eq!(super::not_found(&modules, None).unwrap(), counter);
}

#[test]
fn a_large_batch_is_one() {
    in_namespace(|| {
        let socket = NftSocket::open().unwrap();
        let table = Table::new(Family::Inet, "t");
        let chain = table.chain("c");
        let set = table.set("s", &[Type::Ipv4Addr]);
        let elements: Vec<Element> = (1..3000).map(|host| Element::new(Ipv4Addr::from_bits(host))).collect();
        let mut batch = Batch::new();
        batch.add_table(&table);
        batch.add_chain(&chain);
        batch.add_set(&set);
        batch.add_elements(&set, &elements);
        for port in 0..500 {
            batch.add_rule(&chain, Rule::new().tcp_dport(port).drop());
        }
        socket.send(batch).unwrap();
        assert_eq!(socket.elements(&set).unwrap().len(), elements.len());
        assert_eq!(socket.rules(&table, None).unwrap().len(), 500);
    });
}
