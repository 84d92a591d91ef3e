//! The pipeline as it is in production: the real binary, a Kafka broker, an S3 server. Aborted transactions, a topic that
//! is deleted and made anew, two processes.

use std::time::Instant;

use rdkafka::producer::Producer;

use super::home::{Home, PATIENCE, create, delete, producer, send, service, truncate};

fn s3() -> String {
    format!(
        "warehouse = 's3://{}/ingest-{}'\n[s3]\nendpoint = '{}'\nallow_http = true\naccess_key_id = '{}'\n\
         secret_access_key = '{}'",
        service("LAKEGATE_TEST_S3_BUCKET"),
        uuid::Uuid::new_v4().simple(),
        service("LAKEGATE_TEST_S3_ENDPOINT"),
        service("LAKEGATE_TEST_S3_ACCESS_KEY"),
        service("LAKEGATE_TEST_S3_SECRET_KEY"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_transactions_is_in_a_table_on_s3_once() {
    let home = Home::new(1, &s3()).await;
    let topic = home.topics[0].clone();
    let transactions = producer(Some(&topic));
    transactions.init_transactions(PATIENCE).unwrap();
    let process = home.ingest(None);
    let second = home.ingest(None);
    let begin = Instant::now();
    let mut sent = 0;
    for round in 0..10 {
        transactions.begin_transaction().unwrap();
        let ids = round * 1_000..round * 1_000 + 1_000;
        send(&transactions, &topic, ids).await;
        match round % 3 {
            1 => transactions.abort_transaction(PATIENCE).unwrap(),
            _ => {
                transactions.commit_transaction(PATIENCE).unwrap();
                sent += 1_000;
            }
        }
    }
    let end = send(&producer(None), &topic, 20_000..20_003).await;
    home.reached(&topic, &end).await;
    let took = begin.elapsed();
    let (lost, doubled, records) = home.compare(&topic).await;
    println!("real: {records} records to S3 in {:.1} s, lost {lost}, doubled {doubled}", took.as_secs_f32());
    assert_eq!((lost, doubled, records), (0, 0, sent + 3));
    home.assert_chain(&topic).await;
    let status = home.run(&["ingest", "status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains(&format!("p0 → sales.{topic}: streaming")) && said.contains("lag      0 records"), "{said}");
    assert!(status.status.success(), "{said}");
    assert!(process.terminate().success() && second.terminate().success());
    let said = String::from_utf8_lossy(&home.run(&["ingest", "status"]).stdout).into_owned();
    assert!(said.contains(": not running"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_stops_its_pipeline_and_no_other() {
    let home = Home::new(2, "warehouse = 'file://@DIR@/warehouse'").await;
    let (victim, other, producer) = (home.topics[0].clone(), home.topics[1].clone(), producer(None));
    let process = home.ingest(None);
    for topic in [&victim, &other] {
        let end = send(&producer, topic, 0..100).await;
        home.reached(topic, &end).await;
    }
    delete(&victim).await;
    create(&victim).await;
    let fresh = super::home::producer(None);
    // As long as before and longer: only the records themselves tell.
    send(&fresh, &victim, 1_000..1_200).await;
    let begin = Instant::now();
    let said = loop {
        let said = String::from_utf8_lossy(&home.run(&["ingest", "status"]).stdout).into_owned();
        if said.contains("needs resync") {
            break said;
        }
        assert!(begin.elapsed() < PATIENCE, "{said}\n{}", home.log());
        tokio::task::yield_now().await;
    };
    assert!(said.contains(&format!("topic \"{victim}\" was made anew")), "{said}");
    assert!(said.contains("lakegate ingest resume p0"), "{said}");
    let end = send(&producer, &other, 100..200).await;
    home.reached(&other, &end).await;
    assert_eq!(home.compare(&other).await, (0, 0, 200));
    process.terminate();

    // A person decides, and it goes on, though it was told to rest before.
    assert!(home.run(&["ingest", "pause", "p0"]).status.success());
    let resumed = home.run(&["ingest", "resume", "p0", "--from", "earliest"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let process = home.ingest(None);
    let end = send(&fresh, &victim, 1_200..1_203).await;
    home.reached(&victim, &end).await;
    let (lost, doubled, records) = home.compare(&victim).await;
    assert_eq!((lost, doubled, records), (0, 100, 203), "the rows of the topic before stay");
    assert!(process.terminate().success());
}

/// The record at the position cannot tell: a marker of a transaction stands there in the new topic.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_told_from_the_one_before_where_no_record_can_tell() {
    let home = Home::new(1, "warehouse = 'file://@DIR@/warehouse'").await;
    let topic = home.topics[0].clone();
    let process = home.ingest(None);
    let end = send(&producer(None), &topic, 0..90).await;
    home.reached(&topic, &end).await;
    assert!(process.terminate().success());
    delete(&topic).await;
    create(&topic).await;
    // One record less in each partition, then the marker, then more than before.
    let transactions = producer(Some(&topic));
    transactions.init_transactions(PATIENCE).unwrap();
    transactions.begin_transaction().unwrap();
    send(&transactions, &topic, 1_000..1_087).await;
    transactions.commit_transaction(PATIENCE).unwrap();
    send(&producer(None), &topic, 2_000..2_100).await;
    let process = home.ingest(None);
    let begin = Instant::now();
    let said = loop {
        let said = String::from_utf8_lossy(&home.run(&["ingest", "status"]).stdout).into_owned();
        if said.contains("needs resync") {
            break said;
        }
        assert!(begin.elapsed() < PATIENCE, "{said}\n{}", home.log());
        tokio::task::yield_now().await;
    };
    assert!(said.contains(&format!("topic \"{topic}\" was made anew: it is not the one")), "{said}");
    let ids = super::world::rows(&home.lake().await, "sales", &topic, "id").await;
    let new = ids.iter().filter(|id| id.parse::<i64>().is_ok_and(|id| id >= 1_000)).count();
    assert_eq!(new, 0, "rows of the new topic are in the table");
    assert!(process.terminate().success());
}

/// Of the same name, with the same offsets: an answer about the one is none about the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_another_one_to_whoever_keeps_answers() {
    use lakegate::sources::Source;
    use lakegate::types::Version;
    let topic = format!("anew_{}", uuid::Uuid::new_v4().simple());
    let text = format!(
        "brokers = \"{}\"\nschema = \"stream\"\n[topics.{topic}]\ncolumns = [{{ name = \"id\", type = \"int8\" }}]",
        super::home::brokers()
    );
    let source = lakegate::sources::kafka::Kafka::new("events", toml::from_str(&text).unwrap()).unwrap();
    create(&topic).await;
    send(&producer(None), &topic, 0..30).await;
    let table = source.tables().await.unwrap().remove(0);
    let pinned = async || match table.pin().await.unwrap().version {
        Version::Offsets { topic_id, spans } => (topic_id, spans),
        other => panic!("{other:?}"),
    };
    let before = pinned().await;
    assert_eq!(pinned().await, before, "nothing came");
    delete(&topic).await;
    create(&topic).await;
    send(&super::home::producer(None), &topic, 100..130).await;
    let begin = Instant::now();
    let after = loop {
        // The brokers may still tell of the old one for a moment.
        let after = pinned().await;
        if after.1 == before.1 && after.0 != before.0 {
            break after;
        }
        assert!(begin.elapsed() < PATIENCE, "{before:?} {after:?}");
        tokio::task::yield_now().await;
    };
    assert_ne!(after, before);
    delete(&topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_may_take_what_is_in_the_table_and_nothing_more() {
    let home = Home::new(1, "warehouse = 'file://@DIR@/warehouse'").await;
    let (topic, producer) = (home.topics[0].clone(), producer(None));
    let process = home.ingest(None);
    let end = send(&producer, &topic, 0..90).await;
    home.reached(&topic, &end).await;
    assert!(process.terminate().success());
    truncate(&topic, &end).await;
    let process = home.ingest(None);
    let end = send(&producer, &topic, 90..120).await;
    home.reached(&topic, &end).await;
    assert!(process.terminate().success());
    let end = send(&producer, &topic, 120..150).await;
    truncate(&topic, &end).await;
    let process = home.ingest(None);
    let begin = Instant::now();
    let said = loop {
        let said = String::from_utf8_lossy(&home.run(&["ingest", "status"]).stdout).into_owned();
        if said.contains("needs resync") {
            break said;
        }
        assert!(begin.elapsed() < PATIENCE, "{said}\n{}", home.log());
        tokio::task::yield_now().await;
    };
    assert!(said.contains("partition 0: records from offset 40 to 50 are gone"), "{said}");
    assert!(process.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipeline_is_refused_by_every_command_with_its_place() {
    let home = Home::new(1, "warehouse = 'file://@DIR@/warehouse'").await;
    let sound = home.run(&["check"]);
    let said = String::from_utf8_lossy(&sound.stdout).into_owned();
    assert!(sound.status.success() && said.contains("1 pipelines"), "{said}{sound:?}");
    let path = home.directory.path().join("catalog/pipelines/p0.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("age_ms", "age_mss").replace("stream", "strem")).unwrap();
    for command in [&["check"][..], &["serve"], &["ingest"], &["ingest", "status"]] {
        let refused = home.run(command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {said}");
        for fault in [
            "catalog/pipelines/p0.toml:1:1: there is no source `strem`; did you mean `stream`?",
            "catalog/pipelines/p0.toml:7:1: unknown key `age_mss` in [commit]; did you mean `age_ms`?",
        ] {
            assert!(said.contains(fault), "{command:?}: {said}");
        }
    }
}
