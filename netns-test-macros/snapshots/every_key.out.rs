#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn every_key() {
    async fn every_key(network: Network, own: my::Extractor) {
        drop((network, own));
    }
    {
        static __NETNS_TEST: crate::reexports::netns_test::__private::TestCase = crate::reexports::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "every_key"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["node-0", "node-1", "node-2"],
            shape: crate::reexports::netns_test::__private::Shape::Line,
            family: crate::reexports::netns_test::__private::Family::V6,
            topology: ::core::option::Option::None,
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::from_nanos(1500000000u64),
            ),
            run_in: ::core::option::Option::Some("node-0"),
            aliases: &[
                ("node-1", "relay.test"),
                ("node-1", "www"),
                ("node-2", "a.test"),
            ],
            dns: ::core::option::Option::Some("node-2"),
            runtime: crate::reexports::netns_test::__private::Runtime::MultiThread {
                workers: ::core::option::Option::Some(2usize),
            },
            require: &[crate::reexports::netns_test::__private::Require::Root],
            capture: ::core::option::Option::None,
            should_panic: crate::reexports::netns_test::__private::ShouldPanic::No,
            fails: ::core::option::Option::None,
            program: false,
        };
        crate::reexports::netns_test::__private::register!(__NETNS_TEST);
        crate::reexports::netns_test::__private::run_async(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                every_key(
                    crate::reexports::netns_test::__private::argument::<
                        Network,
                    >(arguments, "network")?,
                    crate::reexports::netns_test::__private::argument::<
                        my::Extractor,
                    >(arguments, "own")?,
                ),
            ),
        );
    }
}
