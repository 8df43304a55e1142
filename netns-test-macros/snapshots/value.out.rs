#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn value() {
    fn value(web_server: Node, others: [Node; 2]) {}
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "value"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &[],
            shape: ::netns_test::__private::Shape::Star,
            family: ::netns_test::__private::Family::Dual,
            topology: ::core::option::Option::Some({
                fn __netns_topology() -> ::netns_test::__private::Topology {
                    shared::topology(2)
                }
                __netns_topology
            }),
            timeout: ::core::option::Option::None,
            run_in: ::core::option::Option::Some("client"),
            aliases: &[("web-server", "www.test")],
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
                value(
                    ::netns_test::__private::argument::<Node>(arguments, "web-server")?,
                    ::netns_test::__private::argument::<[Node; 2]>(arguments, "others")?,
                ),
            ),
        );
    }
}
