//! Promise 9: a thread that runs before `main` is a cause of its own.

use netns_test::{Node, netns_test};
use netns_test_tests::rerun;

/// Starts a thread before `main`, as some profilers and preloaded libraries do.
#[used]
#[unsafe(link_section = ".init_array.00001")]
static EARLY: extern "C" fn() = {
    extern "C" fn start() {
        if std::env::var_os("NETNS_PROOF_THREAD").is_some() {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
        }
    }
    start
};

#[netns_test]
#[ignore = "run by its proof"]
async fn one_node(_a: Node) {}

#[test]
fn a_thread_before_main_is_named_as_the_cause() {
    let outcome = rerun("one_node").env("NETNS_PROOF_THREAD", "1").as_ordinary_user().run();
    outcome.failed_with(&[
        "a thread was already running before `main`",
        "to mend it: start no threads in constructors",
    ]);
    rerun("one_node").as_ordinary_user().run().passed();
}
