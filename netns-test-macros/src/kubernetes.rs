//! A cluster in the attribute: `kubernetes(nodes = 2, pods(client = 0))`, judged by the model.

use netns_test_model::kubernetes::{Kubernetes, Place, PodOn};
use netns_test_model::{Family, host_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Lit, LitInt, LitStr, Result, Token, Type, parenthesized, token};

use crate::args::Args;
use crate::arguments::{Argument, Nodes};
use crate::diag::{Diag, unknown};
use crate::function::{bare, bare_expr, is_named};
use crate::hosts::Host;

/// What stands in the parentheses, and how it is written.
const KEYS: [(&str, &str); 5] = [
    ("nodes", "nodes = 2"),
    ("pods_per_node", "pods_per_node = 2"),
    ("pods", "pods(client = 0, server = 1)"),
    ("pod_cidr", "pod_cidr = \"10.244.0.0/16\""),
    ("service_cidr", "service_cidr = \"10.96.0.0/16\""),
];

/// A cluster, and where each part of it is written.
pub(crate) struct Declared {
    pub(crate) kubernetes: Kubernetes,
    key: Span,
    nodes: Option<Span>,
    pods_per_node: Option<Span>,
    /// The names of pods, and their nodes.
    pods: Vec<(Span, Span)>,
    pod_cidrs: Vec<Span>,
    service_cidrs: Vec<Span>,
    /// A part could not be read: who is there is not known.
    unread: bool,
}

