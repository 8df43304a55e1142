//! What works on a `#[test]` works here, above the attribute and below it.

use netns_test::{Node, netns_test};

/// Documented.
#[netns_test]
#[cfg(target_os = "linux")]
#[allow(unused_variables)]
fn doc_and_cfg_and_lints(client: Node) {}

#[netns_test]
#[cfg(any())]
fn compiled_out(client: DoesNotExist) {}

#[netns_test]
#[ignore = "never to run"]
fn ignored(_client: Node) {
    panic!("ignored tests do not run");
}

#[should_panic]
#[netns_test]
fn should_panic_above(_client: Node) {
    panic!("as expected");
}

#[netns_test]
#[should_panic(expected = "as exp")]
async fn should_panic_below(_client: Node) {
    panic!("as expected");
}

#[netns_test]
#[should_panic = "as exp"]
fn should_panic_equals() {
    panic!("as expected");
}

#[netns_test]
#[cfg_attr(target_os = "linux", should_panic)]
fn should_panic_under_a_condition() {
    panic!("as expected");
}

#[netns_test]
fn returns_a_result(client: Node) -> Result<(), std::net::AddrParseError> {
    let parsed: std::net::IpAddr = client.ip().to_string().parse()?;
    assert_eq!(parsed, client.ip());
    Ok(())
}

#[netns_test]
async fn returns_an_exit_code() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

#[netns_test]
#[should_panic(expected = "never comes back")]
fn never_returns() -> ! {
    panic!("never comes back");
}

// The second name, brought in as rustc's own is called.
mod second_name {
    use netns_test::{Node, test};

    #[test]
    async fn imported(client: Node) {
        assert_eq!(client.name(), "client");
    }
}
