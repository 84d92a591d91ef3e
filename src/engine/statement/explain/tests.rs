//! What EXPLAIN shows, over the session's shop: a restricted table in memory, and constants.

use crate::engine::session::tests::{Shop, ask};

#[tokio::test]
async fn plans_have_postgres_shape() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (sql, plan) in [
        ("EXPLAIN SELECT 1", "Result  (cost=0.00..0.01 rows=1 width=4)"),
        ("EXPLAIN (COSTS OFF) SELECT 1", "Result"),
        ("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT 1", "Result (actual rows=1 loops=1)"),
        ("EXPLAIN (COSTS OFF) VALUES (1), (2)", "Values Scan on \"*VALUES*\""),
        (
            "EXPLAIN (COSTS OFF) SELECT region, count(*) FROM shop.sales GROUP BY region ORDER BY 2 DESC LIMIT 3",
            "Limit\n  ->  Sort\n        Sort Key: count(*) DESC\n        ->  HashAggregate\n              \
             Group Key: region\n              ->  PolicyScan shop.sales",
        ),
        (
            "EXPLAIN (COSTS OFF) SELECT a.id FROM shop.sales a LEFT JOIN shop.sales b ON a.region = b.region",
            "Hash Right Join\n  Hash Cond: (region = region)\n  ->  PolicyScan shop.sales\n  ->  Hash\n        \
             ->  PolicyScan shop.sales",
        ),
        (
            "EXPLAIN (COSTS OFF) SELECT id FROM shop.sales WHERE id + 0 > 1",
            "Subquery Scan on shop.sales\n  Filter: ((id + 0) > 1)\n  ->  PolicyScan shop.sales",
        ),
    ] {
        assert_eq!(ask(&mut session, sql).await, plan, "{sql}");
    }
}

#[tokio::test]
async fn a_restricted_plan_ends_at_the_barrier() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let query = "SELECT count(*) FROM shop.sales WHERE id + 0 > 1";
    for form in ["ANALYZE", "ANALYZE VERBOSE", "(ANALYZE, COSTS OFF)"] {
        let plan = ask(&mut session, &format!("EXPLAIN {form} {query}")).await;
        let mut lines = plan.lines();
        let scan = lines.find(|line| line.contains("PolicyScan shop.sales")).unwrap_or_else(|| panic!("{plan}"));
        assert!(!scan.contains("actual"), "{plan}");
        let after: Vec<&str> = lines.collect();
        assert!(after.iter().all(|line| line.contains(" Time: ")), "below the barrier: {plan}");
        for time in plan.split(" Time: ").skip(1).filter_map(|rest| rest.split(' ').next()) {
            assert!(time.ends_with("0.000"), "{time} is no multiple of ten: {plan}");
        }
    }
    let json = ask(&mut session, &format!("EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {query}")).await;
    let mut node = &serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["Plan"];
    while node["Node Type"] != "PolicyScan" {
        assert!(node["Actual Rows"].is_number(), "{json}");
        node = &node["Plans"][0];
    }
    assert_eq!(node["Relation Name"], "shop.sales");
    assert!(node["Actual Rows"].is_null() && node["Plans"].is_null() && node["Filter"].is_null(), "{json}");
}

#[tokio::test]
async fn who_may_not_ask_may_not_have_it_explained() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for query in ["SELECT * FROM shop.vault", "SELECT nothing FROM shop.sales", "SELECT 1 +"] {
        let refused = ask(&mut session, query).await;
        assert!(refused.starts_with("42"), "{refused}");
        if !query.ends_with('+') {
            assert_eq!(ask(&mut session, &format!("EXPLAIN {query}")).await, refused);
            assert_eq!(ask(&mut session, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {query}")).await, refused);
        }
    }
    // it is run by ANALYZE alone
    assert!(ask(&mut session, "EXPLAIN SELECT 1 / (id - 1) FROM shop.sales").await.contains("PolicyScan"));
    assert!(ask(&mut session, "EXPLAIN ANALYZE SELECT 1 / (id - 1) FROM shop.sales").await.starts_with("22012"));
}

#[tokio::test]
async fn options_are_read_as_postgres_reads_them() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (options, said) in [
        ("(foo)", "42601 unrecognized EXPLAIN option \"foo\""),
        ("(FORMAT xyz)", "22023 unrecognized value for EXPLAIN option \"format\": \"xyz\""),
        ("(FORMAT xml)", "0A000 EXPLAIN (FORMAT XML) is not supported"),
        ("(FORMAT)", "42601 format requires a parameter"),
        ("(TIMING)", "22023 EXPLAIN option TIMING requires ANALYZE"),
        ("(WAL)", "22023 EXPLAIN option WAL requires ANALYZE"),
        ("(COSTS maybe)", "42601 costs requires a Boolean value"),
        ("(COSTS 2)", "42601 costs requires a Boolean value"),
        ("(COSTS, COSTS 0, BUFFERS, SETTINGS off)", "Result"),
        ("(COSTS 'off', TIMING off)", "Result"),
    ] {
        assert_eq!(ask(&mut session, &format!("EXPLAIN {options} SELECT 1")).await, said, "{options}");
    }
}