/// What stands in the parentheses behind `key`; mistakes go to `diag`.
pub(crate) fn parse(key: &Ident, tokens: TokenStream, diag: &mut Diag) -> Declared {
    let mut declared = Declared {
        kubernetes: Kubernetes::new(1),
        key: key.span(),
        nodes: None,
        pods_per_node: None,
        pods: Vec::new(),
        pod_cidrs: Vec::new(),
        service_cidrs: Vec::new(),
        unread: false,
    };
    let mut seen = Vec::new();
    for part in crate::graph::parts(tokens, diag) {
        let result = (|input: ParseStream<'_>| declared.part(input, &mut seen)).parse2(part);
        declared.unread |= result.is_err();
        diag.take(result);
    }
    if !seen.iter().any(|key| key == "nodes") && !declared.unread {
        diag.at(declared.key, "how many nodes has the cluster? write `kubernetes(nodes = 2)`");
        declared.unread = true;
    }
    declared
}

impl Declared {
    fn part(&mut self, input: ParseStream<'_>, seen: &mut Vec<String>) -> Result<()> {
        let key = input
            .call(Ident::parse_any)
            .map_err(|error| Error::new(error.span(), "expected a key, as in `kubernetes(nodes = 2)`"))?;
        let name = key.unraw().to_string();
        let Some((_, example)) = KEYS.iter().find(|(known, _)| *known == name) else {
            return Err(Error::new(key.span(), unknown("key", &name, &KEYS.map(|(key, _)| key))));
        };
        if seen.contains(&name) {
            return Err(Error::new(key.span(), format!("`{name}` is written twice: remove one")));
        }
        seen.push(name.clone());
        if name == "pods" {
            if !input.peek(token::Paren) {
                return Err(Error::new(
                    key.span(),
                    format!("`pods` is written with parentheses: `{example}`"),
                ));
            }
            let content;
            parenthesized!(content in input);
            self.named(&content)?;
        } else {
            if !input.peek(Token![=]) {
                return Err(Error::new(
                    key.span(),
                    format!("expected `=` after `{name}`, as in `{example}`"),
                ));
            }
            input.parse::<Token![=]>()?;
            if input.is_empty() {
                return Err(Error::new(key.span(), format!("`{name}` needs a value, as in `{example}`")));
            }
            match name.as_str() {
                "nodes" => (self.kubernetes.nodes, self.nodes) = number(input, example)?,
                "pods_per_node" => {
                    (self.kubernetes.pods_per_node, self.pods_per_node) = number(input, example)?;
                }
                _ => {
                    let texts = crate::graph::texts(input, example)?;
                    let (cidrs, spans) = match name.as_str() {
                        "pod_cidr" => (&mut self.kubernetes.pod_cidrs, &mut self.pod_cidrs),
                        _ => (&mut self.kubernetes.service_cidrs, &mut self.service_cidrs),
                    };
                    *cidrs = texts.iter().map(LitStr::value).collect();
                    *spans = texts.iter().map(LitStr::span).collect();
                }
            }
        }
        if input.is_empty() { Ok(()) } else { Err(input.error("expected `,`")) }
    }

    /// `client = 0, server = 1`
    fn named(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            let name = input.call(Ident::parse_any).map_err(|error| {
                Error::new(error.span(), "expected a pod's name, as in `pods(client = 0)`")
            })?;
            if !input.peek(Token![=]) {
                let message = format!("say on which node `{name}` is: `{name} = 0` for the first");
                return Err(Error::new(name.span(), message));
            }
            input.parse::<Token![=]>()?;
            let (node, span) = number(input, &format!("{name} = 0"))?;
            self.kubernetes.pods.push(PodOn { name: host_name(&name.unraw().to_string()), node });
            self.pods.push((name.span(), span.unwrap_or_else(|| name.span())));
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn span(&self, place: Place) -> Span {
        match place {
            Place::Nodes => self.nodes.unwrap_or(self.key),
            Place::PodsPerNode => self.pods_per_node.unwrap_or(self.key),
            Place::Pod(pod) => self.pods[pod].0,
            Place::PodNode(pod) => self.pods[pod].1,
            // Where the usual range is too small, it is the pods that are too many.
            Place::PodCidr(cidr) => {
                self.pod_cidrs.get(cidr).copied().or(self.pods_per_node).or(self.nodes).unwrap_or(self.key)
            }
            Place::ServiceCidr(cidr) => self.service_cidrs.get(cidr).copied().unwrap_or(self.key),
        }
    }
}

fn number(input: ParseStream<'_>, example: &str) -> Result<(usize, Option<Span>)> {
    let expected = |span| Error::new(span, format!("expected a number, as in `{example}`"));
    let value: LitInt = input.parse().map_err(|error: Error| expected(error.span()))?;
    if !value.suffix().is_empty() {
        return Err(expected(value.span()));
    }
    match value.base10_parse() {
        Ok(number) => Ok((number, Some(value.span()))),
        Err(_) => Err(Error::new(value.span(), format!("`{value}` is too large a number"))),
    }
}

/// The hosts of a cluster, and whether arguments and keys go with it.
pub(crate) fn check(
    args: &Args,
    declared: &Declared,
    arguments: &[Argument],
    family: Family,
    diag: &mut Diag,
) -> Option<Vec<Host>> {
    let others =
        [args.nodes.map(|nodes| (nodes.span, "nodes")), args.topology_span.map(|span| (span, "topology"))];
    for (span, key) in others.into_iter().flatten() {
        diag.at(span, format!("a cluster has its own nodes, and wires them: remove `{key}`"));
    }
    args.graph.refuse("a cluster has its own nodes, and wires them", diag);
    if let Some(dns) = &args.dns {
        diag.at(dns.span, "a cluster has a name server of its own: remove `dns`");
    }
    if declared.unread {
        return None;
    }
    let kubernetes = &declared.kubernetes;
    for problem in kubernetes.resolve(family).err().unwrap_or_default() {
        diag.at(declared.span(problem.place), problem.message);
    }
    let mut hosts = kubernetes.hosts();
    let pods: Vec<String> = kubernetes.all_pods().into_iter().map(|pod| pod.name).collect();
    for argument in arguments {
        check_argument(argument, kubernetes, &hosts, &pods, diag);
    }
    hosts.extend(pods);
    Some(hosts.into_iter().map(Host::declared).collect())
}

fn check_argument(
    argument: &Argument,
    kubernetes: &Kubernetes,
    hosts: &[String],
    pods: &[String],
    diag: &mut Diag,
) {
    let (ident, host) = (&argument.ident, &argument.host);
    let is_pod = is_named(&argument.ty, "Pod");
    match argument.nodes {
        Nodes::Array(_) => {
            let message = "a cluster has its own nodes: take it as `Cluster`, and write `cluster.nodes()`";
            diag.on(&argument.ty, message);
        }
        _ if is_named(&argument.ty, "Router") => diag.on(
            &argument.ty,
            "a cluster has no routers: take a node as `Node`, or the whole as `Cluster`",
        ),
        Nodes::One if hosts.contains(host) || pods.contains(host) => {}
        Nodes::One => diag.on(
            ident,
            format!("there is no node `{host}`: a cluster has `node-0` and so on; a pod is declared, as in `pods({ident} = 0)`"),
        ),
        Nodes::None if is_pod && !pods.contains(host) => diag.on(ident, kubernetes.no_pod(host)),
        Nodes::None => {
            if let Some((count, length)) = array_of_pods(&argument.ty)
                && count != pods.len()
            {
                let declared = if pods.len() == 1 { "1 pod".to_owned() } else { format!("{} pods", pods.len()) };
                diag.at(length, format!("the cluster has {declared}: write `[Pod; {}]`", pods.len()));
            }
        }
    }
}

/// The length of a `[Pod; N]`, where it is written as a number.
fn array_of_pods(ty: &Type) -> Option<(usize, Span)> {
    let Type::Array(array) = bare(ty) else { return None };
    let Expr::Lit(literal) = bare_expr(&array.len) else { return None };
    let Lit::Int(length) = &literal.lit else { return None };
    let is_of_pods = is_named(&array.elem, "Pod");
    is_of_pods.then(|| length.base10_parse().ok()).flatten().map(|count| (count, array.len.span()))
}

/// What arguments of a cluster need one.
pub(crate) fn check_absent(arguments: &[Argument], diag: &mut Diag) {
    for Argument { ty, .. } in arguments {
        if is_named(ty, "Cluster") || is_named(ty, "Pod") || array_of_pods(ty).is_some() {
            diag.on(ty, "no cluster is declared: write `kubernetes(nodes = 2)` into the attribute");
        }
    }
}

/// The cluster as a value that the run time builds.
pub(crate) fn value(kubernetes: &Kubernetes, family: &Ident, private: &TokenStream) -> TokenStream {
    let Kubernetes { nodes, pods_per_node, pods, pod_cidrs, service_cidrs } = kubernetes;
    let pods = pods.iter().map(|PodOn { name, node }| quote!((#name, #node)));
    quote! {
        #private::kubernetes! {
            family: #private::Family::#family,
            nodes: #nodes,
            pods_per_node: #pods_per_node,
            pods: &[#(#pods),*],
            pod_cidrs: &[#(#pod_cidrs),*],
            service_cidrs: &[#(#service_cidrs),*],
        }
    }
}
