#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn graph() {
    async fn graph(client: Node, r1: Router) {}
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "graph"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["client", "server", "r1"],
            shape: ::netns_test::__private::Shape::Star,
            family: ::netns_test::__private::Family::Dual,
            topology: ::core::option::Option::Some({
                fn __netns_topology() -> ::netns_test::__private::Topology {
                    let mut topology = ::netns_test::__private::Topology::new();
                    topology.family(::netns_test::__private::Family::Dual);
                    topology.node("client");
                    topology.node("server");
                    topology.router("r1");
                    topology.switch("s");
                    topology
                        .link("client.eth1", "r1")
                        .mtu(1400u32)
                        .prefix("10.1.0.0/24")
                        .prefix("2001:db8:7::/64");
                    topology.link("r1", "s");
                    topology.link("server", "s").address("server", "10.7.0.5/24");
                    topology.routes(::netns_test::__private::Routes::Connected);
                    topology.addresses(::netns_test::__private::Addresses::None);
                    topology
                }
                __netns_topology
            }),
            timeout: ::core::option::Option::None,
            run_in: ::core::option::Option::Some("server"),
            aliases: &[],
            dns: ::core::option::Option::None,
            runtime: ::netns_test::__private::Runtime::CurrentThread,
            require: &[],
            capture: ::core::option::Option::None,
            should_panic: ::netns_test::__private::ShouldPanic::No,
            fails: ::core::option::Option::None,
            program: false,
        };
        ::netns_test::__private::register!(__NETNS_TEST);
        ::netns_test::__private::run_async(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                graph(
                    ::netns_test::__private::argument::<Node>(arguments, "client")?,
                    ::netns_test::__private::argument::<Router>(arguments, "r1")?,
                ),
            ),
        );
    }
}
