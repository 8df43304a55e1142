#[ignore = "slow"]
#[expect(unused_variables, reason = "none needed")]
#[foreign::attribute(x)]
#[cfg(unix)]
#[::core::prelude::v1::test]
fn attributes() {
    async fn attributes(
        #[cfg(feature = "a")]
        a: Node,
        #[cfg(not(feature = "a"))]
        a: Node,
        #[allow(unused)]
        b: Node,
    ) {
        panic!("boom");
    }
    {
        static __NETNS_TEST: ::netns_test::__private::TestCase = ::netns_test::__private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", "attributes"),
            file: ::core::file!(),
            line: ::core::line!(),
            nodes: &[#[cfg(feature = "a")] "a", #[cfg(not(feature = "a"))] "a", "b"],
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
            should_panic: ::netns_test::__private::ShouldPanic::With("boom"),
            fails: ::core::option::Option::None,
            program: false,
        };
        ::netns_test::__private::register!(__NETNS_TEST);
        ::netns_test::__private::run_async(
            &__NETNS_TEST,
            |arguments| ::core::result::Result::Ok(
                attributes(
                    #[cfg(feature = "a")]
                    ::netns_test::__private::argument::<Node>(arguments, "a")?,
                    #[cfg(not(feature = "a"))]
                    ::netns_test::__private::argument::<Node>(arguments, "a")?,
                    ::netns_test::__private::argument::<Node>(arguments, "b")?,
                ),
            ),
        );
    }
}
