//! PostgreSQL in a node, with data that lie in memory and end with the test.
//!
//! It refuses to run as root, so it runs without privileges: `cargo test` and `sudo cargo test` do the same.

use std::error::Error;
use std::path::{Path, PathBuf};

use netns_test::{Child, Node, Signal, netns_test};
use tokio_postgres::NoTls;

/// Debian keeps the programs of each version in a directory of its own, which is not in PATH.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    installed.max().unwrap_or_else(|| name.into())
}

/// Starts a fresh PostgreSQL in a node; it answers when this returns.
async fn postgres(server: &Node) -> Result<Child, Box<dyn Error>> {
    let directory = server.data_dir()?;
    let data = directory.join("postgres");
    let made = server
        .command(program("initdb"))
        .args(["--auth=trust", "--username=postgres", "--no-sync", "--no-locale", "--encoding=UTF8", "-D"])
        .arg(&data)
        .current_dir(&directory)
        .unprivileged()
        .status()
        .await?;
    assert!(made.success());
    server.write(data.join("pg_hba.conf"), "host all all all trust\n")?;
    server.write(data.join("postgresql.conf"), settings(&directory))?;
    let postgres = server.command(program("postgres")).arg("-D").arg(&data).unprivileged().spawn().await?;
    postgres.wait_line("ready to accept connections").await?;
    Ok(postgres)
}

/// What a test's data need: nothing to outlive it, not in the host's /dev/shm either.
fn settings(directory: &Path) -> String {
    format!(
        "listen_addresses = '*'\nunix_socket_directories = '{}'\n\
         dynamic_shared_memory_type = mmap\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
        directory.display()
    )
}

/// The program under test: it greets everybody that the database knows.
async fn greet(database: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE people (name text); INSERT INTO people VALUES ('Ada'), ('Grace')")
        .await?;
    let rows = client.query("SELECT 'hello, ' || name FROM people ORDER BY name", &[]).await?;
    let greetings = rows.iter().map(|row| row.get(0)).collect();
    drop(client);
    connection.await.expect("no panic")?;
    Ok(greetings)
}

#[netns_test(nodes = 2)]
async fn by_name(client: Node, server: Node) -> Result<(), Box<dyn Error>> {
    let postgres = postgres(&server).await?;

    let greetings = client.run(async || greet("host=server user=postgres").await).await?;
    assert_eq!(greetings, ["hello, Ada", "hello, Grace"]);

    // SIGINT is its fast end (postgres(1)).
    postgres.signal(Signal::INT)?;
    assert!(postgres.wait().await?.success());
    Ok(())
}
