//! Programs of the machine in pods: a project's own rules in place of `redirect`, by iptables and nft, CNI plugins, and names as dig sees them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netns_test::kubernetes::{Cluster, Pod, original_destination, set_transparent};
use netns_test::netns_test;

use crate::redirect::{INBOUND, OUTBOUND, addresses, connect, is_carried, of_family, plain};

/// After the manner of Istio's: all TCP but the proxy's own, which has a mark.
const IPTABLES: &str = "\
*nat
:MESH_INBOUND - [0:0]
:MESH_REDIRECT - [0:0]
:MESH_IN_REDIRECT - [0:0]
:MESH_OUTPUT - [0:0]
-A PREROUTING -p tcp -j MESH_INBOUND
-A OUTPUT -p tcp -j MESH_OUTPUT
-A MESH_INBOUND -p tcp --dport 15021 -j RETURN
-A MESH_INBOUND -p tcp -j MESH_IN_REDIRECT
-A MESH_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A MESH_OUTPUT -o lo -j RETURN
-A MESH_OUTPUT -m mark --mark 0x539 -j RETURN
-A MESH_OUTPUT -j MESH_REDIRECT
-A MESH_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
";

/// The same, with inbound connections as they were sent.
const NFT: &str = "\
table inet mesh {
    chain prerouting {
        type filter hook prerouting priority mangle;
        iifname != \"eth0\" return
        tcp dport 15021 return
        meta l4proto tcp socket transparent 1 meta mark set 0x111 accept
        meta l4proto tcp tproxy to :15006 meta mark set 0x111 accept
    }
    chain output {
        type nat hook output priority -100;
        oifname \"lo\" return
        meta mark 0x539 return
        meta l4proto tcp redirect to :15001
    }
}
";

