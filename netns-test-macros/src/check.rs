//! Function and keys to a test that can be expanded: what the attribute promises is checked here, all of it at once.

use std::time::Duration;

use netns_test_model::graph::Graph;
use netns_test_model::{Family, Shape};
use proc_macro2::{Group, Ident, TokenStream};
use syn::{Attribute, Path, Result, Signature, Visibility};

use crate::aliases;
use crate::args::{Args, Flavor};
use crate::arguments::{Argument, arguments};
use crate::attributes::{ShouldPanic, attributes};
use crate::diag::Diag;
use crate::function::Function;
use crate::graph;
use crate::hosts::{Host, find, hosts, names};

/// All that the expansion needs to know.
pub(crate) struct Test {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) shape: Shape,
    pub(crate) family: Family,
    /// The graph that the nodes are in, instead of a shape.
    pub(crate) graph: Option<Graph>,
    /// The expression that makes the network, instead of both.
    pub(crate) value: Option<TokenStream>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) run_in: Option<String>,
    /// Each with the index of its node in `hosts`.
    pub(crate) aliases: Vec<(usize, String)>,
    pub(crate) dns: Option<String>,
    pub(crate) runtime: Runtime,
    pub(crate) require: Vec<Ident>,
    pub(crate) should_panic: ShouldPanic,
    pub(crate) ignored: bool,
    pub(crate) krate: Option<Path>,
}

pub(crate) enum Runtime {
    CurrentThread,
    MultiThread { workers: Option<usize> },
}

/// The test that the function and the keys describe, or every mistake in them.
pub(crate) fn check(args: Args, function: &Function, mut diag: Diag) -> Result<Test> {
    if let Some(semicolon) = function.bodiless {
        diag.at(semicolon, "a test needs a body: write `{ .. }` for `;`");
    }
    signature(&function.sig, &mut diag);
    let attributes = attributes(&function.attrs, &mut diag);
    let (arguments, whole) = arguments(&function.sig, &mut diag);
    let shape = args.topology.map_or(Shape::Star, |topology| topology.value);
    let family = args.family.unwrap_or(Family::Dual);
    let hosts = if args.graph.is_there() {
        graph::check(&args, &arguments, family, &mut diag)
    } else if args.value.is_some() {
        graph::named(&args, &mut diag)
    } else if whole && !args.nodes_unread {
        hosts(&args, &arguments, shape, family, &function.sig, &mut diag)
    } else {
        // What could not be read is reported; what could still has names to check, but makes no network.
        names(&arguments, &mut diag);
        None
    };
    let run_in = match (&args.run_in, &hosts) {
        (Some(run_in), Some(hosts)) => find(run_in, |name| format!("run_in = {name}"), hosts, &mut diag),
        _ => None,
    };
    let aliases = aliases::check(&args, hosts.as_deref(), &mut diag);
    let dns = match (&args.dns, &hosts) {
        (Some(dns), Some(hosts)) => find(dns, |name| format!("dns = {name}"), hosts, &mut diag),
        _ => None,
    };
    if !args.graph.is_there() {
        graph::check_absent(&args, &arguments, &mut diag);
    }
    let runtime = runtime(&args, &mut diag);
    let graph = args.graph.is_there().then_some(args.graph.graph);
    diag.finish(Test {
        attrs: attributes.kept,
        vis: function.vis.clone(),
        sig: function.sig.clone(),
        body: function.body.clone(),
        arguments,
        hosts: hosts.unwrap_or_default(),
        shape,
        family,
        graph,
        value: args.value,
        timeout: args.timeout,
        run_in,
        aliases,
        dns,
        runtime,
        require: args.require,
        should_panic: attributes.should_panic,
        ignored: attributes.ignored,
        krate: args.krate,
    })
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
