#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn links() {
    fn links(a: Node) {}
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "links"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["a", "b"],
            shape: ::netns_test::__private::Shape::Star,
            family: ::netns_test::__private::Family::Dual,
            topology: ::core::option::Option::Some({
                fn __netns_topology() -> ::netns_test::__private::Topology {
                    let mut topology = ::netns_test::__private::Topology::new();
                    topology.family(::netns_test::__private::Family::Dual);
                    topology.node("a");
                    topology.node("b");
                    topology
                        .link("a", "b")
                        .conditions(
                            ::netns_test::__private::Conditions::new()
                                .delay(::core::time::Duration::from_nanos(20000000u64))
                                .loss(
                                    ::netns_test::__private::Burst::new(
                                            ::netns_test::__private::Percent(1f64),
                                            ::netns_test::__private::Percent(25f64),
                                        )
                                        .bad(::netns_test::__private::Percent(100f64))
                                        .good(::netns_test::__private::Percent(0f64)),
                                )
                                .rate(::netns_test::__private::Rate::bit(1500000u64)),
                        )
                        .wire(::netns_test::__private::Wire::User);
                    topology
                        .direction(
                            "a",
                            "b",
                            ::netns_test::__private::Conditions::new()
                                .loss(::netns_test::__private::Percent(0.5f64))
                                .queue(::netns_test::__private::Queue::Bytes(64000u64))
                                .ecn(::netns_test::__private::Ecn::Mark),
                        );
                    topology.seed(7u64);
                    topology
                }
                __netns_topology
            }),
            timeout: ::core::option::Option::None,
            run_in: ::core::option::Option::None,
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
        ::netns_test::__private::run_sync(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                links(::netns_test::__private::argument::<Node>(arguments, "a")?),
            ),
        );
    }
}
