//! Names of interfaces.

/// The longest name of an interface: `IFNAMSIZ` less the byte that ends it (netdevice(7)).
const MAX_LEN: usize = 15;

/// Devices that some kernels put into every new namespace (`net.core.fb_tunnels_only_for_init_net`).
const FALLBACK: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/// Whether an interface can have the name (`dev_valid_name` in the kernel's net/core/dev.c).
pub(super) fn check_interface(name: &str) -> Result<(), String> {
    let refuse = |why: String| Err(format!("`{name}` is no name of an interface: {why}"));
    if name.is_empty() {
        return refuse("it has no letters".to_owned());
    }
    if name.len() > MAX_LEN {
        return refuse(format!("it has {} bytes of at most {MAX_LEN}", name.len()));
    }
    let wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if let Some(wrong) = name.chars().find(|c| wrong(*c)) {
        return refuse(format!(
            "it has `{}`, and white space, `/`, `:` and `%` are not allowed",
            wrong.escape_debug()
        ));
    }
    match name {
        "." | ".." => refuse("it is a directory's".to_owned()),
        "lo" => refuse("the loopback has it".to_owned()),
        // `sysctl_dev_name_is_allowed` in the kernel's net/ipv4/devinet.c.
        "all" | "default" => refuse(format!("the settings `net.ipv4.conf.{name}` are of all interfaces")),
        _ if FALLBACK.contains(&name) => {
            refuse("some kernels give it to a tunnel in every namespace".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_interface;

    #[test]
    fn names_are_as_linux_wants_them() {
        for name in ["e", "eth0", "swp1", "eth0.5", "wan-uplink", "fifteen-letters", "größe"] {
            assert_eq!(check_interface(name), Ok(()), "{name}");
        }
        for (name, cause) in [
            ("", "it has no letters"),
            ("sixteen-letters!", "it has 16 bytes of at most 15"),
            ("a/b", "it has `/`"),
            ("a b", "it has ` `"),
            ("a\tb", "it has `\\t`"),
            ("a:1", "it has `:`"),
            ("eth%d", "it has `%`"),
            ("..", "a directory's"),
            ("lo", "the loopback has it"),
            ("all", "of all interfaces"),
            ("sit0", "some kernels"),
        ] {
            let message = check_interface(name).unwrap_err();
            assert!(message.contains(cause), "{name}: {message}");
        }
    }
}
