use netns_test::{Node, netns_test};

#[netns_test(matrix())]
fn empty() {}

#[netns_test(matrix = [v4, v6])]
fn no_parentheses() {}

#[netns_test(matrix(family = v4))]
fn no_list() {}

#[netns_test(matrix(family = []))]
fn empty_list() {}

#[netns_test(matrix(family))]
fn no_values() {}

#[netns_test(matrix(family = [v4, v4], family = [v6]))]
fn twice(_a: Node) {}

#[netns_test(matrix(family = [v4, v5]))]
fn bad_value(_a: Node) {}

#[netns_test(family = v6, matrix(family = [v4]))]
fn said_already(_a: Node) {}

#[netns_test(nodes(a), routers(r), links(a -- r), matrix(q.mtu = [1], (a -- q).mtu = [1400]))]
fn nobody() {}

#[netns_test(matrix(family = [v4, v6], fails(familly = v6), skip(family = v5), skip(family), skip()))]
fn rules(_a: Node) {}

#[netns_test(matrix(family = [v4, v6], skip(family = v4), skip(family = v6)))]
fn none_left(_a: Node) {}

#[netns_test(matrix(family = [v4]), matrix(nodes = [2]))]
fn two() {}

#[netns_test(fails)]
fn no_reason() {}

#[netns_test(fails = "")]
fn empty_reason() {}

fn main() {}
