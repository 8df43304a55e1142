//! Links whose rate follows a trace: what passes is what its steps let pass, and never more.

use std::io;
use std::time::{Duration, Instant};

use netns_test::{Conditions, Network, Node, Queue, Rate, Topology, Trace, Wire, netns_test};
use netns_test_tests::rerun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Sends so many bytes over TCP, and tells how long they took from the first to the last.
async fn bulk(from: &Node, to: &Node, bytes: usize) -> io::Result<Duration> {
    let listener = to.listen_tcp(80).await?;
    let mut out = from.connect_tcp((to.ip(), 80)).await?;
    let (mut inc, _) = listener.accept().await?;
    let started = Instant::now();
    let mut arrived = Vec::new();
    tokio::try_join!(
        async {
            out.write_all(&vec![7; bytes]).await?;
            out.shutdown().await
        },
        inc.read_to_end(&mut arrived)
    )?;
    assert_eq!(arrived.len(), bytes);
    Ok(started.elapsed())
}

// 16 Mbit/s in the mean: 80 kB in each round of 40 ms.
#[netns_test(
    nodes(a, b),
    links(a -- b, a -> b { trace = [60mbit for 10ms, 0mbit for 20ms, 4mbit for 10ms], queue = 200packets }),
)]
async fn no_more_passes_than_the_trace_lets(a: Node, b: Node, network: Network) -> io::Result<()> {
    let declared = network.link(&a, &b)?.from(&a)?.conditions();
    assert_eq!(declared.trace.map(|trace| trace.mean()), Some(Rate::mbit(16)));
    let bytes = 2 << 20;
    // It may begin in the best moment of a round.
    let least = Duration::from_secs_f64(bytes as f64 * 8.0 / 16e6) - ms(40);
    let took = bulk(&a, &b, bytes).await?;
    assert!(took >= least, "{took:?} is less than {least:?}");
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { wire = user }))]
async fn packets_wait_for_the_end_of_an_outage(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (out, inc) = (a.bind_udp(7).await?, b.bind_udp(7).await?);
    out.send_to(b"hello", (b.ip(), 7)).await?;
    inc.recv(&mut [0; 8]).await?;
    let link = network.link(&a, &b)?;
    let began = Instant::now();
    let trace = Trace::new([(Rate::bit(0), ms(300)), (Rate::mbit(10), ms(60_000))]);
    let outage = link.from(&a)?.set_conditions(Conditions::new().trace(trace).queue(ms(500)))?;
    for number in 0..20_u8 {
        out.send_to(&[number], (b.ip(), 7)).await?;
    }
    let mut buffer = [0; 8];
    for number in 0..20 {
        inc.recv(&mut buffer).await?;
        assert_eq!(buffer[0], number, "they keep their order");
        assert!(began.elapsed() >= ms(300), "{number} arrived during the outage");
    }
    outage.repair()?;
    assert_eq!(link.from(&a)?.conditions(), Conditions::new());
    // What finds more than the queue takes is lost, and counted.
    let forever = Trace::new([(Rate::bit(0), Duration::from_secs(3600)), (Rate::mbit(1), ms(1))]);
    let before = link.from(&a)?.tally()?.overflowed;
    let _outage = link.from(&a)?.set_conditions(Conditions::new().trace(forever).queue(Queue::Packets(5)))?;
    for number in 0..25 {
        out.send_to(&[number], (b.ip(), 7)).await?;
    }
    a.wait_until("packets to be lost", |_| Ok(link.from(&a)?.tally()?.overflowed >= before + 19)).await?;
    Ok(())
}

/// A minute over a phone's uplink, as mahimahi has it: here 2 packets in every 5 ms, and 100 ms of nothing each second.
fn recorded() -> Trace {
    let lines = (0..180).map(|number| 5 * number + 2).chain([1000]).flat_map(|at| [at, at]);
    let text: String = lines.map(|at| format!("{at}\n")).collect();
    Trace::mahimahi(&text).expect("it is written above")
}

fn phone() -> Topology {
    let mut topology = Topology::new();
    topology.node("phone").node("server");
    topology.link("phone", "server").delay(ms(5)).trace(recorded()).queue(Queue::Packets(100));
    topology.direction("server", "phone", Conditions::new().rate(Rate::mbit(50)));
    topology
}

#[netns_test(topology = phone())]
async fn a_recorded_trace_is_followed(phone: Node, server: Node, network: Network) -> io::Result<()> {
    let link = network.link(&phone, &server)?;
    assert_eq!(link.wire(), Some(Wire::User));
    let down = link.from(&server)?.conditions();
    assert_eq!(
        down.to_string(),
        "delay = 5ms, rate = 50mbit, queue = 100packets",
        "a rate takes a trace's place"
    );
    // 362 packets in a second.
    assert_eq!(recorded().mean(), Rate::bit(362 * 1514 * 8));
    let bytes = 1 << 20;
    let least = Duration::from_secs_f64(bytes as f64 * 8.0 / recorded().mean().bits() as f64) - ms(1000);
    let took = bulk(&phone, &server, bytes).await?;
    assert!(took >= least, "{took:?} is less than {least:?}");
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b, a -> b { trace = [1mbit for 1s, 0mbit for 20ms] }))]
#[ignore = "fails on purpose"]
async fn fails_over_a_trace(a: Node, b: Node) {
    drop((a, b));
    panic!("on purpose");
}

#[test]
fn a_report_tells_the_trace() {
    rerun("fails_over_a_trace")
        .run()
        .failed_with(&["a/eth0 → b/eth0  trace = [1mbit for 1s, 0mbit for 20ms]  in user space  "]);
}

#[test]
fn the_builder_refuses_in_the_words_of_the_attribute() {
    let refused = |trace: Trace| {
        let mut topology = Topology::new();
        topology.node("a").node("b").link("a", "b").trace(trace);
        topology.check().unwrap_err().to_string()
    };
    let one = |rate, time| Trace::new([(rate, time)]);
    for (trace, text) in [
        (Trace::new([]), "a trace has one rate at least: write `trace = [10mbit for 2s, 1mbit for 500ms]`"),
        (one(Rate::bit(0), ms(1)), "the trace lets nothing pass: write `loss = 100%` if that is meant"),
        (one(Rate::mbit(1), ms(0)), "`1mbit for 0s` is no time: write `1mbit for 500ms`"),
        (one(Rate::mbit(1), ms(4_000_000)), "`1mbit for 4000s` is too long: a rate holds for at most `1h`"),
        (one(Rate::gbit(200), ms(1)), "`200gbit` is too fast: a link has at most `100gbit`"),
    ] {
        let error = refused(trace);
        assert!(error.contains(text), "{error}");
    }
    let mut topology = Topology::new();
    topology.node("a").node("b").link("a", "b").trace(one(Rate::mbit(1), ms(1))).wire(Wire::Kernel);
    let error = topology.check().unwrap_err().to_string();
    assert!(error.contains("the kernel's wire cannot do `trace`: write `wire = user`"), "{error}");
    let both = Conditions::new().rate(Rate::mbit(1)).trace(one(Rate::mbit(1), ms(1)));
    let wrong = both.check().unwrap_err();
    assert_eq!(wrong, [("trace", "`rate` and `trace` both say how much passes: remove one".to_owned())]);
}
