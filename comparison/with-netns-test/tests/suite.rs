//! 21 echo tests.

use netns_test::{Node, netns_test};

macro_rules! suite {
    ($($name:ident)*) => {$(
        #[netns_test(nodes = 2)]
        async fn $name(client: Node, server: Node) -> std::io::Result<()> {
            with_netns_test::echo(&client, &server).await
        }
    )*};
}

suite!(t01 t02 t03 t04 t05 t06 t07 t08 t09 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19 t20 t21);
