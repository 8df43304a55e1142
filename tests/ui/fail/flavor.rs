use netns_test::{Node, netns_test};

#[netns_test(flavor = "multithread")]
async fn misspelt(client: Node) {}

#[netns_test(flavor = "single_thread")]
async fn other_word(client: Node) {}

#[netns_test(worker_threads = 2)]
async fn no_flavor(client: Node) {}

#[netns_test(flavor = current_thread, worker_threads = 2)]
async fn one_thread(client: Node) {}

#[netns_test(flavor = multi_thread, worker_threads = 0)]
async fn no_worker(client: Node) {}

fn main() {}
