//! Policy edits under running clients: prepared statements and portals (attack 25), half-written files (attack 49).

use super::{POLICY, World};
use crate::gateway::{EFFECT_MAX, PATIENCE, simple, told, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_right_ends_prepared_statements_within_a_second() {
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let rows = client.prepare("SELECT id, ssn FROM hr.emp WHERE id > $1 ORDER BY id").await.unwrap();
    assert_eq!(client.query(&rows, &[&0i32]).await.unwrap().len(), 4);
    client.batch_execute("PREPARE mine AS SELECT count(*) FROM hr.emp").await.unwrap();

    world.write_policy(&POLICY.replace("p, ann, hr.emp, select, allow\n", "p, ann, hr.emp, select, deny\n"));
    let took = until(&client, "SELECT count(*) FROM hr.emp", |a| a.starts_with("ERROR 42P01")).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    assert!(told(&client.query(&rows, &[&0i32]).await.unwrap_err()).starts_with("ERROR 42P01"));
    assert!(simple(&client, "EXECUTE mine").await.starts_with("ERROR 42P01"));

    world.write_policy(POLICY);
    let took = until(&client, "SELECT count(*) FROM hr.emp", |a| a.starts_with('4')).await;
    assert!(took < EFFECT_MAX, "{took:?}");
    assert_eq!(client.query(&rows, &[&0i32]).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_hidden_since_does_not_ride_along_in_a_prepared_statement() {
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let rows = client.prepare("SELECT id, name FROM hr.emp ORDER BY id").await.unwrap();
    assert_eq!(client.query(&rows, &[]).await.unwrap().len(), 4);
    world.write_policy(&format!("{POLICY}p, ann, hr.emp/name, select, deny\n"));
    until(&client, "SELECT name FROM hr.emp", |a| a.starts_with("ERROR 42501")).await;
    assert!(told(&client.query(&rows, &[]).await.unwrap_err()).starts_with("ERROR 42501"));
}

/// An open portal is judged anew at each fetch; an edit that leaves its grants alone ends nobody's result.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_portal_ends_when_its_grant_changes() {
    let world = World::A.start().await;
    let mut client = world.connect("ann").await;
    let watch = world.connect("ann").await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id, name FROM hr.emp ORDER BY id", &[]).await.unwrap();
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);

    let generation = world.server.engine.world().policies.generation();
    world.write_policy(&format!("{POLICY}# nothing of hers\n"));
    let begin = std::time::Instant::now();
    while world.server.engine.world().policies.generation() == generation {
        assert!(begin.elapsed() < PATIENCE, "no new generation");
        tokio::task::yield_now().await;
    }
    assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);

    world.write_policy(&format!("{POLICY}p, ann, hr.emp/name, select, deny\n"));
    until(&watch, "SELECT name FROM hr.emp", |a| a.starts_with("ERROR 42501")).await;
    let refused = told(&transaction.query_portal(&portal, 1).await.unwrap_err());
    assert!(refused.starts_with("ERROR 42501"), "{refused}");
    let after = told(&transaction.query("SELECT 1", &[]).await.unwrap_err());
    assert!(after.starts_with("ERROR 25P02"), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_file_keeps_the_old_policy() {
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let ask = "SELECT count(*), min(ssn) FROM hr.emp";
    let before = simple(&client, ask).await;
    for fault in [
        POLICY.replace("p, ann, hr.emp/confession, select, deny", "p, ann, hr.emp/confession, select, Deny"),
        POLICY.replace("p2, ann, hr.emp,", "p2, ann, hr.emmp,"),
        POLICY.replace("p3, ann, hr.emp, ssn, redact", "p3, ann, hr.emp, ssn, redcat"),
        POLICY[..POLICY.len() / 2].to_string(),
        "p, ann, *".to_string(),
    ] {
        let generation = world.server.engine.world().policies.generation();
        world.write_policy(&fault);
        // a change that does hold together follows: when it is in force, the faulty one has been looked at and refused
        world.write_policy(&format!("{POLICY}# {generation}\n"));
        let begin = std::time::Instant::now();
        while world.server.engine.world().policies.generation() == generation {
            assert!(begin.elapsed() < PATIENCE, "no new generation");
            assert_eq!(simple(&client, ask).await, before);
        }
        assert_eq!(simple(&client, ask).await, before);
    }
}

/// Every byte of the answer is judged while the file is torn, swapped and repaired under load.
#[tokio::test(flavor = "multi_thread")]
async fn torn_files_never_widen_a_right() {
    use rand::{Rng, SeedableRng};
    let seed: u64 = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("LAKEGATE_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    for _ in 0..300 {
        let at = random.random_range(0..POLICY.len());
        if POLICY.is_char_boundary(at) {
            // a cut between two lines is a valid, smaller policy: one before ann's first line gives her nothing
            let allows = POLICY.find("p, ann").unwrap();
            world.write_policy(&POLICY[..at.min(allows)]);
        }
        let answer = simple(&client, "SELECT id FROM hr.emp WHERE region = 'US'").await;
        assert!(answer == "(0)" || answer.starts_with("ERROR 42P01"), "{answer}");
        world.write_policy(POLICY);
    }
    until(&client, "SELECT count(*) FROM hr.emp", |a| a.starts_with('4')).await;
}
