/// Words.
async fn over(mut a: Node) -> Result<(), Error> {
    a.run().await
}
mod over {
    #[allow(unused_imports, clippy::wildcard_imports)]
    use super::*;
    #[::netns_test::netns_test(nodes(a, b), links(a--b{mtu = 1400}), family = v4)]
    async fn family_v4_mtu_1400(a: Node) -> Result<(), Error> {
        super::over(a).await
    }
    #[::netns_test::netns_test(
        nodes(a, b),
        links(a--b{mtu = 1400}),
        family = v6,
        fails = "marked in the matrix",
    )]
    async fn family_v6_mtu_1400(a: Node) -> Result<(), Error> {
        super::over(a).await
    }
}
