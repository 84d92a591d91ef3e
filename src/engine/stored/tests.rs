//! A shop whose rows change, with reflections of it: what answers, what does not, and that by chance made statements answer
//! alike with and without them, whoever asks.

mod chance;
mod joined;
mod lake;
mod shop;

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use self::shop::{Shop, plain};
use crate::error::Error;
use crate::lake::Added;
use crate::types::ObjectId;

const GROUPED: &str = "SELECT region, date_trunc('day', at), product, count(*), count(qty), sum(qty), sum(amount), count(amount), \
                       max(amount) FROM shop.sales GROUP BY 1, 2, 3";

#[tokio::test(flavor = "multi_thread")]
async fn coarser_groups_are_made_of_finer_ones() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_day", GROUPED)]).await;
    for sql in [
        "SELECT count(*) FROM shop.sales",
        "SELECT region, sum(qty), avg(qty), avg(amount) FROM shop.sales GROUP BY region",
        "SELECT avg(amount) AS a, date_trunc('month', at) AS m FROM shop.sales GROUP BY date_trunc('month', at) ORDER BY m",
        "SELECT date_trunc('week', s.at), max(s.amount) FROM shop.sales AS s GROUP BY 1",
        "SELECT sum(qty) FROM shop.sales WHERE region = 'EU' AND product > 2",
        "SELECT sum(qty) FROM shop.sales WHERE region = 'nowhere'",
        "SELECT count(*), sum(qty) FROM shop.sales WHERE product = -1",
        "SELECT count(DISTINCT region), max(product), count(region) FROM shop.sales",
        "SELECT DISTINCT region FROM shop.sales",
        "SELECT region, product, sum(qty) FROM shop.sales GROUP BY GROUPING SETS ((region), (product))",
        "SELECT sum(qty) FILTER (WHERE region = 'EU'), count(*) FILTER (WHERE product > 3) FROM shop.sales",
        "SELECT region FROM shop.sales GROUP BY region HAVING count(*) > 2",
        "SELECT x.n FROM (SELECT region AS r, count(*) AS n FROM shop.sales GROUP BY region) x WHERE x.n > 1",
        "SELECT 1 WHERE 5 < (SELECT count(*) FROM shop.sales)",
        "SELECT count(*) FROM shop.sales WHERE at >= timestamp '2024-01-10' AND at < timestamp '2024-02-01'",
        "SELECT upper(region), sum(amount) FROM shop.sales GROUP BY 1",
    ] {
        assert_eq!(shop.compared("whole", sql).await, Ok(true), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_is_computed() {
    let shop = Shop::open().await;
    shop.reflect(&[
        ("by_day", GROUPED),
        ("by_week", "SELECT date_trunc('week', at), count(*) FROM shop.sales GROUP BY 1"),
        ("some", "SELECT product, secret, count(*), sum(price) FROM shop.sales WHERE product > 3 GROUP BY 1, 2"),
        ("averages", "SELECT flag, avg(qty), count(DISTINCT qty), sum(price) FROM shop.sales GROUP BY flag"),
    ])
    .await;
    for (sql, why) in [
        ("SELECT flag, count(*) FROM shop.sales GROUP BY flag", "column \"flag\" is not stored"),
        ("SELECT date_trunc('hour', at), count(*) FROM shop.sales GROUP BY 1", "column \"at\" is not stored"),
        ("SELECT date_trunc('month', at), min(qty) FROM shop.sales GROUP BY 1", "min cannot be made"),
        ("SELECT count(*) FROM shop.sales WHERE amount > 5", "column \"amount\" is not stored"),
        ("SELECT count(*) FROM shop.sales WHERE at >= timestamp '2024-01-10 01:00'", "column \"at\" is not stored"),
        ("SELECT count(*) FROM shop.sales WHERE at <= timestamp '2024-01-10'", "column \"at\" is not stored"),
        ("SELECT sum(price) FROM shop.sales WHERE product > 4", "sum cannot be made"),
        ("SELECT flag, avg(qty) FROM shop.sales GROUP BY flag", "column \"flag\" is not stored"),
        ("SELECT count(DISTINCT qty) FROM shop.sales", "count cannot be made"),
        (
            "SELECT secret, count(*) FROM shop.sales WHERE product > 2 GROUP BY secret",
            "column \"secret\" is not stored",
        ),
        ("SELECT secret, count(*) FROM shop.sales GROUP BY secret", "column \"secret\" is not stored"),
        ("SELECT region, random() < 2, count(*) FROM shop.sales GROUP BY 1, 2", "differs each time"),
    ] {
        assert_eq!(shop.compared_to_last_digit("whole", sql).await, Ok(false), "{sql}");
        assert!(shop.why_not("by_day").contains(why), "{sql}: {}", shop.why_not("by_day"));
    }
    // of a week no month is made
    let sql = "SELECT date_trunc('month', at), min(qty), count(*) FROM shop.sales GROUP BY 1";
    assert_eq!(shop.compared("whole", sql).await, Ok(false));
    assert!(shop.why_not("by_week").contains("column \"at\""), "{}", shop.why_not("by_week"));
    assert_eq!(
        shop.compared("whole", "SELECT secret, count(*) FROM shop.sales WHERE product >= 4 AND product < 5 GROUP BY 1")
            .await,
        Ok(true)
    );
    assert!(shop.why_not("by_day").contains("secret"));
    assert_eq!(
        shop.compared("whole", "SELECT secret, count(*) FROM shop.sales WHERE product >= 3 GROUP BY 1").await,
        Ok(false)
    );
    assert!(shop.why_not("some").contains("leaves out rows"), "{}", shop.why_not("some"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_fail_fails_alike() {
    let shop = Shop::open().await;
    shop.reflect(&[
        ("all", "SELECT product, region, count(*) FROM shop.sales GROUP BY 1, 2"),
        ("positive", "SELECT product, region, count(*) FROM shop.sales WHERE product > 0 GROUP BY 1, 2"),
    ])
    .await;
    let shown = shop.compared("whole", "SELECT count(*) FROM shop.sales WHERE 10 / product > 2").await;
    assert_eq!(shown, Err("22012".into()));
    let sql = "SELECT count(*) FROM shop.sales WHERE 10 / product > 2 AND product > 0";
    assert_eq!(shop.compared("whole", sql).await, Err("22012".into()));
    assert!(shop.why_not("positive").contains("can fail"), "{}", shop.why_not("positive"));
    // copies of rows, of which one lacks those on which it fails
    let shop = Shop::open().await;
    shop.reflect(&[("some", "SELECT product FROM shop.sales WHERE product > 0")]).await;
    let sql = "SELECT product FROM shop.sales WHERE 10 / product > 2 AND product > 0";
    assert_eq!(shop.compared("whole", sql).await, Err("22012".into()));
    assert_eq!(shop.compared("whole", "SELECT product FROM shop.sales WHERE product > 1").await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_on_the_table_holds_over_what_is_stored() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_day", GROUPED)]).await;
    let total = "SELECT count(*), sum(qty) FROM shop.sales";
    let by_region = "SELECT region, sum(qty) FROM shop.sales GROUP BY region";
    // a filter on a dimension
    assert_eq!(shop.compared("eu", total).await, Ok(true));
    assert_eq!(shop.compared("eu", by_region).await, Ok(true));
    assert_eq!(shop.compared("low", "SELECT count(*) FROM shop.sales WHERE 10 / (product - 7) > 0").await, Ok(true));
    // and on what is none
    assert_eq!(shop.compared("flagged", total).await, Ok(false));
    assert!(shop.why_not("by_day").contains("row filter"), "{}", shop.why_not("by_day"));
    // a masked dimension, and a masked measure
    assert_eq!(shop.compared("masked", by_region).await, Ok(false));
    assert!(shop.why_not("by_day").contains("masked or hidden"), "{}", shop.why_not("by_day"));
    assert_eq!(shop.compared("masked", "SELECT product, sum(qty) FROM shop.sales GROUP BY product").await, Ok(true));
    assert_eq!(shop.compared("masked", "SELECT max(amount) FROM shop.sales").await, Ok(false));
    // a hidden one is not named, and what is made of others is theirs
    assert_eq!(shop.compared("hidden", "SELECT sum(qty) FROM shop.sales").await, Err("42703".into()));
    assert_eq!(shop.compared("hidden", "SELECT region, count(*) FROM shop.sales GROUP BY 1").await, Ok(true));
    // a right that is not there is not there
    assert_eq!(shop.compared("nobody", total).await, Err("42P01".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_on_hidden_rows_stays_above_the_filter() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_product", "SELECT product, region, count(*) FROM shop.sales GROUP BY 1, 2")]).await;
    // the only product of zero is hidden
    let sql = "SELECT count(*) FROM shop.sales WHERE 10 / product > 0";
    assert_eq!(shop.compared("positive", sql).await, Ok(true));
    assert_eq!(shop.compared("whole", sql).await, Err("22012".into()));
    // a filter that would stay above a barrier, were it a user's
    let sql = "SELECT count(*) FROM shop.sales WHERE 10 / length(region) > 0";
    assert_eq!(shop.compared("small", sql).await, Ok(true));
    assert_eq!(shop.compared("whole", sql).await, Err("22012".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_answer_where_they_hold_what_is_read() {
    let shop = Shop::open().await;
    shop.reflect(&[
        ("narrow", "SELECT amount, product, region FROM shop.sales"),
        ("european", "SELECT id, region, qty FROM shop.sales WHERE region = 'EU'"),
    ])
    .await;
    for (user, sql, answers) in [
        ("whole", "SELECT product, amount FROM shop.sales WHERE region = 'US'", true),
        ("whole", "SELECT sum(amount * product) FROM shop.sales", true),
        (
            "whole",
            "SELECT a.product FROM shop.sales a JOIN shop.sales b ON a.product = b.product WHERE b.region = 'EU'",
            true,
        ),
        ("whole", "SELECT count(*) FROM shop.sales", true),
        ("whole", "SELECT id, qty FROM shop.sales WHERE region = 'EU' AND qty > 1", true),
        ("whole", "SELECT id, qty FROM shop.sales WHERE region IN ('EU', 'US')", false),
        ("whole", "SELECT secret FROM shop.sales", false),
        ("eu", "SELECT id, qty FROM shop.sales", true),
        ("eu", "SELECT product, amount FROM shop.sales", true),
        ("flagged", "SELECT product FROM shop.sales", false),
        ("masked", "SELECT product, region, amount FROM shop.sales WHERE amount > 10", true),
    ] {
        assert_eq!(shop.compared(user, sql).await, Ok(answers), "{user}: {sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_one_answers_within_the_bound_and_says_so() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_day", GROUPED)]).await;
    let sql = "SELECT count(*) FROM shop.sales";
    let before = shop.ask("whole", true, sql).await;
    shop.change();
    assert_eq!(shop.compared("whole", sql).await, Ok(false));
    assert!(shop.why_not("by_day").contains("have changed"));
    let now = shop.ask("whole", true, sql).await;
    assert_ne!(before, now);

    let mut session = shop.session("whole", true).await;
    // also from the cache's point of view
    plain(&mut session, "SET lakegate.cache = on").await.unwrap();
    plain(&mut session, "SET lakegate.max_staleness = '5 min'").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, before);
    let said: Vec<String> = session.notices().into_iter().map(|notice| notice.message.into_owned()).collect();
    assert!(said.iter().any(|text| text.contains("behind its tables")), "{said:?}");
    plain(&mut session, "SET lakegate.max_staleness = 0").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, now, "an older answer was kept as one of now");
    // an exact one that is kept costs least
    plain(&mut session, "SET lakegate.max_staleness = '5 min'").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, now);
    assert!(session.notices().is_empty());
    plain(&mut session, "SET lakegate.cache = off").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, before);
    assert_eq!(session.notices().len(), 1);

    shop.age("by_day", 301_000_000);
    assert_eq!(plain(&mut session, sql).await, now);
    assert!(session.notices().is_empty());
    shop.age("by_day", 0);
    // what a transaction reads twice is one moment's
    plain(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, now);
    plain(&mut session, "COMMIT").await.unwrap();

    plain(&mut session, "SET lakegate.reflections = off").await.unwrap();
    assert_eq!(plain(&mut session, sql).await, now);
    shop.refresh().await;
    assert_eq!(shop.compared("whole", sql).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_what_answers_to_whoever_sees_all_of_it() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_day", GROUPED)]).await;
    let explain = async |user: &str, sql: &str| {
        let mut session = shop.session(user, true).await;
        plain(&mut session, sql).await.unwrap().join("\n")
    };
    let shown = explain("whole", "EXPLAIN SELECT region, count(*) FROM shop.sales GROUP BY region").await;
    assert!(shown.contains("Reflection: by_day"), "{shown}");
    let shown = explain("whole", "EXPLAIN VERBOSE SELECT flag, count(*) FROM shop.sales GROUP BY flag").await;
    assert!(shown.contains("by_day: column \"flag\" is not stored"), "{shown}");
    for sql in [
        "EXPLAIN VERBOSE SELECT region, count(*) FROM shop.sales GROUP BY region",
        "EXPLAIN VERBOSE SELECT flag FROM shop.sales",
    ] {
        let shown = explain("eu", sql).await;
        assert!(!shown.contains("by_day") && !shown.contains("eflection"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_are_truncated_under_the_time_zone_that_they_were_stored_under() {
    let shop = Shop::open().await;
    shop.reflect(&[
        ("by_day", "SELECT date_trunc('day', seen), count(*) FROM shop.sales GROUP BY 1"),
        ("by_text", "SELECT seen::text, count(*) FROM shop.sales GROUP BY 1"),
        ("by_price", "SELECT price::text, count(*) FROM shop.sales GROUP BY 1"),
    ])
    .await;
    let month = "SELECT date_trunc('month', seen), count(*) FROM shop.sales GROUP BY 1";
    let text = "SELECT seen::text, count(*) FROM shop.sales GROUP BY 1";
    let total = "SELECT count(*) FROM shop.sales";
    // immutable, says PostgreSQL, and shown by extra_float_digits
    let price = "SELECT price::text, count(*) FROM shop.sales GROUP BY 1";
    for (settings, answered) in [
        (&["TimeZone = 'UTC'"][..], [true, true, true, true]),
        (&["TimeZone = 'Etc/UTC'", "extra_float_digits = 3"], [true, false, true, false]),
        (&["extra_float_digits = 0"], [true, false, true, false]),
        (&["DateStyle = 'German'"], [true, false, true, false]),
        (&["TimeZone = 'Europe/Vienna'"], [false, false, true, false]),
    ] {
        let (mut with, mut without) = (shop.session("whole", true).await, shop.session("whole", false).await);
        for setting in settings {
            plain(&mut with, &format!("SET {setting}")).await.unwrap();
            plain(&mut without, &format!("SET {setting}")).await.unwrap();
        }
        for (sql, answered) in [month, text, total, price].into_iter().zip(answered) {
            let before = shop.hits();
            let found = plain(&mut with, sql).await;
            assert_eq!(found, plain(&mut without, sql).await, "{settings:?}: {sql}");
            assert_eq!(shop.hits() > before, answered, "{settings:?}: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_rows_is_none() {
    let shop = Shop::open().await;
    shop.reflect(&[
        ("none", "SELECT count(*), sum(qty) FROM shop.sales WHERE product > 1000"),
        ("by_product", "SELECT product, region, count(*) FROM shop.sales GROUP BY 1, 2"),
    ])
    .await;
    for (sql, answers) in [
        ("SELECT 'a' AS k, count(*) FROM shop.sales WHERE product > 1000 AND qty > 7 GROUP BY k", false),
        ("SELECT 'a' AS k, sum(qty) FROM shop.sales WHERE product > 1000 GROUP BY k", false),
        ("SELECT sum(qty) FROM shop.sales WHERE product > 1000", true),
        ("SELECT 'a' AS k, count(*) FROM shop.sales WHERE product > 1000 GROUP BY k", true),
        ("SELECT DISTINCT 'a' FROM shop.sales WHERE product > 1000", true),
        ("SELECT DISTINCT 'a' FROM shop.sales", true),
    ] {
        assert_eq!(shop.compared("whole", sql).await, Ok(answers), "{sql}");
    }
    let sql = "SELECT 'a' AS k, sum(qty) FROM shop.sales WHERE product > 1000 GROUP BY k";
    assert_eq!(shop.compared("whole", sql).await, Ok(false));
    assert!(shop.why_not("none").contains("has a row where its table has none"), "{}", shop.why_not("none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_of_another_table_is_never_late() {
    let shop = Shop::open().await;
    shop.reflect(&[("by_day", GROUPED)]).await;
    shop.outlive_table("by_day");
    shop.change();
    let mut session = shop.session("whole", true).await;
    plain(&mut session, "SET lakegate.max_staleness = '5 min'").await.unwrap();
    let sql = "SELECT count(*) FROM shop.sales";
    assert_eq!(plain(&mut session, sql).await, shop.ask("whole", false, sql).await);
    assert_eq!(shop.hits(), 0);
    assert!(shop.why_not("by_day").contains("have changed"), "{}", shop.why_not("by_day"));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_a_topic_has_is_told_to_whoever_sees_all_of_it() {
    let shop = Shop::open().await;
    shop.stream();
    for (user, expected) in
        [("whole", "shop.sales=offsets:0:0-200"), ("eu", "shop.sales=offsets"), ("masked", "shop.sales=offsets")]
    {
        let mut session = shop.session(user, true).await;
        plain(&mut session, "SELECT count(*) FROM shop.sales").await.unwrap();
        let seen = plain(&mut session, "SHOW lakegate.snapshot_vector").await.unwrap().concat();
        assert_eq!(seen, expected, "{user}");
        plain(&mut session, &format!("SET lakegate.snapshot_vector = '{seen}'")).await.unwrap();
        assert!(plain(&mut session, "SELECT count(*) FROM shop.sales").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_is_made_of_those_that_begin_with_it() {
    const UNITS: [&str; 13] = [
        "microseconds",
        "milliseconds",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
        "decade",
        "century",
        "millennium",
    ];
    let shop = Shop::open().await;
    let times = "(SELECT t FROM generate_series(timestamp '0001-01-01', timestamp '3000-01-01', interval '1 year') AS t \
                 UNION ALL SELECT t FROM generate_series(timestamp '0001-01-01', timestamp '3000-01-01', \
                 interval '1 year 37 days 3:05:07.008009') AS t) AS times";
    for coarser in UNITS {
        let differ = |finer: &str| {
            let of_finer = format!("date_trunc('{coarser}', date_trunc('{finer}', t))");
            format!("count(*) FILTER (WHERE {of_finer} <> date_trunc('{coarser}', t))")
        };
        let sql = format!("SELECT {} FROM {times}", UNITS.map(differ).join(", "));
        let counts = shop.ask("whole", false, &sql).await.unwrap().concat();
        for (finer, differ) in UNITS.iter().zip(counts.split('|')) {
            let made = crate::sql::lower::rollup::begins_with(coarser, finer);
            assert!(!made || differ == "0", "{coarser} of {finer}: {differ} are others");
        }
    }
    for (coarser, finer, made) in [
        ("century", "decade", false),
        ("millennium", "decade", false),
        ("millennium", "century", true),
        ("century", "year", true),
        ("decade", "year", true),
        ("month", "week", false),
        ("week", "day", true),
        ("day", "month", false),
    ] {
        assert_eq!(crate::sql::lower::rollup::begins_with(coarser, finer), made, "{coarser} of {finer}");
    }
}

#[tokio::test]
async fn one_looks_for_a_difference_and_others_wait() {
    let known = super::Known::default();
    let looks = AtomicUsize::new(0);
    let between = (ObjectId::of("t"), Some(1), Some(2));
    let (begun, may_end) = (Notify::new(), Notify::new());
    let look = || async {
        looks.fetch_add(1, Ordering::Relaxed);
        begun.notify_one();
        may_end.notified().await;
        Ok(Some(Added { files: vec!["f".into()], rows: 3 }))
    };
    let release = async {
        begun.notified().await;
        may_end.notify_one();
    };
    let (one, other, ()) = tokio::join!(known.found(between, look()), known.found(between, look()), release);
    assert_eq!((one.unwrap().unwrap().rows, other.unwrap().unwrap().rows), (3, 3));
    assert_eq!(looks.load(Ordering::Relaxed), 1);
    // what fails is looked for again
    let between = (ObjectId::of("t"), Some(2), Some(3));
    assert!(known.found(between, async { Err(Error::internal("no")) }).await.is_err());
    assert_eq!(known.found(between, async { Ok(None) }).await.unwrap(), None);
    // and there is a bound to what is kept
    for snapshot in 0..1_000 {
        known.found((ObjectId::of("t"), None, Some(snapshot)), async { Ok(None) }).await.unwrap();
    }
    assert!(known.0.lock().unwrap().len() <= super::KNOWN_MAX);
}
