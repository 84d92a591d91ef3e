//! Bodies as they are sent: which lines are rows, what is said of those that are not, and what a bound refuses.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::*;
use crate::error::Kind;
use crate::ingest::origin::{Kept, Place, Room, Taken, Wanted};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);

fn posts(settings: &str, replaces: bool) -> Posts {
    let columns = "columns = [{ name = 'id', type = 'int8' }, { name = 'text', type = 'text' }]\nkey_columns = ['id']";
    let lines = Lines::new("http/p", "t", toml::from_str(columns).unwrap()).unwrap();
    let config = toml::from_str(&format!("table = 't'\ncolumns = []\n{settings}")).unwrap();
    Posts::new("p", TableName::new("s", "t"), Arc::new(lines), config, replaces, DeadLetterCap::default())
}

fn post(posts: &Posts, key: Option<&str>, body: impl Into<Bytes>, waits: bool) -> Post {
    let body = body.into();
    Post {
        user: "ann".into(),
        key: key.map(str::to_string),
        room: posts.room(body.len()).unwrap(),
        body,
        until: waits.then(|| Instant::now() + PATIENCE),
        check: None,
    }
}

async fn begun(posts: &Posts, place: Option<Place>) -> Box<dyn Origin> {
    let mut origin = posts.origin();
    origin.begin(&Kept { tables: vec![place], checkpoint: None }).await.unwrap();
    origin
}

async fn read(origin: &mut dyn Origin) -> Taken {
    origin.read(Room { changes: 1_000, bytes: 1 << 20, wait: SECOND }).await.unwrap()
}

