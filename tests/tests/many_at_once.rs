//! Many tests at once: 256 two-node networks in one process, all of them at the same moment.

use netns_test::{Node, netns_test};
use netns_test_tests::Rerun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn echo(client: Node, server: Node) -> std::io::Result<()> {
    for to in [server.ip4().into(), std::net::IpAddr::from(server.ip6())] {
        let listener = server.listen_tcp((to, 7)).await?;
        let mut out = client.connect_tcp((to, 7)).await?;
        let (mut inc, _) = listener.accept().await?;
        out.write_all(b"hi").await?;
        let mut buf = [0; 2];
        inc.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"hi");
    }
    Ok(())
}

macro_rules! tests {
    ($($module:ident)*) => {
        $(
            mod $module {
                tests! { @ a b c d e f g h i j k l m n o p }
            }
        )*
    };
    (@ $($name:ident)*) => {
        $(
            #[netns_test::netns_test]
            #[ignore = "run by its proof"]
            async fn $name(client: netns_test::Node, server: netns_test::Node) -> std::io::Result<()> {
                super::echo(client, server).await
            }
        )*
    };
}

tests! { a b c d e f g h i j k l m n o p }

#[test]
fn all_of_256_tests_at_once_pass() {
    let outcome = Rerun::with(&["::", "--ignored", "--test-threads=256"]).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["256 passed; 0 failed"]);
}

#[test]
fn with_few_file_descriptors_they_wait_for_each_other() {
    let rerun =
        Rerun::with(&["::", "--ignored", "--test-threads=256"]).in_shell("ulimit -n 512; exec \"$@\"");
    let outcome = rerun.run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["256 passed; 0 failed"]);
}

/// A script that runs its arguments where there may be so many network namespaces, with and without privileges there.
fn with_net_namespaces(count: u32, privileged: bool) -> String {
    let drop = if privileged { "" } else { "setpriv --bounding-set=-all,+setfcap --inh-caps=-all" };
    format!(
        "exec unshare --user --map-root-user sh -c \
         'echo {count} > /proc/sys/user/max_net_namespaces; exec {drop} \"$@\"' sh \"$@\""
    )
}

#[test]
fn with_few_namespaces_they_wait_for_each_other_and_for_their_release() {
    // A test needs three.
    for (count, privileged) in [(3, true), (3, false), (4, false), (8, true), (8, false)] {
        let rerun = Rerun::with(&["a::", "--ignored", "--test-threads=8"]);
        let outcome = rerun.in_shell(&with_net_namespaces(count, privileged)).as_ordinary_user().run();
        assert!(outcome.status.success(), "{count}, {privileged}: {outcome}");
        outcome.says(&["16 passed; 0 failed"]);
    }
}

/// Several networks in one process do not see each other: the same address and port in each.
#[netns_test]
async fn one_alone(client: Node, server: Node) -> std::io::Result<()> {
    echo(client, server).await
}
