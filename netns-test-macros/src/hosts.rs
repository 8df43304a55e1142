//! The nodes of the network: their number and their names, judged by the model.

use netns_test_model::{About, Family, Problem, Shape, Topology, check_count, closest, host_name};
use proc_macro2::{Ident, Span};
use syn::Attribute;
use syn::spanned::Spanned as _;

use crate::args::{Args, Spanned};
use crate::arguments::{Argument, Nodes};
use crate::diag::{Diag, list};

/// A node of the network.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) cfgs: Vec<Attribute>,
    /// The argument that declares it; none where `nodes = N` alone does.
    argument: Option<Ident>,
}

impl Host {
    /// A node that the attribute itself names.
    pub(crate) fn declared(name: String) -> Self {
        Self { name, cfgs: Vec::new(), argument: None }
    }
}

/// The nodes of the network, from `nodes = N` or from the arguments, unless they are too many to name.
pub(crate) fn hosts(
    args: &Args,
    arguments: &[Argument],
    shape: Shape,
    family: Family,
    name: Span,
    diag: &mut Diag,
) -> Option<Vec<Host>> {
    let count = arguments.iter().fold(0, |count: usize, argument| match argument.nodes {
        Nodes::None => count,
        Nodes::One => count.saturating_add(1),
        Nodes::Array(length) => count.saturating_add(length),
    });
    let mut agreed = true;
    if let Some(nodes) = args.nodes {
        if nodes.value == 0 {
            diag.at(
                nodes.span,
                "0 nodes are no network: write 1 or more, or remove `nodes` for a test that is alone",
            );
            agreed = false;
        } else if count > 0 {
            agreed = counts_agree(nodes, count, arguments, diag);
        }
    }
    let total = if count > 0 { count } else { args.nodes.map_or(0, |nodes| nodes.value) };
    let number = match args.nodes {
        Some(nodes) => nodes.span,
        None => arguments
            .iter()
            .max_by_key(|argument| if let Nodes::Array(length) = argument.nodes { length } else { 0 })
            .map_or(name, |argument| argument.ty.span()),
    };
    // Before the names of a billion nodes are made.
    if let Err(message) = check_count(total, Shape::Star) {
        diag.at(number, message);
        return None;
    }
    let hosts = named(args.nodes, count, arguments);
    // Whether a number fits the shape can be said when it is known.
    let shape = if agreed { shape } else { Shape::Star };
    if let Err(problems) = topology(&hosts, shape, family) {
        for (problem, host) in problems {
            if !report(&problem, host, &hosts, diag) {
                diag.at(args.topology.map_or(number, |topology| topology.span), problem.message);
            }
        }
    }
    Some(hosts)
}

/// The names of the arguments that could be read, checked without their number.
pub(crate) fn names(arguments: &[Argument], diag: &mut Diag) {
    let hosts: Vec<_> = arguments
        .iter()
        .filter(|argument| matches!(argument.nodes, Nodes::One))
        .map(|argument| Host {
            name: argument.host.clone(),
            cfgs: argument.cfgs.clone(),
            argument: Some(argument.ident.clone()),
        })
        .collect();
    for (problem, host) in topology(&hosts, Shape::Star, Family::Dual).err().unwrap_or_default() {
        report(&problem, host, &hosts, diag);
    }
}

/// The problem at the argument that it is about; whether it is about one.
fn report(problem: &Problem, host: Option<usize>, hosts: &[Host], diag: &mut Diag) -> bool {
    let Some((host, argument)) =
        host.and_then(|index| Some((&hosts[index], hosts[index].argument.as_ref()?)))
    else {
        return false;
    };
    diag.on(argument, worded(problem, argument, host, hosts));
    true
}

