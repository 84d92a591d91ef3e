//! Where a table, a column or a statement can hide: every wrapper of a statement (attack 6), every spelling of the whole
//! row (attack 20), every place the grammar has for a table (attack 21).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::oracle::{Oracle, Over, fill};
use crate::gateway::simple;

/// What stands inside a wrapper: questions, and what would change something.
const INNER: &[&str] = &[
    "SELECT * FROM {t}",
    "SELECT confession FROM {t}",
    "SELECT max(salary) FROM {t} WHERE 1 / (salary - 20) > 0",
    "INSERT INTO {t} (id, region) VALUES (77, 'EU')",
    "INSERT INTO {d} SELECT id, name, ssn FROM {t}",
    "UPDATE {t} SET region = 'EU'",
    "DELETE FROM {t} WHERE id IN (SELECT id FROM {t})",
    "MERGE INTO {t} USING {d} ON {t}.id = {d}.id WHEN MATCHED THEN DELETE",
    "TRUNCATE {t}",
    "DROP TABLE {t}",
    "ALTER TABLE {t} ADD COLUMN x int",
    "CREATE TABLE lake.mine AS SELECT * FROM {t}",
    "CREATE VIEW lake.mine AS SELECT * FROM {t}",
    "COPY {t} TO STDOUT",
    "GRANT SELECT ON {t} TO ann",
    "SET ROLE root",
    "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT * FROM {t}",
    "SHOW TABLES",
    "DESCRIBE {t}",
    "CALL lakegate.refresh()",
    "CALL lakegate.compact('{t}')",
    "CALL lakegate.remove_orphans('{t}')",
];

const WRAPPERS: &[&str] = &[
    "{}",
    "EXPLAIN {}",
    "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {}",
    "EXPLAIN (FORMAT JSON, VERBOSE) {}",
    "EXPLAIN VERBOSE {}",
    "DECLARE c CURSOR FOR {}",
    "DECLARE c CURSOR WITH HOLD FOR {}",
    "COPY ({}) TO STDOUT",
    "COPY ({}) TO '/tmp/lakegate-out'",
    "COPY ({}) TO PROGRAM 'cat'",
    "CREATE TABLE lake.w AS {}",
    "CREATE VIEW lake.w AS {}",
    "CREATE MATERIALIZED VIEW lake.w AS {}",
    "CREATE TEMP TABLE w AS {}",
    "INSERT INTO lake.dept {}",
    "WITH w AS ({}) SELECT * FROM w",
    "WITH w AS MATERIALIZED ({}) SELECT count(*) FROM w",
    "SELECT * FROM ({}) AS w",
    "SELECT ({})",
    "SELECT ARRAY({})",
    "SELECT EXISTS ({})",
    "({}) UNION ALL ({})",
    "DO $$ BEGIN {}; END $$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE SQL AS $$ {} $$",
    "PREPARE w AS EXPLAIN {}",
    "CREATE RULE r AS ON SELECT TO {t} DO INSTEAD {}",
    "SELECT * FROM query('{}')",
    "EXECUTE IMMEDIATE '{}'",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_wrapper_dodges_the_statement_check() {
    let oracle = Oracle::start().await;
    let statements = INNER.iter().flat_map(|inner| WRAPPERS.iter().map(move |w| w.replace("{}", inner)));
    let answers = oracle.judge_all(statements, Over::AandB).await;
    assert_eq!(answers.len(), INNER.len() * WRAPPERS.len() * 2);
    for (sql, answer) in &answers {
        let writes = ["INSERT", "UPDATE", "DELETE", "CREATE TABLE", "VIEW", "TO '/", "TO PROGRAM"];
        let copies = sql.starts_with("COPY") && sql.ends_with("TO STDOUT");
        let asks = (sql.contains("SELECT") || copies) && !writes.iter().any(|w| sql.contains(w));
        // rights are the policy's: a GRANT says that it granted nothing
        let idle = sql.starts_with("GRANT");
        assert!(asks || idle || answer.starts_with("ERROR"), "{sql}: {answer}");
        let internal = answer.starts_with("ERROR XX");
        assert!(!internal, "{sql}: {answer}");
    }
    // PREPARE is a statement of ours: what it keeps is judged like the statement itself, and again at EXECUTE
    let client = oracle.a().connect("ann").await;
    for schema in ["hr", "lake"] {
        for (n, inner) in INNER.iter().enumerate() {
            let inner = fill(inner, schema);
            let prepared = simple(&client, &format!("PREPARE {schema}{n} AS {inner}")).await;
            let executed = simple(&client, &format!("EXECUTE {schema}{n}")).await;
            let direct = simple(&client, &inner).await;
            // PostgreSQL prepares none of these
            let is_unprepared = ["EXPLAIN", "COPY", "GRANT"].iter().any(|word| inner.starts_with(word));
            match direct.starts_with("ERROR") || is_unprepared {
                true => assert!(executed.starts_with("ERROR"), "{inner}: {prepared} {executed}"),
                false => assert_eq!(executed, direct, "{inner}"),
            }
            assert!(!executed.contains("CNRY"), "{inner}: {executed}");
        }
    }
    let root = oracle.a().connect("root").await;
    for (table, rows) in [("hr.emp", 7), ("lake.emp", 7), ("hr.dept", 6), ("lake.dept", 6)] {
        assert_eq!(simple(&root, &format!("SELECT count(*) FROM {table}")).await, format!("{rows}\n(1)"), "{table}");
    }
    assert!(simple(&root, "SELECT * FROM lake.mine").await.starts_with("ERROR 42P01"));
    assert!(simple(&root, "SELECT * FROM lake.w").await.starts_with("ERROR 42P01"));
}

/// Two worlds that differ in hidden rows have one plan, one set of figures, and nothing of the policy in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_explained_plan_ends_at_the_barrier() {
    let oracle = Oracle::start().await;
    let queries = [
        "SELECT * FROM {t}",
        "SELECT id, ssn FROM {t} WHERE id > 1",
        "SELECT count(*) FROM {t} WHERE id + 0 > 1",
        "SELECT region, count(*), max(id) FROM {t} GROUP BY region ORDER BY 2 DESC LIMIT 2",
        "SELECT e.id FROM {t} e JOIN {d} d ON d.id = e.id WHERE d.title <> 'x'",
        "SELECT id FROM {t} WHERE id IN (SELECT id FROM {d})",
        "SELECT id, rank() OVER (ORDER BY id) FROM {t} UNION ALL SELECT id, 1 FROM {d}",
    ];
    let forms = [
        "",
        "VERBOSE",
        "(ANALYZE, TIMING OFF, SUMMARY OFF)",
        "(ANALYZE, VERBOSE, TIMING OFF, SUMMARY OFF)",
        "(FORMAT JSON)",
        "(ANALYZE, VERBOSE, TIMING OFF, SUMMARY OFF, FORMAT JSON)",
    ];
    let statements = queries.iter().flat_map(|q| forms.iter().map(move |form| format!("EXPLAIN {form} {q}")));
    for (sql, answer) in oracle.judge_all(statements, Over::AandB).await {
        assert!(answer.contains("PolicyScan"), "{sql}: {answer}");
        for line in answer.lines().filter(|line| line.contains("PolicyScan")) {
            assert!(!line.contains("actual"), "{sql}: {line}");
        }
    }
}

