//! A client behind one router and a service at two sites: when the way to one is lost, the other answers.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netns_test::{Node, Router, netns_test};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// One program under test: tells which site it is.
async fn serve(site: &str) -> io::Result<()> {
    let listener = TcpListener::bind("[::]:80").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(site.as_bytes()).await?;
    }
}

/// The other program under test: asks one site after the other, and waits for none of them long.
async fn ask(sites: [IpAddr; 2]) -> io::Result<String> {
    let mut last = io::Error::other("no site");
    for site in sites {
        let asked = async {
            let mut answer = String::new();
            TcpStream::connect((site, 80)).await?.read_to_string(&mut answer).await?;
            io::Result::Ok(answer)
        };
        match timeout(Duration::from_secs(1), asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}

#[netns_test(
    nodes(client, paris, oslo),
    routers(home, core, edge),
    switches(lan),
    links(
        client -- lan,
        home.lan -- lan { prefix = "192.168.7.0/24" },
        home.wan -- core { mtu = 1400 },
        core -- paris,
        core.backbone -- edge,
        edge -- oslo,
    ),
    timeout = 30s,
)]
async fn the_second_site_answers(client: Node, paris: Node, oslo: Node, core: Router) -> io::Result<()> {
    for site in [&paris, &oslo] {
        let name = site.name().to_owned();
        site.spawn(async move || serve(&name).await.expect("the server ended"));
        site.wait_listening(80).await?;
    }
    let sites = [paris.ip(), oslo.ip()];
    assert_eq!(client.run(async move || ask(sites).await).await?, "paris");

    // The way to Paris is lost; the one over the backbone is not.
    paris.interface("eth0")?.down()?;
    assert_eq!(client.run(async move || ask(sites).await).await?, "oslo");

    // With the backbone lost, too, nobody answers.
    core.interface("backbone")?.down()?;
    client.run(async move || ask(sites).await).await.expect_err("no site is left");
    core.interface("backbone")?.up()?;
    assert_eq!(client.run(async move || ask(sites).await).await?, "oslo");
    Ok(())
}
