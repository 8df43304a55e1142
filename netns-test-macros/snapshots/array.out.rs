#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn array() {
    fn array(servers: [Node; 3], client: Node, network: Network) {}
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "array"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["servers-0", "servers-1", "servers-2", "client"],
            shape: ::netns_test::__private::Shape::Star,
            family: ::netns_test::__private::Family::Dual,
            topology: ::core::option::Option::None,
            timeout: ::core::option::Option::None,
            run_in: ::core::option::Option::Some("servers-1"),
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
                array(
                    ::netns_test::__private::argument::<
                        [Node; 3],
                    >(arguments, "servers")?,
                    ::netns_test::__private::argument::<Node>(arguments, "client")?,
                    ::netns_test::__private::argument::<Network>(arguments, "network")?,
                ),
            ),
        );
    }
}