/// The denied column, by its name or by whatever means the whole row.
const WHOLE_ROW: &[&str] = &[
    "SELECT * FROM {t} ORDER BY id",
    "SELECT emp.* FROM {t} ORDER BY id",
    "SELECT {t}.* FROM {t} ORDER BY id",
    "SELECT lakegate.{t}.* FROM {t}",
    "SELECT e.*, e.* FROM {t} e",
    "SELECT e FROM {t} e",
    "SELECT (e) FROM {t} e",
    "SELECT (e).confession FROM {t} e",
    "SELECT (e.*).confession FROM {t} e",
    "SELECT ROW(e.*) FROM {t} e",
    "SELECT ROW(e) FROM {t} e",
    "SELECT to_json(e) FROM {t} e",
    "SELECT row_to_json(e) FROM {t} e",
    "SELECT array_agg(e) FROM {t} e",
    "SELECT json_agg(e.*) FROM {t} e",
    "SELECT count(e) FROM {t} e",
    "SELECT count(e.*) FROM {t} e",
    "SELECT e::text FROM {t} e",
    "SELECT max(e) FROM {t} e",
    "SELECT coalesce(e, e) FROM {t} e",
    "SELECT * EXCEPT (id) FROM {t}",
    "SELECT * EXCLUDE (id) FROM {t}",
    "SELECT * REPLACE (confession AS name) FROM {t}",
    "SELECT * RENAME (confession AS c) FROM {t}",
    "SELECT * ILIKE '%conf%' FROM {t}",
    "SELECT COLUMNS('conf.*') FROM {t}",
    "SELECT confession FROM {t}",
    "SELECT Confession FROM {t}",
    "SELECT \"confession\" FROM {t}",
    "SELECT U&\"confessio\\006E\" FROM {t}",
    "SELECT e.\"confession\" FROM {t} e",
    "SELECT {t}.confession FROM {t}",
    "SELECT emp.confession FROM {t}",
    "SELECT lakegate.{t}.confession FROM {t}",
    "SELECT x.c FROM {t} AS x(a, b, d, e, f, g, h, c)",
    "SELECT x.c FROM {t} AS x(a, b, d, e, f, g, h, i, c)",
    "SELECT * FROM (SELECT * FROM {t}) AS x(a, b, d, e, f, g, h, i, c)",
    "WITH x(a, b, d, e, f, g, h, i, c) AS (SELECT * FROM {t}) SELECT c FROM x",
    "WITH x AS (SELECT * FROM {t}) SELECT confession FROM x",
    "WITH x AS (SELECT confession FROM {t}) SELECT 1 FROM x",
    "SELECT id FROM {t} WHERE confession IS NOT NULL",
    "SELECT id FROM {t} WHERE (id, confession) = (1, 'x')",
    "SELECT id FROM {t} WHERE (id, confession) IN (SELECT id, title FROM {d})",
    "SELECT id FROM {t} e WHERE e = e",
    "SELECT id FROM {t} e WHERE e IS NOT NULL",
    "SELECT id FROM {t} e WHERE EXISTS (SELECT e.confession)",
    "SELECT id FROM {t} ORDER BY confession",
    "SELECT id FROM {t} ORDER BY 9",
    "SELECT 1 FROM {t} GROUP BY confession",
    "SELECT confession, count(*) FROM {t} GROUP BY ALL",
    "SELECT count(*) FROM {t} HAVING max(confession) > ''",
    "SELECT DISTINCT ON (confession) id FROM {t}",
    "SELECT id, rank() OVER (ORDER BY confession) FROM {t}",
    "SELECT id, count(*) OVER w FROM {t} WINDOW w AS (PARTITION BY confession)",
    "SELECT a.id FROM {t} a JOIN {t} b USING (confession)",
    "SELECT a.id FROM {t} a JOIN {t} b ON a.confession = b.confession",
    "SELECT * FROM {t} a NATURAL JOIN {t} b ORDER BY id",
    "SELECT * FROM {t} UNION SELECT * FROM {t} ORDER BY 1",
    "SELECT * FROM {t} INTERSECT SELECT * FROM {t} ORDER BY 1",
    "SELECT * FROM {t} EXCEPT SELECT * FROM {g} ORDER BY 1",
    "TABLE {t} ORDER BY 1",
    "SELECT string_agg(confession, ',') FROM {t}",
    "SELECT count(*) FILTER (WHERE confession <> '') FROM {t}",
    "SELECT CASE WHEN confession LIKE 'C%' THEN 1 END FROM {t}",
    "SELECT l.* FROM {d} d, LATERAL (SELECT confession FROM {t}) l",
    "SELECT unnest(array_agg(confession)) FROM {t}",
    "SELECT get_field(e, 'confession') FROM {t} e",
    "SELECT named_struct('c', confession) FROM {t}",
    "SELECT id FROM {t} LIMIT (SELECT length(confession) FROM {t} WHERE id = 1)",
    "VALUES ((SELECT confession FROM {t} LIMIT 1))",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_the_whole_row_holds_a_denied_column() {
    assert!(WHOLE_ROW.len() >= 60);
    let oracle = Oracle::start().await;
    let answers = oracle.judge_all(WHOLE_ROW.iter().map(ToString::to_string), Over::AandB).await;
    for (sql, answer) in answers {
        let named = sql.to_lowercase().contains("confession");
        assert!(!named || answer.starts_with("ERROR"), "{sql}: {answer}");
        assert!(!answer.starts_with("ERROR XX"), "{sql}: {answer}");
    }
}

/// A table in every production of the grammar, in the dialects that have them.
const FACTORS: &[&str] = &[
    "SELECT max(salary) FROM {t}",
    "SELECT max(salary) FROM {t} AS e (a, b, c, salary)",
    "SELECT max(salary) FROM {t} TABLESAMPLE BERNOULLI (100)",
    "SELECT max(salary) FROM {t} FOR SYSTEM_TIME AS OF '2030-01-01'",
    "SELECT max(salary) FROM {t} WITH (NOLOCK)",
    "SELECT max(salary) FROM {t} PARTITION (p0)",
    "SELECT max(salary) FROM {t} WITH ORDINALITY",
    "SELECT max(salary) FROM ONLY {t}",
    "SELECT max(salary) FROM {t} *",
    "SELECT max(salary) FROM {t} FINAL",
    "SELECT max(salary) FROM (SELECT * FROM {t}) AS e",
    "SELECT max(salary) FROM (TABLE {t}) AS e",
    "SELECT max(salary) FROM (VALUES (1)) AS v(n), LATERAL (SELECT salary FROM {t} WHERE id >= n) AS l",
    "SELECT * FROM TABLE(emp)",
    "SELECT * FROM TABLE({t})",
    "SELECT * FROM LATERAL FLATTEN(input => (SELECT array_agg(salary) FROM {t}))",
    "SELECT * FROM generate_series(1, (SELECT max(salary) FROM {t}))",
    "SELECT * FROM emp('x')",
    "SELECT * FROM {t}('x')",
    "SELECT u FROM UNNEST((SELECT array_agg(salary ORDER BY salary) FROM {t})) AS u(u)",
    "SELECT u FROM UNNEST(ARRAY[1, 2]) AS u(u) JOIN {t} e ON e.id = u ORDER BY 1",
    "SELECT * FROM JSON_TABLE((SELECT max(secret) FROM {t}), '$[*]' COLUMNS (a INT PATH '$.a')) AS j",
    "SELECT * FROM OPENJSON((SELECT max(secret) FROM {t}))",
    "SELECT max(a.salary) FROM ({t} a JOIN {d} b ON a.id = b.id)",
    "SELECT max(a.salary) FROM ({t} a CROSS JOIN ({d} b CROSS JOIN {t} c))",
    "SELECT * FROM {t} PIVOT (sum(salary) FOR region IN ('EU', 'US')) AS p",
    "SELECT * FROM {t} UNPIVOT (v FOR n IN (salary, bonus)) AS u",
    "SELECT * FROM {t} MATCH_RECOGNIZE (ORDER BY id MEASURES last(salary) AS s PATTERN (a+) DEFINE a AS salary > 0) AS m",
    "SELECT * FROM XMLTABLE('/r' PASSING (SELECT max(secret) FROM {t}) COLUMNS a int PATH 'a') AS x",
    "SELECT max(salary) FROM {d} d JOIN {t} e USING (id)",
    "SELECT max(salary) FROM {d} d SEMI JOIN {t} e ON d.id = e.id",
    "SELECT d.id FROM {d} d LEFT SEMI JOIN {t} e ON d.id = e.id ORDER BY 1",
    "SELECT d.id FROM {d} d LEFT ANTI JOIN {t} e ON d.id = e.id ORDER BY 1",
    "SELECT max(salary) FROM {d} d CROSS APPLY (SELECT * FROM {t} e WHERE e.id = d.id) x",
    "SELECT max(e.salary) FROM {d} d ASOF JOIN {t} e MATCH_CONDITION (d.id >= e.id) ON d.id = e.id",
    "FROM {t} SELECT max(salary)",
    "FROM {t}",
    "FROM {t} |> AGGREGATE max(salary)",
    "SELECT * FROM {t} AS OF TIMESTAMP '2020-01-01'",
    "SELECT (SELECT max(salary) FROM {t}), ARRAY(SELECT salary FROM {t} ORDER BY 1)",
    "WITH RECURSIVE r AS (SELECT max(salary) AS s FROM {t} UNION ALL SELECT s - 30 FROM r WHERE s > 30) SELECT * FROM r",
    "SELECT * FROM SEMANTIC_VIEW({t} METRICS salary)",
];

/// The production a table stands in. No `_`: a new one of the parser's must be named here and get a row above.
fn production(factor: &TableFactor) -> &'static str {
    match factor {
        TableFactor::Table { .. } => "Table",
        TableFactor::Derived { .. } => "Derived",
        TableFactor::TableFunction { .. } => "TableFunction",
        TableFactor::Function { .. } => "Function",
        TableFactor::UNNEST { .. } => "UNNEST",
        TableFactor::JsonTable { .. } => "JsonTable",
        TableFactor::OpenJsonTable { .. } => "OpenJsonTable",
        TableFactor::NestedJoin { .. } => "NestedJoin",
        TableFactor::Pivot { .. } => "Pivot",
        TableFactor::Unpivot { .. } => "Unpivot",
        TableFactor::MatchRecognize { .. } => "MatchRecognize",
        TableFactor::XmlTable { .. } => "XmlTable",
        TableFactor::SemanticView { .. } => "SemanticView",
    }
}

