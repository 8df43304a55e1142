// Every mistake is reported, and none makes another: the function survives, its body is not judged by them.
#![deny(warnings)]

use netns_test::{Node, netns_test};
use std::io;

#[netns_test(nodes = 3, topolgy = ring, timeout = "10s", run_in = sever, worker_threads = 2)]
#[should_panic]
#[ignore = "slow"]
async fn all_at_once(client: Node, mut localhost: Node) -> io::Result<()> {
    let port = 7;
    Ok(())
}

fn main() {
    let _survives = all_at_once;
}
