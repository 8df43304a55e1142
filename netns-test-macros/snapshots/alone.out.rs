#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
fn alone() {
    fn alone() {
        assert!(std::net::TcpListener::bind("127.0.0.1:80").is_ok());
    }
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "alone"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &[],
            shape: ::netns_test::__private::Shape::Star,
            family: ::netns_test::__private::Family::Dual,
            topology: ::core::option::Option::None,
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
            |_arguments| ::core::result::Result::Ok(alone()),
        );
    }
}
