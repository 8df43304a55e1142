//! What the arguments of a test say of its graph, and whether both fit.

use netns_test_model::graph::{Graph, Kind, Member};
use netns_test_model::{Family, closest, host_name};
use syn::spanned::Spanned as _;

use crate::args::Args;
use crate::arguments::{Argument, Nodes};
use crate::diag::Diag;
use crate::function::is_named;
use crate::hosts::Host;

/// The hosts of a graph, and whether arguments and keys go with it.
pub(crate) fn check(
    args: &Args,
    arguments: &[Argument],
    family: Family,
    diag: &mut Diag,
) -> Option<Vec<Host>> {
    let declared = &args.graph;
    if let Some(topology) = args.topology_span {
        diag.at(topology, "`topology` and a graph both wire the nodes: remove one");
    }
    if declared.unread {
        return None;
    }
    for problem in declared.graph.resolve(family).err().unwrap_or_default() {
        diag.at(declared.span(problem.place), problem.message);
    }
    for argument in arguments {
        check_argument(argument, &declared.graph, diag);
    }
    let hosts = declared.graph.members.iter().filter(|member| member.kind != Kind::Switch);
    Some(hosts.map(|host| Host::declared(host.name.clone())).collect())
}

fn check_argument(argument: &Argument, graph: &Graph, diag: &mut Diag) {
    let is_router = is_named(&argument.ty, "Router");
    match argument.nodes {
        Nodes::Array(length) => return check_array(argument, length, graph, diag),
        Nodes::None if !is_router => return,
        Nodes::None | Nodes::One => {}
    }
    let (ident, host) = (&argument.ident, argument.host.as_str());
    let Some(member) = graph.members.iter().find(|member| member.name == host) else {
        let key = if is_router { "routers" } else { "nodes" };
        let wanted =
            |member: &&Member| member.kind != Kind::Switch && (!is_router || member.kind == Kind::Router);
        let names = graph.members.iter().filter(wanted).map(|member| member.name.as_str());
        let what = if is_router { "router" } else { "node" };
        let message = match closest(host, names) {
            Some(near) => format!("there is no {what} `{host}`: did you mean `{}`?", near.replace('-', "_")),
            None => format!("there is no {what} `{host}`: declare it, as in `{key}({ident})`"),
        };
        return diag.on(ident, message);
    };
    match member.kind {
        Kind::Switch => diag.on(ident, format!("`{host}` is a switch, and no node: remove the argument")),
        Kind::Node if is_router => diag.on(
            &argument.ty,
            format!("`{host}` is declared as a node: take it as `Node`, or move it to `routers(..)`"),
        ),
        Kind::Node | Kind::Router => {}
    }
}

/// `spokes: [Node; 2]` takes the nodes `spokes-0` and `spokes-1`.
fn check_array(argument: &Argument, length: usize, graph: &Graph, diag: &mut Diag) {
    let kind = |name: &str| graph.members.iter().find(|member| member.name == name).map(|member| member.kind);
    let name = |number: usize| format!("{}-{number}", argument.host);
    let is_missing = |number: &usize| matches!(kind(&name(*number)), None | Some(Kind::Switch));
    // Before the names of a billion nodes are made: more than are declared cannot all be there.
    let Some(first) = (0..length.min(graph.members.len() + 1)).find(is_missing) else { return };
    let (missing, ident) = (name(first), &argument.ident);
    let message = match (kind(&missing), first) {
        (Some(_), _) => format!("`{missing}` is a switch, and no node: rename it"),
        (None, 0) => format!(
            "there is no node `{missing}`: a graph names its nodes one by one, as in `nodes({ident}_0, {ident}_1)`, and \
             `{ident}: [Node; 2]` takes these"
        ),
        (None, _) => {
            format!(
                "there is no node `{missing}`: declare it, as in `nodes({ident}_{first})`, or write `[Node; {first}]`"
            )
        }
    };
    diag.on(ident, message);
}

/// The nodes of a `Topology` value that the keys name. Whether they are there is known when the test runs.
pub(crate) fn named(args: &Args, diag: &mut Diag) -> Option<Vec<Host>> {
    let mut names: Vec<String> = Vec::new();
    for aliases in &args.aliases {
        match aliases.owner() {
            Ok(node) => names.push(host_name(node)),
            Err(place) => {
                let message = "a `Topology` value has nodes of its own: say whose names these are, as in \
                               `aliases(server = [\"relay.test\"])`";
                diag.at(place, message);
                return None;
            }
        }
    }
    names.extend(args.run_in.iter().chain(&args.dns).map(|node| host_name(&node.value)));
    names.sort();
    names.dedup();
    Some(names.into_iter().map(Host::declared).collect())
}

/// Whether keys and arguments that need a graph are there without one.
pub(crate) fn check_absent(args: &Args, arguments: &[Argument], diag: &mut Diag) {
    for key in &args.graph.more {
        let message = match args.value {
            Some(_) => {
                format!("the `Topology` value says that itself: call `.{key}(..)` on it, and remove `{key}`")
            }
            None => format!("`{key}` goes with a graph, `nodes(..)` and `links(..)`: remove it"),
        };
        diag.on(key, message);
    }
    if args.value.is_some() {
        let only_one = "the `Topology` value has its own";
        if let Some(nodes) = args.nodes {
            diag.at(nodes.span, format!("{only_one} nodes: remove `nodes`"));
        }
        if let Some(family) = args.family_span {
            diag.at(family, format!("{only_one} family: call `.family(..)` on it, and remove `family`"));
        }
        return;
    }
    for argument in arguments.iter().filter(|argument| is_named(&argument.ty, "Router")) {
        let ident = &argument.ident;
        let message = format!("no router is declared: write `routers({ident})`, and its `links(..)`");
        diag.at(argument.ty.span(), message);
    }
}
