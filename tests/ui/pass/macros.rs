//! Tests written by a `macro_rules!` macro: what it passes through arrives in invisible groups.

use netns_test::{Node, netns_test};

macro_rules! tests {
    ($($name:ident: $count:literal of $node:ty, $argument:ident, $shape:ident, $timeout:literal;)*) => { $(
        #[netns_test(nodes = $count, topology = $shape, timeout = $timeout, run_in = $argument)]
        fn $name($argument: $node, rest: [Node; 2]) {
            assert_eq!($argument.name(), stringify!($argument));
            assert_eq!(rest.len() + 1, $count);
        }
    )* };
}

tests! {
    star: 3 of Node, hub, star, 10s;
    ring: 3 of netns_test::Node, first, ring, 2min;
}

macro_rules! counted {
    ($name:ident, $count:expr) => {
        #[netns_test]
        fn $name(nodes: [Node; $count]) {
            assert_eq!(nodes.len(), $count);
        }
    };
}

counted!(by_expression, 2);