/// Whether `nodes = N` says what the arguments do.
fn counts_agree(nodes: Spanned<usize>, count: usize, arguments: &[Argument], diag: &mut Diag) -> bool {
    let declaring = || arguments.iter().filter(|argument| !matches!(argument.nodes, Nodes::None));
    if declaring().any(|argument| !argument.cfgs.is_empty()) {
        diag.at(
            nodes.span,
            "the number depends on a `cfg` of the arguments: remove `nodes`, they are counted",
        );
        return false;
    }
    if nodes.value == count {
        return true;
    }
    let declared = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let add = match nodes.value.checked_sub(count) {
        None => String::new(),
        Some(1) => {
            let name = (count + 1..)
                .map(|n| format!("node_{n}"))
                .find(|name| arguments.iter().all(|a| a.ident != name));
            format!(", or add the argument `{}: Node`", name.expect("a number that is not taken"))
        }
        Some(missing) => format!(", or add the argument `more: [Node; {missing}]`"),
    };
    diag.at(nodes.span, format!("the arguments declare {declared}: write `nodes = {count}`{add}"));
    false
}

/// The nodes by name. No argument declares one: `node-0`, `node-1`, ….
fn named(nodes: Option<Spanned<usize>>, count: usize, arguments: &[Argument]) -> Vec<Host> {
    if count == 0 {
        let name = |n| Host::declared(format!("node-{n}"));
        return (0..nodes.map_or(0, |nodes| nodes.value)).map(name).collect();
    }
    let mut hosts = Vec::new();
    for argument in arguments {
        let host = |name| Host { name, cfgs: argument.cfgs.clone(), argument: Some(argument.ident.clone()) };
        match argument.nodes {
            Nodes::None => {}
            Nodes::One => hosts.push(host(argument.host.clone())),
            Nodes::Array(length) => hosts.extend((0..length).map(|n| host(format!("{}-{n}", argument.host)))),
        }
    }
    hosts
}

/// The model's own judgement; of arguments that a `cfg` chooses between, the first stands for all.
fn topology(
    hosts: &[Host],
    shape: Shape,
    family: Family,
) -> std::result::Result<(), Vec<(Problem, Option<usize>)>> {
    let alternative = |index: usize| {
        let host = &hosts[index];
        !host.cfgs.is_empty()
            && hosts[..index].iter().any(|other| other.name == host.name && !other.cfgs.is_empty())
    };
    let checked: Vec<_> = (0..hosts.len()).filter(|index| !alternative(*index)).collect();
    let names = checked.iter().map(|index| hosts[*index].name.clone()).collect();
    Topology::new(names, shape, family).check().map_err(|problems| {
        problems
            .into_iter()
            .map(|problem| {
                let host = match problem.about {
                    About::Node(node) => Some(checked[node]),
                    About::Network | About::Alias(_) | About::Dns => None,
                };
                (problem, host)
            })
            .collect()
    })
}

/// A problem with a node, in the words of the function.
fn worded(problem: &Problem, argument: &Ident, host: &Host, hosts: &[Host]) -> String {
    let twin =
        hosts.iter().find(|other| other.name.eq_ignore_ascii_case(&host.name) && !std::ptr::eq(*other, host));
    let twin = twin.and_then(|twin| twin.argument.as_ref());
    match twin {
        Some(twin) => format!(
            "{}: the arguments `{twin}` and `{argument}` both declare it; rename one",
            problem.message
        ),
        None if *argument == host.name => problem.message.clone(),
        None => format!("{} (the host name of the argument `{argument}`)", problem.message),
    }
}

/// The host name of the node that a word means, by that name or by the argument's; `corrected` writes another in its place.
pub(crate) fn find(
    written: &Spanned<String>,
    corrected: impl FnOnce(&str) -> String,
    hosts: &[Host],
    diag: &mut Diag,
) -> Option<String> {
    let word = &written.value;
    let found = hosts.iter().find(|host| host.name == *word || host.name == host_name(word));
    if let Some(host) = found {
        return Some(host.name.clone());
    }
    let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
    let first = format!("{word}-0");
    let message = match closest(word, names.iter().copied()) {
        _ if names.is_empty() => {
            format!("there is no node `{word}`: the test is alone; add an argument `{word}: Node`")
        }
        _ if names.contains(&first.as_str()) => {
            format!("`{word}` is an array: write `{}`", corrected(&first.replace('-', "_")))
        }
        Some(near) => format!("there is no node `{word}`: did you mean `{near}`?"),
        None if names.len() > 8 => {
            format!("there is no node `{word}`: expected {} or another", list(&names[..8]))
        }
        None => format!("there is no node `{word}`: expected {}", list(names)),
    };
    diag.at(written.span, message);
    None
}
