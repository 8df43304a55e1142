use netns_test::netns_test;

#[netns_test(nodes(client), routers(r1), links(client -- r2, cleint -- r1, client -- client))]
async fn ends() {}

#[netns_test(nodes(a, b), links(a - b, a -> b, a ->, a b, a -- b -- a, a -- b c, -- b, a, a., a --))]
async fn not_written_so() {}

#[netns_test(nodes(a, b), switches(s), links(a.eth1 -- b, a.eth1 -- s.port1, a."a/b" -- b, a.sixteen_letters_ -- b, b.lo -- s))]
async fn interfaces() {}

fn main() {}
