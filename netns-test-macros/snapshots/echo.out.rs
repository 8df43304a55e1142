/// Two hosts.
#[cfg_attr(not(target_os = "linux"), ignore = "netns-test runs on Linux alone")]
#[::core::prelude::v1::test]
pub fn echo() {
    async fn echo(
        client: Node,
        mut _web_server: netns_test::Node,
    ) -> std::io::Result<()> {
        #![allow(unused_mut)]
        client.connect_tcp("web-server:7").await?;
        Ok(())
    }
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "echo"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["client", "web-server"],
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
        ::netns_test::__private::run_async(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                echo(
                    ::netns_test::__private::argument::<Node>(arguments, "client")?,
                    ::netns_test::__private::argument::<
                        netns_test::Node,
                    >(arguments, "web-server")?,
                ),
            ),
        );
    }
}