fn ids(rows: &RecordBatch) -> Vec<i64> {
    rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn answer(rows: u64, dead_letters: u64, committed: bool, again: bool) -> Answer {
    Answer { rows, dead_letters, committed, again }
}

#[tokio::test]
async fn rows_are_answered_for_when_their_commit_is_known_and_known_again_from_the_table() {
    let posts = posts("", false);
    let mut origin = begun(&posts, None).await;
    let body = "{\"id\": 1}\n\n  {\"id\": 2, \"text\": \"x\"}\r\n";
    let sent = tokio::spawn({
        let posts = posts.clone();
        async move { posts.take(post(&posts, Some("k"), body, true)).await }
    });
    let taken = loop {
        let taken = read(origin.as_mut()).await;
        if taken.records > 0 {
            break taken;
        }
    };
    assert_eq!((taken.records, ids(&taken.parts[0].changed.rows)), (2, vec![1, 2]));
    assert_eq!(taken.parts[0].positions.value(1), format!("{:019}", 1));
    assert_eq!(taken.parts[0].sources.value(0), "http/ann");
    assert!(!sent.is_finished(), "nothing is committed");
    let place = taken.place.unwrap();
    assert_eq!(origin.range(&place), "2");
    origin.acknowledge(&place).await.unwrap();
    assert_eq!(sent.await.unwrap().unwrap(), answer(2, 0, true, false));
    // In another process, which knows nothing but the table.
    let others = self::posts("", false);
    let mut origin = begun(&others, Some(place)).await;
    let again = others.take(post(&others, Some("k"), body, true)).await.unwrap();
    assert_eq!(again, answer(2, 0, true, true));
    let other = others.take(post(&others, Some("k"), "{\"id\": 3}", true)).await.unwrap_err();
    assert!(matches!(other, Refusal::KeyReused), "{other:?}");
    assert_eq!(read(origin.as_mut()).await.records, 0);
}

#[tokio::test]
async fn lines_that_are_no_rows_are_named_and_nothing_is_taken_in() {
    let posts = posts("", true);
    let mut origin = begun(&posts, None).await;
    let body = "{\"id\": 1}\n{\"id\": \"one\"}\n\nnonsense\n{\"text\": \"x\"}";
    let Err(Refusal::Lines { first, all }) = posts.take(post(&posts, None, body, true)).await else {
        panic!("bad lines");
    };
    let named: Vec<_> = first.iter().map(|bad| (bad.line, bad.field.as_deref())).collect();
    assert_eq!((named, all), (vec![(2, Some("id")), (4, None), (5, Some("id"))], 3));
    assert!(matches!(posts.take(post(&posts, None, " \n\n", true)).await, Err(Refusal::Empty)));
    assert_eq!(read(origin.as_mut()).await.records, 0);
}

#[tokio::test]
async fn bad_lines_may_be_set_aside_each_at_its_place() {
    let posts = posts("bad_lines = 'dead_letter'", true);
    let mut origin = begun(&posts, None).await;
    let body = "{\"id\": 1}\n{\"id\": \"one\"}\nnonsense\n{\"id\": 4}";
    let accepted = posts.take(post(&posts, Some("k"), body, false)).await.unwrap();
    assert_eq!(accepted, answer(2, 2, false, false));
    let taken = read(origin.as_mut()).await;
    assert_eq!(ids(&taken.parts[0].changed.rows), [1, 4]);
    let dead: Vec<_> = taken.dead.iter().map(|d| (d.offset, d.class, d.raw.as_slice())).collect();
    assert_eq!(dead, [(1, "misfit", &b"{\"id\": \"one\"}"[..]), (2, "malformed", &b"nonsense"[..])]);
}

#[tokio::test]
async fn one_body_does_not_set_aside_so_much_that_the_pipeline_pauses() {
    let posts = posts("bad_lines = 'dead_letter'", true);
    let _origin = begun(&posts, None).await;
    let refused = posts.take(post(&posts, None, "x\n".repeat(1_001), false)).await;
    assert!(matches!(&refused, Err(Refusal::Lines { all: 1_001, .. })), "{refused:?}");
    let lines = |bad: usize, good: usize| ["x\n".repeat(bad), "{\"id\": 1}\n".repeat(good)].concat();
    let refused = posts.take(post(&posts, None, lines(11, 989), false)).await;
    assert!(matches!(&refused, Err(Refusal::Lines { all: 11, .. })), "above one in a hundred: {refused:?}");
    let accepted = posts.take(post(&posts, None, lines(10, 990), false)).await.unwrap();
    assert_eq!(accepted, answer(990, 10, false, false));
}

#[tokio::test]
async fn a_body_takes_room_for_its_bytes_or_for_what_its_rows_hold() {
    let posts = posts("body_bytes_max = 8192\npending_bytes_max = 163840", true);
    let mut origin = begun(&posts, None).await;
    // Of unknown length.
    let short = Post { room: posts.room(8_192).unwrap(), ..post(&posts, None, "{\"id\": 1}", false) };
    posts.take(short).await.unwrap();
    assert!(posts.room(159 * 1_024).is_some() && posts.room(160 * 1_024).is_none(), "one is held");
    let place = read(origin.as_mut()).await.place.unwrap();
    origin.acknowledge(&place).await.unwrap();
    // Lines of nine bytes are rows of twelve and more.
    let small = || "{\"id\":1}\n".repeat(900);
    posts.take(post(&posts, None, small(), false)).await.unwrap();
    assert!(posts.room(149 * 1_024).is_some() && posts.room(152 * 1_024).is_none());
    let _other = posts.room(140 * 1_024).unwrap();
    let body = "{\"id\":1}\n".repeat(113);
    let full = posts.take(post(&posts, None, body, false)).await;
    assert!(matches!(full, Err(Refusal::Full)), "{full:?}");
    let narrow = self::posts("body_bytes_max = 8192\npending_bytes_max = 8192", true);
    let _origin = begun(&narrow, None).await;
    let large = narrow.take(post(&narrow, None, small(), false)).await;
    assert!(matches!(large, Err(Refusal::TooLarge)), "{large:?}");
    // Many are more than their bytes, before anything is made of them, and give it back.
    let posts = self::posts("body_bytes_max = 8192\npending_bytes_max = 163840", true);
    let mut origin = begun(&posts, None).await;
    let many = posts.take(post(&posts, None, "\n1".repeat(2_000), false)).await;
    assert!(matches!(many, Err(Refusal::TooLarge)), "{many:?}");
    assert!(posts.room(160 * 1_024).is_some());
    assert_eq!(read(origin.as_mut()).await.records, 0);
}

#[tokio::test]
async fn a_body_that_is_known_by_its_key_is_not_read() {
    let posts = posts("bad_lines = 'dead_letter'", false);
    let mut origin = begun(&posts, None).await;
    posts.take(post(&posts, Some("k"), "{\"id\": 1}", false)).await.unwrap();
    let place = read(origin.as_mut()).await.place.unwrap();
    origin.acknowledge(&place).await.unwrap();
    let unread = || Some(Box::new(|_: &RecordBatch| -> crate::error::Result<()> { panic!("it is read") }) as Check);
    let again = Post { check: unread(), ..post(&posts, Some("k"), "{\"id\": 1}", false) };
    assert_eq!(posts.take(again).await.unwrap(), answer(1, 0, true, true));
    let other = Post { check: unread(), ..post(&posts, Some("k"), "{\"id\": 2}", false) };
    assert!(matches!(posts.take(other).await, Err(Refusal::KeyReused)));
}

/// It would become a row later, without its sender.
#[tokio::test]
async fn nothing_is_set_aside_of_a_body_whose_rows_are_checked() {
    let posts = posts("bad_lines = 'dead_letter'", false);
    let _origin = begun(&posts, None).await;
    let lines = || format!("{}nonsense", "{\"id\": 1}\n".repeat(500));
    let checked = Post { check: Some(Box::new(|_| Ok(()))), ..post(&posts, Some("a"), lines(), false) };
    let refused = posts.take(checked).await;
    assert!(matches!(refused, Err(Refusal::Lines { all: 1, .. })), "{refused:?}");
    assert_eq!(posts.take(post(&posts, Some("b"), lines(), false)).await.unwrap().dead_letters, 1);
}

#[tokio::test]
async fn rows_that_are_added_need_a_key_and_rows_that_are_refused_are_not_queued() {
    let posts = posts("", false);
    let mut origin = begun(&posts, None).await;
    let missing = posts.take(post(&posts, None, "{\"id\": 1}", true)).await;
    assert!(matches!(missing, Err(Refusal::KeyMissing)), "{missing:?}");
    let refused = Post {
        check: Some(Box::new(|rows| {
            assert_eq!(ids(rows), [1]);
            Err(Error::new(Kind::PermissionDenied, "no"))
        })),
        ..post(&posts, Some("k"), "{\"id\": 1}", true)
    };
    assert!(matches!(posts.take(refused).await, Err(Refusal::Failed(_))));
    assert_eq!(read(origin.as_mut()).await.records, 0);
}

#[tokio::test]
async fn what_is_on_its_way_is_bounded_until_it_is_committed() {
    let posts = posts("body_bytes_max = 2048\npending_bytes_max = 4096", true);
    let mut origin = begun(&posts, None).await;
    posts.take(post(&posts, None, "{\"id\": 1}", false)).await.unwrap();
    let others: Vec<_> = (0..3).map(|_| posts.room(1_024).unwrap()).collect();
    assert!(posts.room(1).is_none(), "four are held");
    let place = read(origin.as_mut()).await.place.unwrap();
    assert!(posts.room(1).is_none(), "a batch is not a commit");
    origin.acknowledge(&place).await.unwrap();
    assert!(posts.room(1_024).is_some());
    drop(others);
}

#[tokio::test]
async fn nobody_waits_at_a_pipeline_that_does_not_run() {
    let posts = posts("", true);
    let early = posts.take(post(&posts, None, "{\"id\": 1}", true)).await;
    assert!(matches!(early, Err(Refusal::NotRunning)), "{early:?}");
    let mut origin = begun(&posts, None).await;
    let late = Post { until: Some(Instant::now()), ..post(&posts, None, "{\"id\": 1}", true) };
    assert!(matches!(posts.take(late).await, Err(Refusal::NotYet)));
    assert_eq!(posts.0.queue().lines(), 0, "what nobody waits for is not taken in");
    let sent = tokio::spawn({
        let posts = posts.clone();
        async move { posts.take(post(&posts, None, "{\"id\": 1}", true)).await }
    });
    while posts.0.queue().lines() == 0 {
        tokio::task::yield_now().await;
    }
    origin.rest();
    let paused = posts.take(post(&posts, None, "{\"id\": 1}", false)).await;
    assert!(matches!(paused, Err(Refusal::NotRunning)), "{paused:?}");
    posts.close();
    assert!(matches!(sent.await.unwrap(), Err(Refusal::NotRunning)));
}

#[tokio::test]
async fn another_origins_place_is_refused_and_a_person_can_go_on_at_one_place_only() {
    let posts = posts("", true);
    let mut origin = posts.origin();
    let topic = Place([("topic".to_string(), "t".into())].into_iter().collect());
    let error = origin.begin(&Kept { tables: vec![Some(topic)], checkpoint: None }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DataGone);
    for wanted in [Wanted::Earliest, Wanted::Latest] {
        assert_eq!(origin.place(wanted).await.unwrap_err().kind(), Kind::Unsupported);
    }
    let back = origin.place(Wanted::Range("17")).await.unwrap();
    assert_eq!(origin.range(&back), "17");
    assert_eq!(origin.place(Wanted::Range("x")).await.unwrap_err().kind(), Kind::InvalidText);
    assert_eq!(origin.place(Wanted::At(&back)).await.unwrap(), back);
}

#[test]
fn numbers_that_no_pipeline_could_run_with() {
    let faults = |text: &str| -> Vec<&str> {
        let config: Config = toml::from_str(&format!("table = 't'\ncolumns = []\n{text}")).unwrap();
        config.faults().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(faults(""), Vec::<&str>::new());
    assert_eq!(faults("body_bytes_max = 1\nkeys_max = 0"), ["body_bytes_max", "keys_max"]);
    assert_eq!(
        faults("pending_bytes_max = 9000\nkeys_max = 10001\nkeys_age_s = 0"),
        ["pending_bytes_max", "keys_max", "keys_age_s"]
    );
}