async fn run(pod: &Pod, program: &str, arguments: &str, input: &str) -> io::Result<()> {
    let output = pod.command(program).args(arguments.split_whitespace()).input(input).output().await?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {arguments}`: {text}");
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, uncaptured = 0, server = 1)))]
async fn scripts_redirect_a_pod(captured: Pod, uncaptured: Pod, server: Pod) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    let own_app = captured.listen_tcp("[::]:8080").await?;
    let health = captured.listen_tcp("[::]:15021").await?;
    let proxy = captured.listen_tcp(("::".parse::<IpAddr>().unwrap(), OUTBOUND)).await?;
    let inbound = captured.listen_tcp(("::".parse::<IpAddr>().unwrap(), INBOUND)).await?;
    set_transparent(&inbound)?;
    for is_nft in [false, true] {
        if is_nft {
            run(&captured, "iptables", "-t nat -F", "").await?;
            run(&captured, "ip6tables", "-t nat -F", "").await?;
            for family in ["-4", "-6"] {
                run(&captured, "ip", &format!("{family} rule add fwmark 0x111 lookup 133"), "").await?;
                run(&captured, "ip", &format!("{family} route add local default dev lo table 133"), "")
                    .await?;
            }
            run(&captured, "nft", "-f -", NFT).await?;
        } else {
            run(&captured, "iptables-restore", "", IPTABLES).await?;
            run(&captured, "ip6tables-restore", "", IPTABLES).await?;
        }
        for ip in addresses(&server) {
            let own = of_family(&captured, ip);
            let mut client = captured.connect_tcp((ip, 80)).await?;
            let (mut inside, _) = proxy.accept().await?;
            assert_eq!(original_destination(&inside)?, SocketAddr::new(ip, 80));
            is_carried(&mut client, &mut inside).await?;
            let mut on = connect(&captured, (ip, 80).into(), None).await?;
            let (mut at_app, peer) = app.accept().await?;
            assert_eq!(peer.ip().to_canonical(), own);
            is_carried(&mut on, &mut at_app).await?;

            let mut out = server.connect_tcp((own, 8080)).await?;
            let (mut inside, peer) = inbound.accept().await?;
            assert_eq!(peer.ip().to_canonical(), ip);
            let was_to = if is_nft { plain(inside.local_addr()?) } else { original_destination(&inside)? };
            assert_eq!(was_to, SocketAddr::new(own, 8080));
            is_carried(&mut out, &mut inside).await?;
            captured.connect_tcp((own, 8080)).await?;
            own_app.accept().await?;
            server.connect_tcp((own, 15021)).await?;
            health.accept().await?;
            // Beside it, one that is not captured.
            uncaptured.connect_tcp((ip, 80)).await?;
            app.accept().await?;
        }
    }
    Ok(())
}

/// Named ports have SRV records, and the pods of a headless service names of their own.
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn ports_have_names(cluster: Cluster, client: Pod) -> io::Result<()> {
    let web = cluster.service("web").selector("app", "web");
    web.port(80, 8080).port_name("http").udp_port(80, 8443).port_name("quic").port(9090, 9090).create()?;
    let db = cluster.service("db").headless().selector("app", "db");
    db.port(5432, 6432).port_name("pg").create()?;
    for (node, name) in [(0, "db-0"), (1, "db-1")] {
        cluster.node(node).pod(name).label("app", "db").start()?;
    }
    let dig = async |kind: &str, name: &str| -> io::Result<Vec<String>> {
        let name = format!("{name}.default.svc.cluster.local");
        let output = client.command("dig").args(["+short", kind, &name]).output().await?;
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    assert_eq!(dig("SRV", "_http._tcp.web").await?, ["0 100 80 web.default.svc.cluster.local."]);
    assert_eq!(dig("SRV", "_quic._udp.web").await?, ["0 100 80 web.default.svc.cluster.local."]);
    let pods = ["db-0", "db-1"].map(|pod| format!("0 50 6432 {pod}.db.default.svc.cluster.local."));
    assert_eq!(dig("SRV", "_pg._tcp.db").await?, pods);
    let pod = cluster.pod("db-1")?;
    assert_eq!(dig("A", "db-1.db").await?, [pod.ip4().to_string()]);
    assert_eq!(dig("AAAA", "db-1.db").await?, [pod.ip6().to_string()]);
    pod.set_ready(false)?;
    assert_eq!(dig("SRV", "_pg._tcp.db").await?, ["0 100 6432 db-0.db.default.svc.cluster.local."]);
    assert_eq!(dig("A", "db-1.db").await?, [""; 0]);
    Ok(())
}

/// One of Debian's CNI plugins, run on the pod's node as the kubelet's container runtime runs it; its result.
async fn cni(pod: &Pod, command: &str, plugin: &str, interface: &str, config: &str) -> io::Result<String> {
    let mut program = pod.node().command(format!("/usr/lib/cni/{plugin}"));
    program.env("CNI_COMMAND", command).env("CNI_CONTAINERID", pod.name()).env("CNI_IFNAME", interface);
    program.env("CNI_NETNS", pod.netns_path()?).env("CNI_PATH", "/usr/lib/cni");
    let output = program.input(config).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{plugin}: {text} {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// Real plugins give a pod a second and a third interface, by the path of its namespace, and take them away.
#[netns_test(kubernetes(nodes = 2, pods(server = 0, other = 0)))]
async fn cni_plugins_run_against_a_pod(cluster: Cluster, server: Pod, other: Pod) -> io::Result<()> {
    let node = cluster.node(0);
    let data = node.data_dir()?.display().to_string();
    let config = |plugin: &str, subnet: &str, more: &str| {
        format!(
            r#"{{ "cniVersion": "0.4.0", "name": "{plugin}-net", "type": "{plugin}", {more}
                "ipam": {{ "type": "host-local", "ranges": [[{{ "subnet": "{subnet}" }}]], "dataDir": "{data}" }} }}"#
        )
    };
    let ptp = config("ptp", "172.20.0.0/24", "");
    let result = cni(&server, "ADD", "ptp", "net1", &ptp).await?;
    assert!(result.contains("172.20.0.2/24"), "{result}");
    let listener = server.listen_tcp("0.0.0.0:80").await?;
    node.connect_tcp("172.20.0.2:80").await?;
    assert_eq!(listener.accept().await?.1.ip().to_string(), "172.20.0.1");

    // Two pods on one bridge, beside what they have.
    let bridge = config("bridge", "172.21.0.0/24", r#""bridge": "cni0", "isGateway": true,"#);
    for pod in [&server, &other] {
        cni(pod, "ADD", "bridge", "net2", &bridge).await?;
    }
    other.connect_tcp("172.21.0.2:80").await?;
    assert_eq!(listener.accept().await?.1.ip().to_string(), "172.21.0.3");

    // Its own interface is as it was.
    let own = server.listen_tcp(81).await?;
    other.connect_tcp((server.ip(), 81)).await?;
    assert_eq!(own.accept().await?.1.ip(), other.ip());
    cni(&server, "DEL", "ptp", "net1", &ptp).await?;
    cni(&server, "DEL", "bridge", "net2", &bridge).await?;
    assert!(server.interface("net1").is_err() && server.interface("net2").is_err());
    server.interface("eth0")?;
    Ok(())
}

/// `portmap` runs behind another plugin, as in a list of them: the node's port leads to the pod's, for those who come from elsewhere.
#[netns_test(kubernetes(nodes = 1, pods(server = 0)))]
async fn a_node_s_port_leads_to_a_pod(cluster: Cluster, server: Pod) -> io::Result<()> {
    let (node, outside) = (cluster.node(0), cluster.outside()?);
    let config = format!(
        r#"{{ "cniVersion": "0.4.0", "name": "ports", "type": "portmap", "snat": true,
            "runtimeConfig": {{ "portMappings": [{{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }}] }},
            "prevResult": {{ "cniVersion": "0.4.0",
                "interfaces": [{{ "name": "eth0", "sandbox": "{}" }}],
                "ips": [{{ "version": "4", "interface": 0, "address": "{}/32" }}] }} }}"#,
        server.netns_path()?.display(),
        server.ip4()
    );
    cni(&server, "ADD", "portmap", "eth0", &config).await?;
    let listener = server.listen_tcp("0.0.0.0:80").await?;
    outside.connect_tcp((node.ip4(), 8080)).await?;
    assert_eq!(listener.accept().await?.1.ip(), outside.ip4());
    cni(&server, "DEL", "portmap", "eth0", &config).await?;
    let error = outside.connect_tcp((node.ip4(), 8080)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}
