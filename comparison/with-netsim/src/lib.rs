//! The work with netsim: machines at a hub in user space, code on a machine's own runtime.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use measure::{Error, PORT};
use netsim::Machine;
use netsim::device::IpHub;

fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 1).to_bits() + u32::from(number))
}

/// Runs code on a machine, and waits for it.
fn on<R: Send + 'static>(
    machine: &Machine,
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<R, Error> {
    match machine.spawn(async { work() }).join_blocking() {
        Ok(Some(result)) => Ok(result?),
        Ok(None) => Err("the machine is gone".into()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A connection from the first of so many machines to the last, and what is done with it.
fn network<R>(count: u16, work: impl FnOnce(TcpStream, TcpStream) -> Result<R, Error>) -> Result<R, Error> {
    // Of the hub.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _inside = runtime.enter();
    let machines = (0..count).map(|_| Machine::new()).collect::<io::Result<Vec<_>>>()?;
    let add = |(number, machine): (u16, &Machine)| {
        machine.add_ip_iface().ipv4_addr(address(number)).ipv4_default_route().build()
    };
    let interfaces = (0..).zip(&machines).map(add).collect::<io::Result<Vec<_>>>()?;
    // It passes packets on as long as it is there.
    let _hub = match <[_; 2]>::try_from(interfaces) {
        Ok([first, last]) => {
            netsim::connect(first, last);
            None
        }
        Err(interfaces) => {
            let mut hub = IpHub::new();
            interfaces.into_iter().for_each(|interface| hub.insert_iface(interface));
            Some(hub)
        }
    };
    let to = SocketAddr::from((address(count - 1), PORT));
    let (client, server) = (&machines[0], &machines[machines.len() - 1]);
    let listener = on(server, move || TcpListener::bind(to))?;
    let out = on(client, move || TcpStream::connect(to))?;
    let (inside, _) = listener.accept()?;
    work(out, inside)
}

/// A test that is alone in its network.
pub fn isolated() -> Result<(), Error> {
    on(&Machine::new()?, || TcpListener::bind(("127.0.0.1", PORT)).map(drop))
}

/// So many machines, connected.
pub fn connected(count: u16) -> Result<Instant, Error> {
    network(count, |_, _| Ok(Instant::now()))
}

/// The echo test.
pub fn echo() -> Result<(), Error> {
    network(2, |out, inside| Ok(measure::echo(out, inside)?))
}
