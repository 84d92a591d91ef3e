//! Statements that change the same rows at once: each is done on what the others left, and none is lost.

use super::policy::world;
use crate::gateway::simple;

const CLIENTS: usize = 3;
const EACH: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_a_row_is_lost() {
    let gateway = world().await;
    let clients = async |_: usize| {
        let client = gateway.connect("root").await;
        let mut done = 0;
        for _ in 0..EACH {
            // one that was overtaken too often says so and has done nothing
            let told = simple(&client, "UPDATE h.emp SET pay = pay + 1 WHERE id = 3").await;
            assert!(told == "(1)" || told.starts_with("ERROR 40001"), "{told}");
            done += usize::from(told == "(1)");
        }
        done
    };
    let done: usize = futures::future::join_all((0..CLIENTS).map(clients)).await.into_iter().sum();
    assert!(done > EACH, "they were done again: {done}");
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT pay FROM h.emp WHERE id = 3").await, format!("{done}\n(1)"));
}
