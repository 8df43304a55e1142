//! The work with netns-test.

use std::process::ExitCode;
use std::time::Instant;

use measure::{Error, PORT, Side};
use netns_test::{Network, Topology};

fn main() -> ExitCode {
    if let Err(error) = netns_test::init() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    measure::main(&Side { isolated, echo, connected: |nodes| Some(connected(nodes)) })
}

fn isolated() -> Result<(), Error> {
    Topology::new().run(|_| std::net::TcpListener::bind(("127.0.0.1", PORT)).map(drop))??;
    Ok(())
}

fn nodes(count: u16) -> Topology {
    let mut topology = Topology::new();
    let names: Vec<String> = (0..count).map(|number| format!("node-{number}")).collect();
    match &names[..] {
        [client, server] => {
            topology.node(client).node(server).link(client, server);
        }
        names => {
            topology.switch("switch");
            for name in names {
                topology.node(name).link(name, "switch");
            }
        }
    }
    topology
}

fn connected(count: u16) -> Result<Instant, Error> {
    let last = format!("node-{}", count - 1);
    nodes(count).run(|network: &Network| {
        let (client, server) = (network.node("node-0")?, network.node(&last)?);
        let listener = server.blocking_listen_tcp(PORT)?;
        let _out = client.blocking_connect_tcp((server.ip(), PORT))?;
        listener.accept()?;
        Ok(Instant::now())
    })?
}

fn echo() -> Result<(), Error> {
    nodes(2).run_async(async |network: &Network| {
        Ok(with_netns_test::echo(&network.node("node-0")?, &network.node("node-1")?).await?)
    })?
}
