//! A network for a program that measures: `cargo run --release -p netns-test-examples --example measure`.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use netns_test::{Error, Topology};

fn main() -> Result<(), Error> {
    let mut topology = Topology::new();
    topology.node("client").node("server").router("r").link("client", "r");
    topology.link("r", "server").mtu(1400);
    let took = topology.run(|network| -> std::io::Result<Vec<Duration>> {
        let (client, server) = (network.node("client")?, network.node("server")?);
        let listener = server.blocking_listen_tcp(7)?;
        let mut out = client.blocking_connect_tcp("server:7")?;
        let (mut inc, _) = listener.accept()?;
        let mut byte = [0];
        (0..1000)
            .map(|_| {
                let started = Instant::now();
                out.write_all(b"x")?;
                inc.read_exact(&mut byte)?;
                Ok(started.elapsed())
            })
            .collect()
    })?;
    let mut took = took.expect("the sockets of the network");
    took.sort();
    println!(
        "one byte over one router: median {:?}, 99th percentile {:?}",
        took[took.len() / 2],
        took[took.len() * 99 / 100]
    );
    Ok(())
}
