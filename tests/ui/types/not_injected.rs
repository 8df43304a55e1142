use netns_test::{Node, netns_test};

struct Database;

#[netns_test]
async fn own_type(client: Node, database: Database) { //~ ERROR `Database` cannot be an argument of a netns test
    drop((client, database));
}

#[netns_test]
fn list(nodes: Vec<Node>) { //~ ERROR `Vec<Node>` cannot be an argument of a netns test
    drop(nodes);
}
