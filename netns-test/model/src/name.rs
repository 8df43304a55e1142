//! Host names.

use crate::{MAX_DOMAIN_NAME, MAX_NAME};

/// Names that every node's /etc/hosts gives to the loopback.
const LOOPBACK: [&str; 3] = ["localhost", "ip6-localhost", "ip6-loopback"];

/// The host name of the node that an argument declares: a leading underscore is dropped, an inner one becomes a hyphen.
pub fn host_name(argument: &str) -> String {
    argument.strip_prefix('_').unwrap_or(argument).replace('_', "-")
}

/// Whether a name can be a node's: letters, digits and hyphens (RFC 952, RFC 1123 section 2.1), and no name that the
/// resolver takes for something else.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a node needs a name".to_owned());
    }
    check_label(name)?;
    if LOOPBACK.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}` is the name of every node's own loopback: choose another"));
    }
    if reads_as_address(name) {
        return Err(format!("`{name}` reads as an IPv4 address to the resolver: put a letter first"));
    }
    Ok(())
}

/// Whether a name can be one more of a node's: a host name, or several with dots between (RFC 1123 section 2.1).
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn check_alias(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("an alias needs a name, as in `\"relay.test\"`".to_owned());
    }
    if let Some(relative) = name.strip_suffix('.')
        && check_alias(relative).is_ok()
    {
        return Err(format!("`{name}` must not end with a dot: write `{relative}`"));
    }
    if name.split('.').any(str::is_empty) {
        return Err(format!("`{name}` is no domain name: there is nothing between two dots, or beside one"));
    }
    for label in name.split('.') {
        check_label(label).map_err(|message| match label == name {
            true => message,
            false => format!("{message} (in `{name}`)"),
        })?;
    }
    if name.len() > MAX_DOMAIN_NAME {
        let length = name.len();
        return Err(format!(
            "`{name}` is too long for a domain name: {length} characters of {MAX_DOMAIN_NAME}"
        ));
    }
    // RFC 6761 section 6.3: resolvers give all of `localhost` to the loopback by themselves.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.eq_ignore_ascii_case("localhost") || LOOPBACK.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("`{name}` is a name of every node's own loopback: choose another"));
    }
    if reads_as_address(last) {
        return Err(format!(
            "`{name}` reads as an IPv4 address to the resolver: put a letter into its last part"
        ));
    }
    Ok(())
}

/// Whether a text can stand between the dots of a host name.
fn check_label(name: &str) -> Result<(), String> {
    if let Some(other) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(format!(
            "`{name}` is no host name: it has `{}`, and only letters a to z, digits and hyphens are allowed",
            other.escape_debug()
        ));
    }
    if name.starts_with('-') || name.ends_with('-') {
        let end = if name.starts_with('-') { "start" } else { "end" };
        let better = match name.trim_matches('-') {
            "" => String::new(),
            better => format!(": did you mean `{better}`?"),
        };
        return Err(format!("`{name}` is no host name: it must not {end} with a hyphen{better}"));
    }
    if name.len() > MAX_NAME {
        return Err(format!("`{name}` is too long for a host name: {} characters of {MAX_NAME}", name.len()));
    }
    Ok(())
}

/// Whether inet_aton(3), and so getaddrinfo(3), takes the name for a number.
fn reads_as_address(name: &str) -> bool {
    match name.strip_prefix("0x").or_else(|| name.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => name.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_host_names() {
        for (argument, host) in [
            ("client", "client"),
            ("_client", "client"),
            ("web_server", "web-server"),
            ("_web_server_2", "web-server-2"),
            ("__x", "-x"),
            ("x_", "x-"),
        ] {
            assert_eq!(host_name(argument), host);
        }
    }

    #[test]
    fn host_names_are_accepted() {
        let longest = "a".repeat(MAX_NAME);
        for name in ["a", "A", "web-server", "a--b", "3com", "0xyz", "node-1022", &longest] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_the_cause() {
        for (name, cause) in [
            ("", "needs a name"),
            ("a b", "it has ` `"),
            ("a.b", "it has `.`"),
            ("größe", "it has `ö`"),
            ("a\nb", "it has `\\n`"),
            ("-a", "not start with a hyphen: did you mean `a`?"),
            ("a-", "not end with a hyphen: did you mean `a`?"),
            ("-", "not start with a hyphen"),
            ("localhost", "loopback"),
            ("LocalHost", "loopback"),
            ("ip6-localhost", "loopback"),
            ("ip6-loopback", "loopback"),
            ("7", "IPv4 address"),
            ("0x7f", "IPv4 address"),
            (&"a".repeat(64), "64 characters of 63"),
        ] {
            let message = check_name(name).unwrap_err();
            assert!(message.contains(cause), "{name}: {message}");
        }
    }
    #[test]
    fn domain_names_are_accepted_as_aliases() {
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        assert_eq!(long.len(), MAX_DOMAIN_NAME);
        for name in
            ["relay.test", "www", "a.b.c.d.e", "10.example.com", "3com.test", "xn--bcher-kva.test", &long]
        {
            assert_eq!(check_alias(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_aliases_are_refused_with_the_cause() {
        for (name, cause) in [
            ("", "needs a name"),
            ("relay.test.", "not end with a dot: write `relay.test`"),
            (".test", "nothing between two dots, or beside one"),
            ("a..test", "nothing between two dots"),
            (".", "nothing between two dots"),
            ("my_db.test", "`my_db` is no host name: it has `_`"),
            ("my_db.test", "(in `my_db.test`)"),
            ("*.test", "it has `*`"),
            ("relay.test:80", "it has `:`"),
            ("-a.test", "not start with a hyphen: did you mean `a`?"),
            ("localhost", "own loopback"),
            ("a.LocalHost", "own loopback"),
            ("ip6-loopback", "own loopback"),
            ("10.0.0.1", "IPv4 address"),
            ("a.0x1f", "IPv4 address"),
            (&format!("{}.test", "a".repeat(64)), "64 characters of 63"),
            (&["a"; 128].join("."), "255 characters of 253"),
        ] {
            let message = check_alias(name).unwrap_err();
            assert!(message.contains(cause), "{name}: {message}");
        }
    }
}
