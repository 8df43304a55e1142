//! QUIC (quinn) on networks as they are: it comes through loss, finds its packet size where ICMP is dropped, and goes on with a
//! connection when its host moves to another network.

use std::error::Error;
use std::sync::Arc;

use netns_test::{Node, Router, netns_test};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The two ends of a connection, and the endpoints that it lives by.
struct Connected {
    client: Connection,
    server: Connection,
    _endpoints: [Endpoint; 2],
}

/// Connects by sockets that were made in the nodes: everything else runs in the test itself.
async fn connect(client: &Node, server: &Node) -> Result<Connected> {
    let certified = rcgen::generate_simple_self_signed(vec!["server".to_owned()])?;
    let certificate = CertificateDer::from(certified.cert);
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let config = ServerConfig::with_single_cert(vec![certificate], key.into())?;

    let endpoint = |socket: std::net::UdpSocket, config| {
        Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime))
    };
    let listening = endpoint(server.bind_udp(443).await?.into_std()?, Some(config))?;
    // Of the wildcard address: it goes on from whatever address its host has.
    let mut calling = endpoint(client.bind_udp("0.0.0.0:0").await?.into_std()?, None)?;
    calling.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);

    let accepted = async { Ok(listening.accept().await.ok_or("the endpoint is closed")?.await?) };
    let called = async { Result::Ok(calling.connect((server.ip(), 443).into(), "server")?.await?) };
    let (client, server) = tokio::try_join!(called, accepted)?;
    Ok(Connected { client, server, _endpoints: [listening, calling] })
}

impl Connected {
    /// Sends so many bytes, which all arrive as they were.
    async fn transfer(&self, bytes: usize) -> Result {
        let sent: Vec<u8> = (0..bytes).map(|number| (number % 251) as u8).collect();
        let sending = async {
            let mut stream = self.client.open_uni().await?;
            stream.write_all(&sent).await?;
            stream.finish()?;
            Result::Ok(())
        };
        let receiving = async { Ok(self.server.accept_uni().await?.read_to_end(bytes).await?) };
        let ((), received) = tokio::try_join!(sending, receiving)?;
        assert!(received == sent, "{} of {bytes} bytes", received.len());
        Ok(())
    }
}

#[netns_test(
    nodes(client, server),
    links(client -- server { delay = 2ms, loss = 5%, rate = 50mbit }),
    family = v4,
    seed = 7,
)]
async fn comes_through_loss(client: Node, server: Node) -> Result {
    let connected = connect(&client, &server).await?;
    connected.transfer(500_000).await?;
    assert!(connected.client.stats().path.lost_packets > 0);
    Ok(())
}

/// Packets of more than 1300 bytes vanish behind the router, and nobody is told. TCP would stall.
#[netns_test(
    nodes(client, server),
    routers(r),
    links(client -- r { icmp = drop }, r -- server { mtu = 1300 }),
    family = v4,
)]
async fn finds_its_packet_size_in_a_black_hole(client: Node, server: Node) -> Result {
    let connected = connect(&client, &server).await?;
    connected.transfer(300_000).await?;
    // Without the headers of IPv4 and UDP; every path of QUIC takes 1200 bytes (RFC 9000 section 14).
    let size = connected.client.stats().path.current_mtu;
    assert!((1200..=1300 - 28).contains(&size), "{size}");
    Ok(())
}

#[netns_test(
    nodes(phone, server),
    routers(home { nat = home, uplink = isp }, cafe { nat = home, uplink = isp }, isp),
    links(phone -- home, home -- isp, cafe -- isp, isp -- server),
    family = v4,
)]
async fn a_connection_moves_to_another_network(
    phone: Node,
    server: Node,
    home: Router,
    cafe: Router,
) -> Result {
    let outer = |router: &Router, name: &str| Result::Ok(router.interface(name)?.addresses()?[0].ip);
    let connected = connect(&phone, &server).await?;
    connected.transfer(100_000).await?;
    assert_eq!(connected.server.remote_address().ip(), outer(&home, "eth1")?);

    phone.interface("eth0")?.replug(&cafe)?;
    connected.transfer(100_000).await?;
    assert_eq!(connected.server.remote_address().ip(), outer(&cafe, "eth0")?);
    Ok(())
}
