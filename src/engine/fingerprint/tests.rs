//! Keys over a small shop in memory: every two of a list of statements must differ, and each must equal itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;
use crate::catalog::Body;
use crate::engine::deep::Deep;
use crate::engine::facts::{Facts, Identity};
use crate::engine::settings::{Settings, SharedSettings};
use crate::engine::temporary::Temporary;
use crate::engine::world::{Builder, Origin};
use crate::engine::{Config, Current, Engine, pipeline};
use crate::policy::guard::{Opening, Pins};
use crate::policy::scram::scram_verifier;
use crate::secret::Secret;

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "shop.sales"
columns = [
  { name = "id", type = "int8" }, { name = "amount", type = "int8" }, { name = "region", type = "text" },
  { name = "at", type = "timestamptz" },
]
rows = [[1, 10, "EU", "2024-01-01T00:00:00Z"]]
[[table]]
name = "shop.copy"
columns = [
  { name = "id", type = "int8" }, { name = "amount", type = "int8" }, { name = "region", type = "text" },
  { name = "at", type = "timestamptz" },
]
rows = [[1, 10, "EU", "2024-01-01T00:00:00Z"]]
"#;

/// root, eve and leo in full; ann and tom by attribute; kim and lou by columns that a question need not read; the others by
/// mask and denial.
const POLICY: &str = r#"
p, root, *, select, allow
p, eve, *, select, allow
p, leo, *, select, allow
p, ann, *, select, allow
p, tom, *, select, allow
p, ben, *, select, allow
p, mia, *, select, allow
p, max, *, select, allow
p, zoe, *, select, allow
p2, ann, shop.sales, "region = user.region"
p2, tom, shop.sales, "region = user.region"
p2, ben, shop.sales, "region = user.region"
p3, mia, shop.sales, region, redact
p3, max, shop.sales, region, "partial(1, '*', 0)"
p, zoe, shop.sales/region, select, deny
p2, ann, views.all, "amount > 5"
p, kim, *, select, allow
p, lou, *, select, allow
p2, kim, shop.sales, "id = 7"
p2, lou, shop.sales, "amount = 7"
"#;

const USERS: [(&str, &str); 11] = [
    ("root", ""),
    ("eve", ""),
    ("leo", ""),
    ("ann", "region = \"EU\""),
    ("tom", "region = \"EU\""),
    ("ben", "region = \"US\""),
    ("mia", ""),
    ("max", ""),
    ("zoe", ""),
    ("kim", ""),
    ("lou", ""),
];

const VIEW: &str = "SELECT id, amount FROM shop.copy WHERE id > 0";

struct Shop {
    _folder: tempfile::TempDir,
    engine: Arc<Engine>,
}

