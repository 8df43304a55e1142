//! A client without an address gets one by DHCP: dnsmasq in one node, dhclient and its script in the other.

use std::io;
use std::net::Ipv4Addr;

use netns_test::{Node, netns_test};

#[netns_test(nodes = 2, family = v4)]
async fn a_client_gets_an_address(client: Node, server: Node) -> io::Result<()> {
    let server_ip = server.ip4();
    let leased = Ipv4Addr::new(10, 0, 0, 100);
    let interface = client.interface("eth0")?;
    for address in interface.addresses()? {
        interface.remove_address(address.ip, address.prefix_len)?;
    }

    let data = server.data_dir()?;
    let dnsmasq = server
        .command("dnsmasq")
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--user=", "--log-facility=-", "--no-ping"])
        .args(["--no-hosts", "--no-resolv", "--address=/www.example.test/192.0.2.7"])
        .arg(format!("--dhcp-range={leased},{leased},255.255.0.0"))
        .arg(format!("--dhcp-leasefile={}", data.join("leases").display()))
        .spawn()
        .await?;
    server.wait_bound_udp(67).await?;

    // It ends when it has a lease: its script has configured the interface and written resolv.conf by then.
    let data = client.data_dir()?;
    let status = client
        .command("dhclient")
        .args(["-1", "-v", "-lf"])
        .arg(data.join("leases"))
        .args(["-pf", "/run/dhclient.pid", "eth0"])
        .status()
        .await?;
    assert!(status.success());
    dnsmasq.wait_line("DHCPACK(eth0) 10.0.0.100").await?;

    assert!(
        interface.addresses()?.iter().any(|address| (address.ip, address.prefix_len) == (leased.into(), 16))
    );
    assert_eq!(client.read("/etc/resolv.conf")?.trim(), format!("nameserver {server_ip}"));
    let names = client.command("dig").args(["+short", "www.example.test", "A"]).output().await?;
    assert_eq!(names.stdout, b"192.0.2.7\n");
    Ok(())
}