const PRODUCTIONS: usize = 13;

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_table_is_restricted_in_every_place_of_the_grammar() {
    use datafusion::sql::sqlparser::dialect::{MsSqlDialect, MySqlDialect, PostgreSqlDialect, SnowflakeDialect};
    struct Productions(BTreeSet<&'static str>);
    impl Visitor for Productions {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0.insert(production(factor));
            ControlFlow::Continue(())
        }
    }
    let mut seen = Productions(BTreeSet::new());
    for sql in FACTORS {
        let sql = fill(sql, "hr");
        let parsed = Parser::parse_sql(&GenericDialect {}, &sql)
            .or_else(|_| Parser::parse_sql(&PostgreSqlDialect {}, &sql))
            .or_else(|_| Parser::parse_sql(&SnowflakeDialect {}, &sql))
            .or_else(|_| Parser::parse_sql(&MySqlDialect {}, &sql))
            .or_else(|_| Parser::parse_sql(&MsSqlDialect {}, &sql));
        if let Ok(parsed) = parsed {
            let _ = parsed.visit(&mut seen);
        }
    }
    assert_eq!(seen.0.len(), PRODUCTIONS, "{:?}", seen.0);

    let oracle = Oracle::start().await;
    // a refusal is as good as the right answer: over the copy the same sentence is refused alike
    let answers = oracle.judge_all(FACTORS.iter().map(ToString::to_string), Over::All).await;
    assert!(answers.iter().filter(|(_, a)| !a.starts_with("ERROR")).count() >= 20, "{answers:#?}");
    assert!(answers.iter().all(|(_, a)| !a.starts_with("ERROR XX")), "{answers:#?}");
}