impl Shop {
    async fn open(source: &str, view: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| write(folder.path(), path, text);
        put("catalog/sources/shop.toml", source);
        put("catalog/datasets/views.all.sql", &format!("-- owner: root\n{view}"));
        put("policies/model.conf", include_str!("../../../policies/model.conf"));
        put("policies/policy.csv", POLICY);
        let users = USERS.map(|(name, attributes)| {
            let verifier = scram_verifier(name, b"sixteen byte salt", 4_096);
            format!("[user.{name}]\nscram = \"{verifier}\"\nattributes = {{ {attributes} }}\n")
        });
        put("policies/users.toml", &format!("[attributes]\nregion = \"text\"\n{}", users.concat()));
        let origin = Origin {
            catalog_dir: folder.path().join("catalog"),
            policies_dir: folder.path().join("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![1; 32]),
            connect: Box::new(|file| match &file.config {
                crate::sources::Config::Memory(config) => {
                    Ok(Arc::new(crate::sources::memory::Memory::configured(&file.name, config)?))
                }
                other => panic!("{other:?}"),
            }),
            metastore: None,
            remember: false,
            judge: Default::default(),
        };
        let (_, world) = Builder::start(origin, None).await.unwrap();
        let current = Arc::new(Current::new(Arc::new(world)));
        let engine = Engine::new(Config::default(), current, Secret::new(vec![2; 32])).unwrap();
        Self { _folder: folder, engine }
    }

    async fn key(&self, user: &str, sql: &str) -> Option<Key> {
        self.key_with(user, sql, &[], |version| version).await
    }

    /// As `user` under `settings`, each table's version passed through `see`.
    async fn key_with(
        &self,
        user: &str,
        sql: &str,
        settings: &[(&str, &str)],
        see: impl Fn(Version) -> Version,
    ) -> Option<Key> {
        let shared = &self.engine.shared;
        let principal = self.engine.login(user).unwrap();
        let identity = Identity {
            given: Default::default(),
            principal,
            pid: 1,
            others: Default::default(),
            server_started_at: 1,
            session_started_at: 1,
            cursors: Default::default(),
            random: Default::default(),
            asked: Default::default(),
            temporary: Temporary::new(&shared.runtime.memory_pool, 1 << 30),
        };
        let mut set = Settings::new(user, "public");
        settings.iter().for_each(|(name, value)| set.set(name, Some(value), false).unwrap());
        let facts = Facts::new(self.engine.world(), &identity, &SharedSettings::new(set), shared).unwrap();
        let facts = Arc::new(facts);
        let parsed = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().pop().unwrap();
        let Statement::Query(query) = parsed else { panic!("{sql}") };
        let planned =
            pipeline::plan(shared, &facts, asked(*query, sql)).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let mut pins = Pins::default();
        for entry in planned.reached.entries.values() {
            let Body::Table(table) = &entry.body else { continue };
            let pinned = table.pin().await.unwrap();
            pins.insert(entry.object.id, see(pinned.version), pinned.provider, pinned.reads);
        }
        let opening = Opening { policy: &facts.policy, pins: &pins, bodies: &planned.reached.bodies };
        let guarded = crate::policy::guard(LogicalPlan::clone(&planned.plan), &opening).unwrap();
        let question = Question {
            guarded: &guarded,
            versions: pins.vector(),
            columns: &planned.columns,
            settings: &facts.settings_fingerprint,
            source_files: facts.world.source_files,
        };
        question.key()
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Neighbours differ in one thing.
#[rustfmt::skip]
const DIFFERENT: &[&str] = &[
    "SELECT id FROM shop.sales",
    "SELECT id FROM shop.copy",
    "SELECT id FROM shop.sales, shop.copy AS c(x, y, z, w)",
    "SELECT amount FROM shop.sales",
    "SELECT id AS amount FROM shop.sales",
    "SELECT id, amount FROM shop.sales",
    "SELECT amount, id FROM shop.sales",
    "SELECT id, id FROM shop.sales",
    "SELECT * FROM shop.sales",
    "SELECT DISTINCT id FROM shop.sales",
    "SELECT DISTINCT ON (region) id FROM shop.sales",
    "SELECT DISTINCT ON (region) id FROM shop.sales ORDER BY region, amount",
    "SELECT DISTINCT ON (region) id FROM shop.sales ORDER BY region, amount DESC",
    // literals and types
    "SELECT id FROM shop.sales WHERE amount = 1",
    "SELECT id FROM shop.sales WHERE amount = 2",
    "SELECT id FROM shop.sales WHERE amount <> 1",
    "SELECT id FROM shop.sales WHERE NOT amount = 1",
    "SELECT id FROM shop.sales WHERE amount = NULL",
    "SELECT id FROM shop.sales WHERE region = '1'",
    "SELECT id FROM shop.sales WHERE region = '1 '",
    "SELECT id FROM shop.sales WHERE region = ''",
    "SELECT 1", "SELECT '1'", "SELECT 1.0", "SELECT 1.00", "SELECT 1::float8", "SELECT 1::int2", "SELECT true",
    "SELECT NULL", "SELECT NULL::int8", "SELECT '0'::float8", "SELECT '-0'::float8",
    "SELECT TIMESTAMP '2024-01-01 00:00:00'", "SELECT TIMESTAMPTZ '2024-01-01 00:00:00Z'", "SELECT DATE '2024-01-01'",
    "SELECT INTERVAL '1 day'", "SELECT INTERVAL '24 hours'", "SELECT 1 AS a", "SELECT 1 AS \"A\"",
    "SELECT 'a', 'bc'", "SELECT 'ab', 'c'", "SELECT 'a' AS x, 'b'", "SELECT 'a', 'b' AS x",
    "SELECT amount::int2 FROM shop.sales", "SELECT amount::int4 FROM shop.sales", "SELECT amount::text FROM shop.sales",
    // predicates
    "SELECT id FROM shop.sales WHERE id IN (1, 2)",
    "SELECT id FROM shop.sales WHERE id IN (1, 2, 3)",
    "SELECT id FROM shop.sales WHERE id NOT IN (1, 2)",
    "SELECT id FROM shop.sales WHERE id BETWEEN 1 AND 2",
    "SELECT id FROM shop.sales WHERE id NOT BETWEEN 1 AND 2",
    "SELECT id FROM shop.sales WHERE region LIKE 'a%'",
    "SELECT id FROM shop.sales WHERE region ILIKE 'a%'",
    "SELECT id FROM shop.sales WHERE region NOT LIKE 'a%'",
    "SELECT id FROM shop.sales WHERE region LIKE 'a!%' ESCAPE '!'",
    "SELECT id FROM shop.sales WHERE region SIMILAR TO 'a%'",
    "SELECT id FROM shop.sales WHERE region IS NULL",
    "SELECT id FROM shop.sales WHERE region IS NOT NULL",
    "SELECT id FROM shop.sales WHERE (id = 1) IS TRUE",
    "SELECT id FROM shop.sales WHERE (id = 1) IS NOT FALSE",
    "SELECT id FROM shop.sales WHERE id = 1 AND amount = 2 OR amount = 3",
    "SELECT id FROM shop.sales WHERE id = 1 AND (amount = 2 OR amount = 3)",
    // which of two that can fail stands first
    "SELECT id FROM shop.sales WHERE 1 / id = 1 AND 1 / amount = 1",
    "SELECT id FROM shop.sales WHERE 1 / amount = 1 AND 1 / id = 1",
    "SELECT a.id FROM shop.sales a, shop.sales b WHERE a.amount > 1 AND b.amount > 2",
    "SELECT a.id FROM shop.sales a, shop.sales b WHERE a.amount > 2 AND b.amount > 1",
    "SELECT CASE WHEN id = 1 THEN 2 END FROM shop.sales",
    "SELECT CASE WHEN id = 1 THEN 2 ELSE 3 END FROM shop.sales",
    "SELECT CASE id WHEN 3 THEN 2 END FROM shop.sales",
    "SELECT - id FROM shop.sales",
    "SELECT upper(region) FROM shop.sales",
    "SELECT lower(region) FROM shop.sales",
    // order and number
    "SELECT id FROM shop.sales ORDER BY amount",
    "SELECT id FROM shop.sales ORDER BY amount DESC",
    "SELECT id FROM shop.sales ORDER BY amount NULLS FIRST",
    "SELECT id FROM shop.sales ORDER BY amount DESC NULLS LAST",
    "SELECT id FROM shop.sales ORDER BY amount, region",
    "SELECT id FROM shop.sales ORDER BY region, amount",
    "SELECT id FROM shop.sales LIMIT 1",
    "SELECT id FROM shop.sales LIMIT 2",
    "SELECT id FROM shop.sales LIMIT 0",
    "SELECT id FROM shop.sales OFFSET 1",
    "SELECT id FROM shop.sales LIMIT 1 OFFSET 1",
    // joins
    "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id = b.id",
    "SELECT b.id FROM shop.sales a JOIN shop.copy b ON a.id = b.id",
    "SELECT a.id FROM shop.copy a JOIN shop.sales b ON a.id = b.id",
    "SELECT a.id FROM shop.sales a LEFT JOIN shop.copy b ON a.id = b.id",
    "SELECT a.id FROM shop.sales a RIGHT JOIN shop.copy b ON a.id = b.id",
    "SELECT a.id FROM shop.sales a FULL JOIN shop.copy b ON a.id = b.id",
    "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id = b.amount",
    "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id IS NOT DISTINCT FROM b.id",
    "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id = b.id AND a.amount > 1",
    "SELECT amount FROM shop.sales a JOIN shop.copy b USING (amount)",
    // groups
    "SELECT count(*) FROM shop.sales",
    "SELECT count(id) FROM shop.sales",
    "SELECT count(DISTINCT id) FROM shop.sales",
    "SELECT count(*) FILTER (WHERE id > 1) FROM shop.sales",
    "SELECT count(*) FROM shop.sales WHERE id > 1",
    "SELECT sum(id) FROM shop.sales",
    "SELECT count(*) FROM shop.sales GROUP BY region",
    "SELECT count(*) FROM shop.sales GROUP BY id",
    "SELECT count(*) FROM shop.sales GROUP BY ROLLUP (id, region)",
    "SELECT count(*) FROM shop.sales GROUP BY CUBE (id, region)",
    "SELECT count(*) FROM shop.sales GROUP BY GROUPING SETS ((id), (region))",
    "SELECT count(*) FROM shop.sales GROUP BY region HAVING count(*) > 1",
    "SELECT count(*) FROM shop.sales GROUP BY region HAVING count(*) > 2",
    "SELECT string_agg(region, ',' ORDER BY id) FROM shop.sales",
    "SELECT string_agg(region, ',' ORDER BY id DESC) FROM shop.sales",
    "SELECT string_agg(region, ';' ORDER BY id) FROM shop.sales",
    // windows
    "SELECT sum(id) OVER () FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id DESC) FROM shop.sales",
    "SELECT sum(id) OVER (PARTITION BY region) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM shop.sales",
    "SELECT sum(id) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM shop.sales",
    "SELECT first_value(id) OVER (ORDER BY id) FROM shop.sales",
    "SELECT lag(id, 1) OVER (ORDER BY id) FROM shop.sales",
    "SELECT lag(id, 2) OVER (ORDER BY id) FROM shop.sales",
    // subqueries
    "SELECT id FROM shop.sales WHERE id = (SELECT max(id) FROM shop.copy WHERE amount > 1)",
    "SELECT id FROM shop.sales WHERE id = (SELECT max(id) FROM shop.copy WHERE amount > 2)",
    "SELECT id FROM shop.sales WHERE id = (SELECT max(id) FROM shop.sales WHERE amount > 1)",
    "SELECT id FROM shop.sales WHERE id IN (SELECT id FROM shop.copy WHERE amount > 1)",
    "SELECT id FROM shop.sales WHERE id IN (SELECT id FROM shop.copy WHERE amount > 2)",
    "SELECT id FROM shop.sales WHERE id NOT IN (SELECT id FROM shop.copy WHERE amount > 1)",
    "SELECT id FROM shop.sales s WHERE EXISTS (SELECT 1 FROM shop.copy c WHERE c.id = s.id)",
    "SELECT id FROM shop.sales s WHERE EXISTS (SELECT 1 FROM shop.copy c WHERE c.id = s.amount)",
    "SELECT id FROM shop.sales s WHERE NOT EXISTS (SELECT 1 FROM shop.copy c WHERE c.id = s.id)",
    "SELECT id FROM (SELECT id, amount FROM shop.sales WHERE amount > 1) s",
    "WITH s AS (SELECT id FROM shop.sales WHERE amount > 2) SELECT id FROM s",
    "SELECT id FROM shop.sales UNION SELECT id FROM shop.copy",
    "SELECT id FROM shop.sales UNION ALL SELECT id FROM shop.copy",
    "SELECT id FROM shop.copy UNION ALL SELECT id FROM shop.sales",
    "SELECT id FROM shop.sales EXCEPT SELECT id FROM shop.copy",
    "SELECT id FROM shop.sales INTERSECT SELECT id FROM shop.copy",
    "SELECT id FROM views.all",
    // what the planner makes by itself
    "SELECT * FROM generate_series(1, 3)", "SELECT * FROM generate_series(1, 4)", "SELECT * FROM generate_series(2, 3)",
    "VALUES (1), (2)", "VALUES (1, 2)", "VALUES (2), (1)", "SELECT * FROM (VALUES (1), (2)) AS v(a)",
    "SELECT unnest(ARRAY[1, 2])", "SELECT unnest(ARRAY[1, 3])", "SELECT ARRAY[1, 2]", "SELECT ARRAY[2, 1]",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 6) SELECT n FROM r",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_two_statements_have_two_keys_and_one_statement_has_one() {
    let shop = Shop::open(SOURCE, VIEW).await;
    let mut known: HashMap<[u8; 32], &str> = HashMap::new();
    for sql in DIFFERENT {
        let key = shop.key("root", sql).await.unwrap_or_else(|| panic!("{sql}: of no kind that is kept"));
        if let Some(other) = known.insert(key.0, sql) {
            panic!("one key:\n{other}\n{sql}");
        }
        assert_eq!(shop.key("root", sql).await, Some(key), "{sql}: two keys");
    }
    println!("{} statements, {} pairs", DIFFERENT.len(), DIFFERENT.len() * (DIFFERENT.len() - 1) / 2);
}

/// A literal among very many: a list of them is where a printed form would be cut short.
#[tokio::test(flavor = "multi_thread")]
async fn no_literal_of_a_long_list_is_lost() {
    let shop = Shop::open(SOURCE, VIEW).await;
    let list = |odd: usize| (0..200).map(|n| if n == odd { "7777".into() } else { n.to_string() }).collect::<Vec<_>>();
    for form in ["SELECT id FROM shop.sales WHERE id IN (@)", "SELECT ARRAY[@]", "SELECT unnest(ARRAY[@])"] {
        let at = |odd: usize| form.replace('@', &list(odd).join(", "));
        assert_ne!(shop.key("root", &at(100)).await, shop.key("root", &at(101)).await, "{form}");
    }
    let mut ink = [Ink::default(), Ink::default()];
    for (ink, odd) in ink.iter_mut().zip([100, 101]) {
        use datafusion::common::ScalarValue;
        let items: Vec<_> = (0..200).map(|n| ScalarValue::from(if n == odd { 7_777i64 } else { n })).collect();
        let list = ScalarValue::new_list_nullable(&items, &arrow::datatypes::DataType::Int64);
        ink.value(&ScalarValue::List(list)).unwrap();
    }
    let [a, b] = ink.map(Ink::finish);
    assert_ne!(a, b);
}

#[tokio::test(flavor = "multi_thread")]
async fn spelling_is_no_difference() {
    let shop = Shop::open(SOURCE, VIEW).await;
    for (one, other) in [
        ("SELECT id FROM shop.sales WHERE id = 1", "select  ID\nFROM \"shop\".SALES where (id) = 1 -- twice"),
        ("SELECT x.id FROM shop.sales x", "SELECT y.id FROM shop.sales AS y"),
        (
            "SELECT id FROM shop.sales WHERE id = 1 AND amount = 2",
            "SELECT id FROM shop.sales WHERE 2 = amount AND id = 1",
        ),
        ("SELECT id FROM shop.sales WHERE amount = 2", "SELECT id FROM shop.sales WHERE amount = 2 AND amount = 2"),
        ("SELECT id FROM shop.sales WHERE id IN (1, 2)", "SELECT id FROM shop.sales WHERE id IN (2, 1, 2)"),
        ("SELECT id FROM shop.sales WHERE id = 1 + 1", "SELECT id FROM shop.sales WHERE id = 2"),
        (
            "SELECT id FROM shop.sales WHERE id > 1 AND amount > 2",
            "SELECT id FROM (SELECT * FROM shop.sales WHERE id > 1) s WHERE amount > 2",
        ),
        (
            "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id = b.id WHERE b.amount > 1 AND a.amount > 2",
            "SELECT b.id FROM shop.sales b JOIN shop.copy a ON b.id = a.id WHERE b.amount > 2 AND a.amount > 1",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
            "WITH RECURSIVE q AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM q WHERE n < 5) SELECT n FROM q",
        ),
        ("SELECT * FROM shop.copy", "SELECT id, amount, region, at FROM shop.copy"),
    ] {
        assert_eq!(shop.key("root", one).await, shop.key("root", other).await, "{one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_one_class_share_and_others_do_not() {
    let shop = Shop::open(SOURCE, VIEW).await;
    let ask = "SELECT count(*) FROM shop.sales";
    let of = async |user: &str| shop.key(user, ask).await.unwrap();
    assert_eq!(of("root").await, of("eve").await);
    assert_eq!(of("eve").await, of("leo").await);
    assert_eq!(of("ann").await, of("tom").await);
    let classes = ["root", "ann", "ben", "mia", "max", "zoe", "kim", "lou"];
    let mut keys = vec![];
    for user in classes {
        keys.push(of(user).await.0);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), classes.len(), "two classes have one key");
    // a dataset below its own filter, where only the body differs
    let other = Shop::open(SOURCE, "SELECT id, amount FROM shop.copy WHERE id > 1").await;
    for user in ["ann", "root"] {
        let ask = "SELECT sum(amount) FROM views.all";
        assert_ne!(shop.key(user, ask).await.unwrap(), other.key(user, ask).await.unwrap(), "{user}");
        assert_eq!(shop.key(user, ask).await, shop.key(user, ask).await);
    }
}

fn offsets(topic_id: &str, spans: Vec<(i32, i64, i64)>) -> Version {
    Version::Offsets { topic_id: topic_id.into(), spans }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_settings_and_sources_are_part_of_it() {
    let shop = Shop::open(SOURCE, VIEW).await;
    let ask = "SELECT at::text FROM shop.sales";
    let mut keys = vec![];
    for version in [
        Version::Fixed(1),
        Version::Fixed(2),
        Version::Snapshot(None),
        Version::Snapshot(Some(0)),
        Version::Snapshot(Some(1)),
        Version::Fresh(Some(1), 1),
        Version::Fresh(Some(1), 2),
        Version::Fresh(None, 2),
        offsets("t", vec![]),
        offsets("t", vec![(0, 0, 10)]),
        offsets("t", vec![(0, 0, 11)]),
        offsets("t", vec![(0, 1, 10)]),
        offsets("t", vec![(1, 0, 10)]),
        offsets("t", vec![(0, 0, 10), (1, 0, 0)]),
        offsets("made anew", vec![(0, 0, 10)]),
    ] {
        keys.push(shop.key_with("root", ask, &[], |_| version.clone()).await.unwrap().0);
    }
    for set in [("timezone", "Europe/Berlin"), ("timezone", "Asia/Tokyo"), ("search_path", "shop")] {
        keys.push(shop.key_with("root", ask, &[set], |_| Version::Fixed(1)).await.unwrap().0);
    }
    let other = Shop::open(&format!("{SOURCE}# another file\n"), VIEW).await;
    keys.push(other.key_with("root", ask, &[], |_| Version::Fixed(1)).await.unwrap().0);
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
    assert_eq!(shop.key_with("root", ask, &[], |_| Version::Live).await, None);
    // a table that is only in a subquery counts as any other
    let deep = "SELECT 1 WHERE EXISTS (SELECT 1 FROM shop.sales)";
    let at = async |n| shop.key_with("root", deep, &[], move |_| Version::Fixed(n)).await.unwrap();
    assert_ne!(at(1).await, at(2).await);
    assert_eq!(shop.key_with("root", deep, &[], |_| Version::Live).await, None);
    // the body of a dataset under a filter of its own stands inside a provider
    let body = "SELECT count(*) FROM views.all";
    let at = async |n| shop.key_with("ann", body, &[], move |_| Version::Fixed(n)).await.unwrap();
    assert_ne!(at(1).await, at(2).await);
    assert_eq!(shop.key_with("ann", body, &[], |_| Version::Live).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_different_next_time_has_no_key() {
    let shop = Shop::open(SOURCE, "SELECT id, amount FROM shop.copy WHERE at < now()").await;
    for sql in [
        "SELECT now()",
        "SELECT current_timestamp",
        "SELECT current_date",
        "SELECT random()",
        "SELECT current_user",
        "SELECT session_user",
        "SELECT current_schemas(true)",
        "SELECT current_setting('TimeZone')",
        "SELECT pg_backend_pid()",
        "SELECT version()",
        "SELECT has_table_privilege('shop.sales', 'select')",
        "SELECT 'shop.sales'::regclass",
        "SELECT id FROM shop.sales WHERE at < now()",
        "SELECT id FROM shop.sales ORDER BY random()",
        "SELECT id FROM shop.sales WHERE CASE WHEN random() < 2 THEN true ELSE false END",
        "SELECT count(*) FILTER (WHERE at < now()) FROM shop.sales",
        "SELECT sum(id) OVER (PARTITION BY at < now()) FROM shop.sales",
        "SELECT id FROM shop.sales WHERE id = (SELECT max(id) FROM shop.copy WHERE at < now())",
        "SELECT id FROM shop.sales WHERE EXISTS (SELECT 1 FROM shop.copy WHERE random() < 2)",
        "SELECT id FROM shop.sales WHERE id IN (SELECT id FROM shop.copy WHERE at < current_date)",
        "SELECT a.id FROM shop.sales a JOIN shop.copy b ON a.id = b.id AND b.at < now()",
        "SELECT 1 UNION ALL SELECT random()",
        "WITH s AS (SELECT now() AS n) SELECT 1 FROM s",
        "VALUES (1, now())",
        "SELECT relname FROM pg_catalog.pg_class",
        "SELECT table_name FROM information_schema.tables",
        "SELECT id FROM shop.sales WHERE region IN (SELECT relname FROM pg_catalog.pg_class)",
        "SELECT id FROM views.all",
    ] {
        assert_eq!(shop.key("root", sql).await, None, "{sql}");
    }
    assert_eq!(shop.key("ann", "SELECT id FROM views.all").await, None);
}

fn asked(query: datafusion::sql::sqlparser::ast::Query, text: &str) -> pipeline::Asked {
    pipeline::Asked {
        what: pipeline::What::Query(Deep::new(query)),
        told: pipeline::Told { text: text.into(), ..pipeline::Told::default() },
    }
}
