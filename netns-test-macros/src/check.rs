//! Function and keys to a test that can be expanded: what the attribute promises is checked here, all of it at once.

use std::time::Duration;

use netns_test_model::graph::Graph;
use netns_test_model::kubernetes::Kubernetes;
use netns_test_model::{Capture, Family, Shape};
use proc_macro2::{Group, Ident, Span, TokenStream};
use syn::{Attribute, LitStr, Path, Result, Signature, Type, Visibility};

use crate::aliases;
use crate::args::{Args, Flavor};
use crate::arguments::{Argument, Nodes, arguments};
use crate::attributes::{ShouldPanic, attributes};
use crate::diag::Diag;
use crate::function::{Function, is_named};
use crate::graph;
use crate::hosts::{Host, find, hosts, names};
use crate::kubernetes;

/// All that the expansion needs to know.
pub(crate) struct Test {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) network: Network,
    pub(crate) timeout: Option<Duration>,
    pub(crate) run_in: Option<String>,
    pub(crate) runtime: Runtime,
    pub(crate) require: Vec<Ident>,
    pub(crate) fails: Option<LitStr>,
    pub(crate) capture: Option<Capture>,
    pub(crate) should_panic: ShouldPanic,
    pub(crate) ignored: bool,
    pub(crate) krate: Option<Path>,
}

/// The network that is declared.
pub(crate) struct Network {
    pub(crate) hosts: Vec<Host>,
    pub(crate) shape: Shape,
    pub(crate) family: Family,
    /// The graph that the nodes are in, instead of a shape.
    pub(crate) graph: Option<Graph>,
    /// The cluster that they are, instead of both.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// The expression that makes the network, instead of all of them.
    pub(crate) value: Option<TokenStream>,
    /// The arguments whose types may declare the network, instead of all: nothing else does.
    pub(crate) declaring: Vec<Type>,
    /// Each with the index of its node in `hosts`.
    pub(crate) aliases: Vec<(usize, String)>,
    pub(crate) dns: Option<String>,
}

pub(crate) enum Runtime {
    CurrentThread,
    MultiThread { workers: Option<usize> },
}

/// What a program's `main` cannot be.
pub(crate) fn program(args: &Args, function: &Function, diag: &mut Diag) {
    if function.sig.ident != "main" {
        let message = "`#[netns_test::main]` goes on `fn main`; a test is `#[netns_test]`";
        diag.on(&function.sig.ident, message);
    }
    for (key, span) in args.keys.iter().filter(|(key, _)| ["fails", "matrix"].contains(&key.as_str())) {
        diag.at(*span, format!("`{key}` is about a test, and this is a program: remove it"));
    }
    for attr in &function.attrs {
        if ["should_panic", "ignore"].iter().any(|name| attr.path().is_ident(name)) {
            diag.on(attr, "it is about a test, and this is a program: remove it");
        }
    }
}

/// The test that the function and the keys describe, or every mistake in them.
pub(crate) fn check(args: Args, function: &Function, mut diag: Diag) -> Result<Test> {
    if let Some(semicolon) = function.bodiless {
        diag.at(semicolon, "a test needs a body: write `{ .. }` for `;`");
    }
    signature(&function.sig, &mut diag);
    let attributes = attributes(&function.attrs, &mut diag);
    let (arguments, whole) = arguments(&function.sig, &mut diag);
    let declaring = declaring(&args, &arguments);
    let (network, run_in) =
        network(&args, &arguments, whole, declaring, function.sig.ident.span(), &mut diag);
    if network.kubernetes.is_none() && network.value.is_none() && network.declaring.is_empty() {
        kubernetes::check_absent(&arguments, &mut diag);
    }
    let runtime = runtime(&args, &mut diag);
    diag.finish(Test {
        attrs: attributes.kept,
        vis: function.vis.clone(),
        sig: function.sig.clone(),
        body: function.body.clone(),
        arguments,
        network,
        timeout: args.timeout,
        run_in,
        runtime,
        require: args.require,
        fails: args.fails,
        capture: args.capture,
        should_panic: attributes.should_panic,
        ignored: attributes.ignored,
        krate: args.krate,
    })
}

