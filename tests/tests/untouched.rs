//! A binary without an expanded attribute is untouched, even if it links the crate.

use std::process::Command;
use std::{env, fs};

use netns_test::{Network, Node};

/// The crate is linked, and used.
fn names(network: &Network) -> Vec<String> {
    network.nodes().iter().map(Node::name).map(str::to_owned).collect()
}

#[test]
#[ignore = "a part of `nothing_happens_before_main`"]
fn prints_what_it_has() {
    let link = |kind: &&str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    let spaces: Vec<String> = ["user", "net", "mnt", "uts", "pid"].iter().map(link).collect();
    println!("namespaces {}", spaces.join(" "));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().filter(|line| line.starts_with("Cap")).for_each(|line| println!("{line}"));
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    limits.lines().filter(|line| line.starts_with("Max open files")).for_each(|line| println!("{line}"));
    println!("proxy {:?}", env::var_os("http_proxy"));
}

#[test]
fn nothing_happens_before_main() {
    let shell = "ulimit -S -n 200; for kind in user net mnt uts pid; do readlink /proc/self/ns/$kind; done; \
                 grep ^Cap /proc/self/status; grep '^Max open files' /proc/self/limits; \
                 exec \"$0\" --exact prints_what_it_has --ignored --nocapture";
    let output = Command::new("sh")
        .args(["-c", shell])
        .arg(env::current_exe().unwrap())
        .env("http_proxy", "http://192.0.2.1:3128")
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let of_shell =
        |start: &str| lines.iter().copied().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    let (spaces, rest) = lines.split_at(5);
    assert!(rest.iter().any(|line| line.ends_with(&format!("namespaces {}", spaces.join(" ")))), "{text}");
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Max open files"] {
        let [before, after] = of_shell(name)[..] else { panic!("{name} is not there twice:\n{text}") };
        assert_eq!(before, after);
    }
    assert!(text.contains("proxy Some(\"http://192.0.2.1:3128\")"), "{text}");
}

#[test]
fn a_thread_of_no_test_has_no_network() {
    let error = Network::current().map(|network| names(&network)).unwrap_err().to_string();
    assert!(error.contains("no network of a running `#[netns_test]`"), "{error}");
}