/// An object of the user's making never stands in for one a policy or a dataset names (attack 36).
#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_user_names_stands_in_for_what_a_policy_names() {
    let oracle = Oracle::start().await;
    let shadows = [
        "WITH emp AS (SELECT * FROM {d}) SELECT max(salary) FROM {t}",
        "WITH \"hr.emp\" AS (SELECT 99 AS id, 9 AS salary) SELECT * FROM views.team ORDER BY 1",
        "WITH emp AS (SELECT 99 AS id, 9 AS salary) SELECT * FROM views.team ORDER BY 1",
        "WITH hr AS (SELECT 1), team AS (SELECT 2 AS id) SELECT * FROM views.team ORDER BY 1",
        "WITH \"user\" AS (SELECT 'US' AS region) SELECT id, region FROM {t} ORDER BY 1",
        "WITH redact AS (SELECT 1) SELECT ssn FROM {t} ORDER BY 1",
        "SELECT 'US' AS region, id FROM {t} WHERE region = 'EU' ORDER BY 2",
        "SELECT region FROM (SELECT 'EU' AS region, id FROM {t}) e ORDER BY 1",
        "SELECT id FROM {t} AS \"user\" ORDER BY id",
        "SELECT \"user\".region FROM {t} AS \"user\" ORDER BY 1",
        "SELECT id FROM {t} AS user_region(id, name, policy, region, a, b, c, d) ORDER BY 1",
        "SELECT id FROM {t} e(id, name, ssn, region, a, b, c, d) WHERE ssn = 'US' ORDER BY 1",
        "CREATE TABLE hr.emp2 AS SELECT 1 AS id",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION lower(text) RETURNS text LANGUAGE SQL AS 'SELECT $1'",
        "CREATE VIEW emp AS SELECT 1",
    ];
    let answers = oracle.judge_all(shadows.map(String::from), Over::All).await;
    assert!(answers.iter().all(|(sql, a)| sql.starts_with("CREATE") == a.starts_with("ERROR")), "{answers:#?}");
    let client = oracle.a().connect("ann").await;
    let before = simple(&client, "SELECT * FROM views.team ORDER BY 1").await;
    for path in ["lake, hr", "lake", "\"$user\", lake", "hr", ""] {
        assert_eq!(simple(&client, &format!("SET search_path TO '{path}'")).await, "(0)", "{path}");
        assert_eq!(simple(&client, "SELECT * FROM views.team ORDER BY 1").await, before, "{path}");
    }
    // a temporary table comes before every other of its name, for its session's own statements alone
    let made = simple(&client, "CREATE TEMP TABLE emp AS SELECT 99 AS id, 'US' AS region, 9 AS salary").await;
    assert!(!made.starts_with("ERROR"), "{made}");
    assert_eq!(simple(&client, "SELECT id FROM emp").await, "99\n(1)");
    assert_eq!(simple(&client, "SELECT * FROM views.team ORDER BY 1").await, before);
    assert_eq!(simple(&client, "SELECT count(*) FROM hr.emp WHERE id = 99").await, "0\n(1)");
    let other = oracle.a().connect("ann").await;
    assert!(simple(&other, "SELECT id FROM pg_temp.emp").await.starts_with("ERROR 42P01"));
}
