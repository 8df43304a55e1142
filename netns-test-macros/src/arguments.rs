//! The arguments of the function, and the nodes that they declare.

use netns_test_model::host_name;
use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::{Attribute, Error, Expr, FieldsNamed, FnArg, Lit, Pat, Result, Signature, Type};

use crate::diag::Diag;
use crate::function::{bare, bare_expr, is_named};

/// An argument of the function.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    /// The host name, or for an array the part before the number.
    pub(crate) host: String,
    pub(crate) ty: Type,
    pub(crate) cfgs: Vec<Attribute>,
    /// The nodes that it declares: one, the length of an array, or none.
    pub(crate) nodes: Nodes,
}

/// The nodes that one argument declares.
#[derive(Clone, Copy)]
pub(crate) enum Nodes {
    None,
    One,
    Array(usize),
}

impl Argument {
    fn new(ident: Ident, ty: Type, attrs: &[Attribute], nodes: Nodes) -> Self {
        let cfgs = attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
        Self { host: host_name(&ident.unraw().to_string()), ident, ty, cfgs, nodes }
    }

    /// Whether its type is the user's own, which may declare a network itself.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.nodes, Nodes::None) && !INJECTED.iter().any(|name| is_named(&self.ty, name))
    }
}

/// The types that this crate injects.
pub(crate) const INJECTED: [&str; 5] = ["Node", "Network", "Router", "Cluster", "Pod"];

/// The fields of a structure, as arguments, and whether that is all of them.
pub(crate) fn fields(fields: &FieldsNamed, diag: &mut Diag) -> (Vec<Argument>, bool) {
    let mut arguments = Vec::new();
    for field in &fields.named {
        if let (Some(ident), Some(nodes)) = (field.ident.clone(), diag.take(declared(&field.ty))) {
            arguments.push(Argument::new(ident, field.ty.clone(), &field.attrs, nodes));
        }
    }
    let whole = arguments.len() == fields.named.len();
    (arguments, whole)
}

/// The arguments, and whether that is all of them.
pub(crate) fn arguments(sig: &Signature, diag: &mut Diag) -> (Vec<Argument>, bool) {
    let mut arguments = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                diag.on(receiver, "a test is a function of its own, outside any `impl`: remove `self`")
            }
            FnArg::Typed(input) => {
                let ident = diag.take(name(&input.pat, &input.ty));
                let nodes = diag.take(declared(&input.ty));
                if let (Some(ident), Some(nodes)) = (ident, nodes) {
                    arguments.push(Argument::new(ident, (*input.ty).clone(), &input.attrs, nodes));
                }
            }
        }
    }
    let whole = arguments.len() == sig.inputs.len();
    (arguments, whole)
}

/// The name of an argument.
fn name(pat: &Pat, ty: &Type) -> Result<Ident> {
    let what = if is_named(ty, "Node") { "its name is its host name" } else { "it is injected whole" };
    let message = match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => return Ok(pat.ident.clone()),
        Pat::Ident(pat) => format!("an argument is a plain name here: write `{}`", pat.ident),
        Pat::Wild(_) => format!("an argument needs a name here, for {what}: write `_name`"),
        _ => format!("an argument is a plain name here, for {what}: take it apart in the body"),
    };
    Err(Error::new_spanned(pat, message))
}

/// How many nodes an argument of this type declares.
fn declared(ty: &Type) -> Result<Nodes> {
    match bare(ty) {
        Type::Array(array) if is_named(&array.elem, "Node") => {
            let length = match bare_expr(&array.len) {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Int(length) => Some(length),
                    _ => None,
                },
                _ => None,
            };
            let Some(length) = length else {
                return Err(Error::new_spanned(
                    &array.len,
                    "write the length as a number, as in `[Node; 3]`: the attribute makes so many nodes, and cannot read names",
                ));
            };
            match length.base10_parse() {
                Ok(0) => Err(Error::new(
                    length.span(),
                    "an array of no nodes: write 1 or more, or remove the argument",
                )),
                Ok(length) => Ok(Nodes::Array(length)),
                Err(_) => Err(Error::new(length.span(), format!("`{length}` is too large a number"))),
            }
        }
        Type::Reference(reference) if is_named(&reference.elem, "Node") => Err(Error::new_spanned(
            ty,
            "a node is handed over by value: write `Node`, and `&` where it is used",
        )),
        Type::ImplTrait(_) => Err(Error::new_spanned(ty, "a test cannot be generic: write the type itself")),
        ty if is_named(ty, "Node") => Ok(Nodes::One),
        _ => Ok(Nodes::None),
    }
}
