//! 21 echo tests.

use netns_test::{Node, netns_test};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

macro_rules! suite {
    ($($name:ident)*) => {$(
        #[netns_test(nodes = 2)]
        async fn $name(client: Node, server: Node) -> std::io::Result<()> {
            let listener = server.listen_tcp(7).await?;
            let mut out = client.connect_tcp("server:7").await?;
            let (mut inside, _) = listener.accept().await?;
            let mut buffer = [0; 2];
            out.write_all(b"hi").await?;
            inside.read_exact(&mut buffer).await?;
            inside.write_all(&buffer).await?;
            out.read_exact(&mut buffer).await?;
            assert_eq!(&buffer, b"hi");
            Ok(())
        }
    )*};
}

suite!(t01 t02 t03 t04 t05 t06 t07 t08 t09 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19 t20 t21);
