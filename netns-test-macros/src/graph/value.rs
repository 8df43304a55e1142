//! A graph as the expression that makes it again at run time.

use netns_test_model::graph::{Addresses, Graph, Kind, Member, OwnAddress, Routes, Wire};
use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::{conditions, routers};

/// The graph as a value that the run time builds.
pub(crate) fn value(graph: &Graph, family: &Ident, private: &TokenStream) -> TokenStream {
    let members = graph.members.iter().map(|Member { name, kind }| match kind {
        Kind::Node => quote!(topology.node(#name);),
        Kind::Router => {
            let options = graph.routers.iter().find(|options| options.member == *name);
            let options = options.map(|options| routers::value(options, private));
            quote!(topology.router(#name) #options;)
        }
        Kind::Switch => quote!(topology.switch(#name);),
    });
    let links = graph.links.iter().map(|link| {
        let [left, right] = link.ends.each_ref().map(ToString::to_string);
        let mtu = link.mtu.map(|mtu| quote!(.mtu(#mtu)));
        let vlan = link.vlan.map(|vlan| quote!(.vlan(#vlan)));
        let prefixes = &link.prefixes;
        let addresses =
            link.addresses.iter().map(|OwnAddress { member, address }| quote!(.address(#member, #address)));
        let marked = link.private.then(|| quote!(.private()));
        let conditions =
            conditions::value(&link.conditions, private).map(|value| quote!(.conditions(#value)));
        let wire = link.wire.map(|wire| wire_value(wire, private)).map(|wire| quote!(.wire(#wire)));
        quote!(topology.link(#left, #right) #mtu #vlan #(.prefix(#prefixes))* #(#addresses)* #marked #conditions #wire;)
    });
    let directions = graph.directions.iter().map(|direction| {
        let [from, to] = direction.ends.each_ref().map(ToString::to_string);
        let conditions = conditions::value(&direction.conditions, private);
        quote!(topology.direction(#from, #to, #conditions);)
    });
    let wire = graph.wire.map(|wire| wire_value(wire, private)).map(|wire| quote!(topology.wire(#wire);));
    let seed = graph.seed.map(|seed| quote!(topology.seed(#seed);));
    let routes = match graph.routes {
        Routes::Connected => quote!(topology.routes(#private::Routes::Connected);),
        Routes::None => quote!(topology.routes(#private::Routes::None);),
        _ => quote!(),
    };
    let addresses = match graph.addresses {
        Addresses::None => quote!(topology.addresses(#private::Addresses::None);),
        _ => quote!(),
    };
    quote! {
        let mut topology = #private::Topology::new();
        topology.family(#private::Family::#family);
        #(#members)*
        #(#links)*
        #(#directions)*
        #wire
        #seed
        #routes
        #addresses
        topology
    }
}

fn wire_value(wire: Wire, private: &TokenStream) -> TokenStream {
    match wire {
        Wire::Kernel => quote!(#private::Wire::Kernel),
        _ => quote!(#private::Wire::User),
    }
}
