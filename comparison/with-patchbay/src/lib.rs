//! The work with patchbay: devices at a router, code on a device's own runtime.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::Context as _;
use measure::{Error, PORT};
use patchbay::{Device, Lab};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn on_runtime<R>(work: impl Future<Output = anyhow::Result<R>>) -> Result<R, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}

async fn lab(count: u16) -> anyhow::Result<(Lab, Vec<Device>)> {
    let lab = Lab::new().await?;
    let router = lab.add_router("router").build().await?;
    let mut devices = Vec::new();
    for number in 0..count {
        let device = lab.add_device(&format!("node-{number}")).iface("eth0", router.id());
        devices.push(device.build().await?);
    }
    Ok((lab, devices))
}

/// A connection from the first device to the last, and what is done with it.
async fn talk(devices: &[Device], echoes: bool) -> anyhow::Result<()> {
    let [client, .., server] = devices else { anyhow::bail!("there are too few devices") };
    let address = SocketAddr::new(IpAddr::V4(server.ip().context("no address")?), PORT);
    let (listens, listening) = oneshot::channel();
    let serving = server.spawn(async move |_| {
        let listener = TcpListener::bind(address).await?;
        let _waiting = listens.send(());
        let (mut stream, _) = listener.accept().await?;
        if echoes {
            let mut buffer = [0; 2];
            stream.read_exact(&mut buffer).await?;
            stream.write_all(&buffer).await?;
        }
        anyhow::Ok(())
    })?;
    listening.await?;
    let calling = client.spawn(async move |_| {
        let mut stream = TcpStream::connect(address).await?;
        if echoes {
            let mut buffer = [0; 2];
            stream.write_all(b"hi").await?;
            stream.read_exact(&mut buffer).await?;
            assert_eq!(&buffer, b"hi");
        }
        anyhow::Ok(())
    })?;
    serving.await??;
    calling.await?
}

/// A test that is alone in its network: a device at no router.
pub fn isolated() -> Result<(), Error> {
    on_runtime(async {
        let lab = Lab::new().await?;
        let router = lab.add_router("router").build().await?;
        let device = lab.add_device("node").iface("eth0", router.id()).build().await?;
        device.spawn(async |_| TcpListener::bind(("127.0.0.1", PORT)).await.map(drop))?.await??;
        Ok(())
    })
}

/// So many devices, connected.
pub fn connected(count: u16) -> Result<Instant, Error> {
    on_runtime(async {
        let (_lab, devices) = lab(count).await?;
        talk(&devices, false).await?;
        Ok(Instant::now())
    })
}

/// The echo test.
pub fn echo() -> Result<(), Error> {
    on_runtime(async {
        let (_lab, devices) = lab(2).await?;
        talk(&devices, true).await
    })
}