/// What a test cannot have in a target without libtest: attributes that make a `#[test]` of it later.
pub(crate) fn trial(function: &Function, diag: &mut Diag) {
    for attr in attributes(&function.attrs, &mut Diag::default()).kept {
        if attr.path().segments.last().is_some_and(|last| last.ident == "test") {
            diag.on(
                attr,
                "in a target with `harness = false` rustc would drop the test: write this attribute above `#[netns_test]`",
            );
        }
    }
}

/// The arguments whose types may declare the network: where the keys do not, and no argument is a node of one.
fn declaring(args: &Args, arguments: &[Argument]) -> Vec<Type> {
    let is_said = args.nodes.is_some()
        || args.nodes_unread
        || args.topology_span.is_some()
        || args.graph.is_there()
        || args.kubernetes.is_some()
        || args.family_span.is_some()
        || arguments
            .iter()
            .any(|argument| !matches!(argument.nodes, Nodes::None) || is_named(&argument.ty, "Router"));
    match is_said {
        true => Vec::new(),
        false => arguments
            .iter()
            .filter(|argument| argument.is_own())
            .map(|argument| argument.ty.clone())
            .collect(),
    }
}

/// The network that keys and arguments (or fields) declare, and the host name of the node that the body runs in.
pub(crate) fn network(
    args: &Args,
    arguments: &[Argument],
    whole: bool,
    declaring: Vec<Type>,
    name: Span,
    diag: &mut Diag,
) -> (Network, Option<String>) {
    let shape = args.topology.map_or(Shape::Star, |topology| topology.value);
    let family = args.family.unwrap_or(Family::Dual);
    let hosts = if let Some(declared) = &args.kubernetes {
        kubernetes::check(args, declared, arguments, family, diag)
    } else if args.graph.is_there() {
        graph::check(args, arguments, family, diag)
    } else if args.value.is_some() || !declaring.is_empty() {
        graph::named(args, diag)
    } else if whole && !args.nodes_unread {
        hosts(args, arguments, shape, family, name, diag)
    } else {
        // What could not be read is reported; what could still has names to check, but makes no network.
        names(arguments, diag);
        None
    };
    let run_in = match (&args.run_in, &hosts) {
        (Some(run_in), Some(hosts)) => find(run_in, |name| format!("run_in = {name}"), hosts, diag),
        _ => None,
    };
    let aliases = aliases::check(args, hosts.as_deref(), diag);
    let dns = match (&args.dns, &hosts) {
        (Some(dns), Some(hosts)) => find(dns, |name| format!("dns = {name}"), hosts, diag),
        _ => None,
    };
    if !args.graph.is_there() && args.kubernetes.is_none() {
        graph::check_absent(args, arguments, diag);
    }
    let network = Network {
        hosts: hosts.unwrap_or_default(),
        shape,
        family,
        graph: args.graph.is_there().then(|| args.graph.graph.clone()),
        kubernetes: args.kubernetes.as_ref().map(|declared| declared.kubernetes.clone()),
        value: args.value.clone(),
        declaring,
        aliases,
        dns,
    };
    (network, run_in)
}

/// What a test function cannot be.
fn signature(sig: &Signature, diag: &mut Diag) {
    if let Some(constness) = &sig.constness {
        diag.on(constness, "a test cannot be `const`: remove it");
    }
    if let Some(unsafety) = &sig.unsafety {
        diag.on(
            unsafety,
            "a test cannot be `unsafe`: remove it, and write an `unsafe` block where it is needed",
        );
    }
    if let Some(abi) = &sig.abi {
        diag.on(abi, "a test cannot be `extern`: remove it");
    }
    if !sig.generics.params.is_empty() {
        diag.on(
            &sig.generics.params,
            "a test cannot be generic: nothing says what to put here; write the types themselves",
        );
    }
    if let Some(variadic) = &sig.variadic {
        diag.on(variadic, "a test cannot be variadic: remove `...`");
    }
}

fn runtime(args: &Args, diag: &mut Diag) -> Runtime {
    match (args.flavor.map(|flavor| flavor.value), args.worker_threads) {
        (Some(Flavor::MultiThread), workers) => {
            Runtime::MultiThread { workers: workers.map(|workers| workers.value) }
        }
        (_, Some(workers)) => {
            diag.at(
                workers.span,
                "`worker_threads` requires the `multi_thread` flavor: write `flavor = \"multi_thread\"`",
            );
            Runtime::CurrentThread
        }
        (_, None) => Runtime::CurrentThread,
    }
}
