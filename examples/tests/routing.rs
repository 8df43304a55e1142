//! Routers that learn routes from one another: nodes with FRR's zebra and bgpd (BGP, RFC 4271), in a line and in a ring with
//! a link that is cut.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;

use netns_test::{Node, netns_test};

/// Starts FRR in a node.
async fn frr(node: &Node, bgp: &str) -> io::Result<()> {
    let data = node.data_dir()?;
    // Its daemons keep crash logs there.
    node.tmpfs("/var/tmp")?;
    let own = std::fs::metadata("/proc/self")?;
    if own.uid() != 0 {
        // An ordinary user cannot become the user `frr`: in this node, it is that user.
        let (uid, gid) = (own.uid(), own.gid());
        node.write("/etc/passwd", format!("frr:x:{uid}:{gid}::/:/bin/sh\n"))?;
        node.write("/etc/group", format!("frr:x:{gid}:\nfrrvty:x:{gid}:frr\n"))?;
    }
    for (program, config) in [("zebra", ""), ("bgpd", bgp)] {
        let file = data.join(program).with_extension("conf");
        node.write(&file, config)?;
        let daemon = node
            .command(format!("/usr/lib/frr/{program}"))
            .args(["--log", "stdout", "--vty_port", "0", "--vty_socket"])
            .arg(&data)
            .arg("-f")
            .arg(&file)
            .arg("-i")
            .arg(data.join(program).with_extension("pid"))
            .arg("-z")
            .arg(data.join("zserv"))
            .spawn()
            .await?;
        daemon.wait_line("starting").await?;
    }
    node.wait_listening(179).await?;
    Ok(())
}

/// A BGP speaker's configuration: its number, its neighbours, and the network that it announces.
fn bgp(number: u32, neighbours: &[(&str, u32)], network: Option<&str>) -> String {
    // A neighbour that is not heard of for three seconds is given up.
    let mut text = format!(
        "router bgp {number}\n no bgp ebgp-requires-policy\n no bgp network import-check\n timers bgp 1 3\n"
    );
    for (address, number) in neighbours {
        text += &format!(" neighbor {address} remote-as {number}\n");
        text +=
            &format!(" neighbor {address} timers connect 1\n neighbor {address} advertisement-interval 0\n");
    }
    if let Some(network) = network {
        text += &format!(" address-family ipv4 unicast\n  network {network}\n");
    }
    text
}

fn knows(node: &Node, network: Ipv4Addr) -> io::Result<bool> {
    Ok(node.routes()?.iter().any(|route| route.destination == network && route.prefix_len == 24))
}

#[netns_test(nodes = 3, topology = line)]
async fn bgp_converges_and_withdraws(west: Node, middle: Node, east: Node) -> io::Result<()> {
    // Behind `west` lies a network that the others hear of by BGP alone.
    let network = Ipv4Addr::new(192, 0, 2, 0);
    west.interface("lo")?.add_address(Ipv4Addr::new(192, 0, 2, 1), 32)?;
    assert!(!knows(&east, network)?);

    frr(&west, &bgp(65001, &[("10.1.0.2", 65002)], Some("192.0.2.0/24"))).await?;
    frr(&middle, &bgp(65002, &[("10.1.0.1", 65001), ("10.1.1.2", 65003)], None)).await?;
    frr(&east, &bgp(65003, &[("10.1.1.1", 65002)], None)).await?;

    east.wait_until("a route to 192.0.2.0/24", |east| knows(east, network)).await?;
    // From the address that `west` has a route back to: the link's own is known on the link alone.
    let ping =
        east.command("ping").args(["-c1", "-I", &east.ip4().to_string(), "192.0.2.1"]).status().await?;
    assert!(ping.success());

    // The link to `west` breaks, and `east` hears of it.
    middle.interface("eth0")?.down()?;
    east.wait_until("no route to 192.0.2.0/24", |east| Ok(!knows(east, network)?)).await?;
    Ok(())
}

#[netns_test(nodes = 3, topology = ring)]
async fn bgp_routes_around_a_cut(west: Node, north: Node, east: Node) -> io::Result<()> {
    let network = Ipv4Addr::new(192, 0, 2, 0);
    west.interface("lo")?.add_address(Ipv4Addr::new(192, 0, 2, 1), 32)?;
    frr(&west, &bgp(65001, &[("10.1.0.2", 65002), ("10.1.2.1", 65003)], Some("192.0.2.0/24"))).await?;
    frr(&north, &bgp(65002, &[("10.1.0.1", 65001), ("10.1.1.2", 65003)], Some("10.1.1.0/24"))).await?;
    frr(&east, &bgp(65003, &[("10.1.1.1", 65002), ("10.1.2.2", 65001)], None)).await?;
    let goes_by = |gateway: [u8; 4]| {
        move |east: &Node| {
            let found = east.routes()?.into_iter().find(|route| route.destination == network);
            Ok(found.and_then(|route| route.gateway) == Some(Ipv4Addr::from(gateway).into()))
        }
    };
    // From the address on the link to `north`: the way back is `north`'s to announce.
    let ping = async || east.command("ping").args(["-c1", "-I", "10.1.1.2", "192.0.2.1"]).status().await;
    west.wait_until("a way back", |west| {
        Ok(west.routes()?.iter().any(|route| route.destination == Ipv4Addr::new(10, 1, 1, 0)))
    })
    .await?;

    east.wait_until("the straight way to `west`", goes_by([10, 1, 2, 2])).await?;
    assert!(ping().await?.success());

    // The straight way is cut silently: no carrier is lost, so BGP alone can find out.
    let cut = east.interface("eth1")?.cut()?;
    east.wait_until("the way by `north`", goes_by([10, 1, 1, 1])).await?;
    assert!(ping().await?.success());

    cut.repair()?;
    east.wait_until("the straight way again", goes_by([10, 1, 2, 2])).await?;
    Ok(())
}
