#[netns_test(nodes(a, b), links(a -- b), matrix(family = [v4, v6], (a -- b).mtu = [1400], fails(family = v6)))]
/// Words.
async fn over(mut a: Node) -> Result<(), Error> {
    a.run().await
}
