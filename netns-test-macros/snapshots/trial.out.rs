#[cfg_attr(windows, allow(unused))]
#[allow(clippy::unused_async)]
fn slow() {
    async fn slow(client: Node) {}
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "slow"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &["client"],
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
        ::netns_test::__private::register!(
            __NETNS_TEST, self::slow, if ::core::cfg!(windows) {
            ::core::option::Option::Some("no namespaces") } else {
            ::core::option::Option::Some("it is slow") }
        );
        ::netns_test::__private::run_async(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                slow(::netns_test::__private::argument::<Node>(arguments, "client")?),
            ),
        );
    }
}
