//! Hostile statements (policy.md's attacks 1, 8, 9, 17–21, 33, 36, 51) under the three oracles. `{t}` is the restricted
//! table, `{g}` one of which only hidden rows exist, `{d}` one that is granted in full.

use super::oracle::{Oracle, Over, fill};
use super::{World, both};
use crate::gateway::simple;

/// Statements that have found leaks in gateways like this one. Each is ordered or one row, so that order tells nothing.
const ATTACKS: &[&str] = &[
    // an error that only a hidden row could raise
    "SELECT id FROM {t} WHERE 1 / (salary - 20) = 7",
    "SELECT id FROM {t} WHERE 1 / (salary - 20) >= 0 ORDER BY id",
    "SELECT id, 1 / (salary - 20) AS x FROM {t} ORDER BY id",
    "SELECT id FROM {t} WHERE secret::int > 0 ORDER BY id",
    "SELECT sum(secret::int) FROM {t}",
    "SELECT id FROM {t} WHERE CASE WHEN region = 'US' THEN 1 / (salary - salary) ELSE 1 END = 1 ORDER BY id",
    "SELECT id FROM {t} WHERE coalesce(1 / nullif(salary - 20, 0), 1 / (salary - 20)) IS NOT NULL ORDER BY id",
    "SELECT count(*) FROM {t} WHERE length(repeat('x', salary)) > 20",
    "SELECT id FROM {t} WHERE secret::int > 0 OR id = 1 ORDER BY id",
    "SELECT id FROM {t} WHERE NOT (secret::int < 0) ORDER BY id",
    "SELECT a.id FROM {t} a JOIN {t} b ON 1 / (a.salary - 20) = b.id ORDER BY 1",
    "SELECT a.id FROM {d} a JOIN {t} b ON a.id = b.id AND 1 / (b.salary - 20) >= 0 ORDER BY 1",
    "SELECT region, sum(1 / (salary - 20)) FROM {t} GROUP BY region ORDER BY 1",
    "SELECT id FROM {t} ORDER BY 1 / (salary - 20), id",
    "SELECT max(1 / (salary - 20)) FROM {t} HAVING min(1 / (salary - 99)) < 5",
    "SELECT id FROM {g} WHERE 1 / (salary - salary) = 1",
    "SELECT id FROM {g} WHERE random() < 2 AND secret::int = 1",
    "SELECT id FROM {g} WHERE (SELECT count(*) FROM {d}) > 1",
    // extremes and counts that hidden rows hold
    "SELECT min(salary), max(salary), count(*), count(region) FROM {t}",
    "SELECT min(id), max(id), min(name), max(name) FROM {t}",
    "SELECT count(*), max(id) FROM {g}",
    "SELECT max(salary) FROM {t} WHERE region <> 'EU'",
    "SELECT id FROM {t} ORDER BY salary DESC, id LIMIT 1",
    "SELECT id FROM {t} ORDER BY salary LIMIT 2 OFFSET 1",
    "SELECT id FROM {t} ORDER BY ssn, id LIMIT 1",
    "SELECT id FROM {t} ORDER BY bonus DESC NULLS LAST, id LIMIT 2",
    "SELECT approx_distinct(region) FROM {t}",
    "SELECT count(DISTINCT region), count(DISTINCT ssn), count(DISTINCT bonus) FROM {t}",
    // the row filter cannot be widened
    "SELECT id FROM {t} WHERE region = 'US'",
    "SELECT id FROM {t} WHERE region IS NULL",
    "SELECT id FROM {t} WHERE region = 'EU' OR true ORDER BY id",
    "SELECT id FROM {t} WHERE region IN ('EU', 'US') ORDER BY id",
    "SELECT DISTINCT region FROM {t} ORDER BY 1",
    "SELECT DISTINCT ON (region) region, id FROM {t} ORDER BY region, salary DESC, id",
    "SELECT t.region FROM {t} t FULL JOIN {d} d ON t.id = d.id ORDER BY 1",
    "SELECT d.id FROM {d} d LEFT JOIN {t} e ON e.id = d.id WHERE e.id IS NULL ORDER BY 1",
    "SELECT d.id FROM {d} d WHERE NOT EXISTS (SELECT 1 FROM {t} e WHERE e.id = d.id) ORDER BY 1",
    "SELECT d.id FROM {d} d WHERE d.id NOT IN (SELECT id FROM {t}) ORDER BY 1",
    // masked values by equality, order, grouping, ranking, windows
    "SELECT id FROM {t} WHERE ssn = 'S-111'",
    "SELECT id FROM {t} WHERE ssn LIKE 'S-%'",
    "SELECT id FROM {t} WHERE ssn > 'S' ORDER BY id",
    "SELECT e.id FROM {t} e JOIN {d} d ON e.ssn = d.guess AND d.id <> 0 ORDER BY 1",
    "SELECT e.id, d.title FROM {t} e JOIN {d} d ON e.ssn = d.guess ORDER BY 1, 2",
    "SELECT id FROM {t} WHERE ssn IN (SELECT guess FROM {d} WHERE id <> 0)",
    "SELECT ssn, count(*) FROM {t} GROUP BY ssn ORDER BY 1",
    "SELECT id, rank() OVER (ORDER BY ssn) AS r FROM {t} ORDER BY id",
    "SELECT id, lag(ssn) OVER (ORDER BY id) AS r FROM {t} ORDER BY id",
    "SELECT id, sum(bonus) OVER (ORDER BY id) AS r FROM {t} ORDER BY id",
    "SELECT id, ntile(2) OVER (ORDER BY bonus, id) AS r FROM {t} ORDER BY id",
    "SELECT length(ssn), upper(ssn), substr(ssn, 1, 1) FROM {t} ORDER BY 1, 2, 3",
    "SELECT a.id, b.id FROM {t} a JOIN {t} b ON a.ssn = b.ssn AND a.id < b.id ORDER BY 1, 2",
    "SELECT id FROM {t} WHERE bonus > 5 OR bonus IS NULL ORDER BY id",
    "SELECT min(ssn), max(ssn), sum(bonus) FROM {t}",
    "SELECT string_agg(ssn, ',' ORDER BY id) FROM {t}",
    "SELECT array_agg(bonus ORDER BY id) FROM {t}",
    // the denied column through whatever means the whole row
    "SELECT * FROM {t} ORDER BY id",
    "SELECT e.* FROM {t} e ORDER BY id",
    "TABLE {t} ORDER BY 1",
    "SELECT count(*) FROM (SELECT * FROM {t}) AS x",
    "SELECT * FROM {t} UNION SELECT * FROM {t} ORDER BY 1",
    "SELECT * FROM {t} NATURAL JOIN {d} ORDER BY 1",
    "SELECT * FROM (SELECT * FROM {t}) AS x(a, b, c, d, e, f, g, h) ORDER BY a",
    "WITH x AS (SELECT * FROM {t}) SELECT * FROM x ORDER BY 1",
    // restricted tables where tables hide
    "SELECT (SELECT max(salary) FROM {t})",
    "SELECT id, (SELECT count(*) FROM {t} e WHERE e.id >= d.id) AS n FROM {d} d ORDER BY 1",
    "SELECT id FROM {d} WHERE id = (SELECT max(id) FROM {t})",
    "SELECT id FROM {d} WHERE EXISTS (SELECT 1 FROM {t} WHERE region = 'US') ORDER BY 1",
    "SELECT id FROM {d} WHERE id IN (SELECT id FROM {t} WHERE salary > (SELECT min(salary) FROM {t})) ORDER BY 1",
    "SELECT id FROM {d} ORDER BY (SELECT max(salary) FROM {t}), id",
    "SELECT CASE WHEN (SELECT count(*) FROM {t}) > 5 THEN 'many' ELSE 'few' END",
    "SELECT (SELECT max(salary) FROM {t}) AS g, count(*) FROM {d} GROUP BY 1",
    "SELECT count(*) FROM {d} HAVING count(*) > (SELECT count(*) FROM {t})",
    "WITH c AS (SELECT * FROM {t}) SELECT a.id FROM c a JOIN c b ON a.salary = b.salary ORDER BY 1",
    "WITH RECURSIVE r AS (SELECT id, salary FROM {t} WHERE id = 1 UNION ALL SELECT e.id, e.salary FROM {t} e JOIN r ON e.id = r.id + 1) SELECT * FROM r ORDER BY 1",
    "WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT e.id FROM {t} e JOIN r ON e.id = r.id + 1 WHERE 1 / (e.salary - 20) >= 0) SELECT * FROM r ORDER BY 1",
    "SELECT d.id, l.m FROM {d} d LEFT JOIN LATERAL (SELECT max(salary) AS m FROM {t} e WHERE e.id = d.id) l ON true ORDER BY 1",
    "SELECT id FROM {t} UNION SELECT id FROM {d} ORDER BY 1",
    "SELECT id FROM {d} INTERSECT SELECT id FROM {t} ORDER BY 1",
    "SELECT id FROM {d} EXCEPT SELECT id FROM {t} ORDER BY 1",
    "SELECT id FROM {t} WHERE salary > 100 UNION SELECT id FROM {t} WHERE 1 / (salary - 20) >= 0 ORDER BY 1",
    "SELECT region, ssn, count(*) FROM {t} GROUP BY GROUPING SETS ((region), (ssn), ()) ORDER BY 1, 2, 3",
    "SELECT unnest(a) AS u FROM (SELECT array_agg(salary ORDER BY salary) AS a FROM {t}) AS s ORDER BY 1",
    "SELECT * FROM views.team ORDER BY 1",
    "SELECT * FROM views.pay ORDER BY 1",
    "SELECT max(salary) FROM views.pay",
    "SELECT id FROM views.pay WHERE 1 / (salary - 20) >= 0 ORDER BY 1",
    "SELECT p.id FROM views.pay p JOIN {t} e ON p.id = e.id AND p.ssn = e.ssn ORDER BY 1",
    // names of the user's own cannot stand in for the policy's
    "WITH emp AS (SELECT id, 'EU' AS region FROM {d}) SELECT * FROM emp ORDER BY 1",
    "WITH \"hr.emp\" AS (SELECT id FROM {d}) SELECT max(salary) FROM {t}",
    "SELECT id, 'EU' AS region FROM {t} WHERE region = 'EU' ORDER BY 1",
    // plain questions, so that a gateway that refuses everything fails
    "SELECT id, name FROM {t} WHERE salary = 30 ORDER BY id",
    "SELECT id FROM {t} WHERE active AND salary IN (30, 55) ORDER BY id",
    "SELECT id FROM {t} WHERE name IS NOT NULL AND id >= 3 ORDER BY id",
];

#[tokio::test(flavor = "multi_thread")]
async fn two_worlds_and_the_prefiltered_copy_answer_alike() {
    let oracle = Oracle::start().await;
    let answers = oracle.judge_all(ATTACKS.iter().map(ToString::to_string), Over::All).await;
    // answers, not refusals, are what was compared
    let errors: Vec<_> = answers.iter().filter(|(_, answer)| answer.starts_with("ERROR")).collect();
    assert!(errors.len() < answers.len() / 9, "{} answers, errors: {errors:#?}", answers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_column_cannot_be_named() {
    let world = World::A.start().await;
    for schema in ["hr", "lake"] {
        for sql in [
            "SELECT confession FROM {t}",
            "SELECT e.confession FROM {t} e",
            "SELECT id FROM {t} WHERE confession = 'x'",
            "SELECT id FROM {t} ORDER BY confession",
            "SELECT count(confession) FROM {t}",
            "SELECT id FROM {t} GROUP BY confession",
            "SELECT (SELECT max(confession) FROM {t})",
            "SELECT a.id FROM {t} a JOIN {t} b USING (confession)",
            "SELECT confession AS n FROM {t} UNION SELECT title FROM {d}",
        ] {
            let sql = fill(sql, schema);
            for answer in both(&world, "ann", &sql).await {
                assert!(answer.starts_with("ERROR 42703"), "{sql}: {answer}");
                assert!(!answer.contains("CNRY"), "{sql}: {answer}");
            }
        }
        let [plain, _] = both(&world, "ann", &fill("SELECT confession FROM {t}", schema)).await;
        assert_eq!(plain, "ERROR 42703 column \"confession\" does not exist");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reaches_files_or_other_tables() {
    let world = World::A.start().await;
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"/etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('x.parquet')",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "COPY hr.emp TO '/tmp/out'",
        "COPY (SELECT * FROM hr.emp) TO PROGRAM 'cat'",
        "COPY hr.emp FROM '/etc/passwd'",
        "EXPLAIN DELETE FROM hr.emp",
        "EXPLAIN ANALYZE INSERT INTO lake.dept SELECT * FROM lake.dept",
        "EXPLAIN (FORMAT TREE) SELECT * FROM hr.dept",
        "PREPARE p AS EXPLAIN SELECT * FROM hr.emp",
        "DECLARE c CURSOR FOR SELECT * FROM hr.emp",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/etc'",
        "CREATE VIEW hr.emp AS SELECT 1",
        "CREATE TABLE hr.mine AS SELECT * FROM hr.dept",
        "CREATE TABLE lake.mine AS SELECT * FROM lake.emp",
        "INSERT INTO lake.emp SELECT * FROM lake.emp",
        "DROP TABLE lake.emp",
        "DROP TABLE hr.emp",
        "UPDATE hr.emp SET region = 'EU'",
        "DELETE FROM hr.emp",
        "SELECT * FROM information_schema.df_settings",
        "SELECT arrow_typeof(ssn) FROM hr.emp",
    ] {
        for answer in both(&world, "ann", sql).await {
            let code = answer.get(6..11).unwrap_or_default();
            let refused = ["0A000", "25P01", "42501", "42P01", "42883", "42601", "3F000", "22023"].contains(&code);
            assert!(answer.starts_with("ERROR") && refused, "{sql}: {answer}");
        }
    }
}

/// What stands in quotes is a name, wherever it is written; it is never read as SQL, and a dot in it separates nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_quoted_name_is_never_text_again() {
    let world = World::A.start().await;
    let client = world.connect("root").await;
    let injected = "(SELECT 42 AS n) injected";
    let absent = |name: &str| format!("ERROR 42P01 relation \"{name}\" does not exist");
    for shape in [
        "TABLE {}",
        "SELECT 1 AS n UNION ALL TABLE {}",
        "SELECT 1 AS n UNION TABLE {}",
        "SELECT 1 AS n EXCEPT TABLE {}",
        "SELECT 1 AS n INTERSECT DISTINCT TABLE {}",
        "(SELECT 1 AS n) UNION ALL (TABLE {})",
        "TABLE {} UNION ALL SELECT 1",
        "TABLE {} UNION ALL TABLE {} ORDER BY 1",
        "SELECT * FROM (TABLE {}) x",
        "SELECT (TABLE {})",
        "SELECT 1 WHERE 1 IN (TABLE {})",
        "SELECT EXISTS (TABLE {})",
        "WITH w AS (TABLE {}) TABLE w",
        "WITH w AS (SELECT 1) TABLE {}",
        "VALUES ((TABLE {}))",
        "INSERT INTO lake.dept TABLE {}",
        "CREATE TABLE lake.made AS TABLE {}",
        "PREPARE p AS TABLE {}",
        "SELECT * FROM {}",
    ] {
        let sql = shape.replace("{}", &format!("\"{injected}\""));
        assert_eq!(simple(&client, &sql).await, absent(injected), "{sql}");
    }
    let both = simple(&client, "TABLE hr.dept EXCEPT TABLE hr.dept").await;
    assert_eq!(both, "(0)");
    assert_eq!(
        simple(&client, "SELECT count(*) FROM (TABLE hr.dept UNION ALL TABLE \"hr\".\"dept\") x").await,
        "12\n(1)"
    );

    client.batch_execute("PREPARE p (int) AS SELECT $1 AS n").await.unwrap();
    for (argument, expect) in [
        ("\"1) UNION SELECT (42\"", "ERROR 42703 column \"1) UNION SELECT (42\" does not exist"),
        ("1 AS \"x\"", "ERROR 42601"),
        ("(SELECT 40) + 2", "42\n(1)"),
        ("(SELECT id FROM \"hr\".\"dept\" WHERE title = 'y')", "2\n(1)"),
        ("'1'::int", "1\n(1)"),
    ] {
        let answer = simple(&client, &format!("EXECUTE p({argument})")).await;
        assert!(answer.starts_with(expect), "{argument}: {answer}");
    }
    // several statements go on as they were written
    let several = "SELECT 1 AS \"a\"\"; SELECT 2\"; /* ; */ SELECT 'a;' AS x; TABLE \"(SELECT 42) t\"";
    assert_eq!(simple(&client, several).await, absent("(SELECT 42) t"));
    let several = "SELECT E'a;\\'b' AS \"c;d\"; SELECT $q$;$q$;; SELECT 'last'";
    assert_eq!(simple(&client, several).await, "a;'b\n(1)\n;\n(1)\nlast\n(1)");

    let whole = simple(&client, "SELECT count(*) FROM hr.emp").await;
    let with = "WITH \"hr.emp\" AS (SELECT 7 AS x)";
    assert_eq!(simple(&client, &format!("{with} SELECT count(*) FROM hr.emp")).await, whole);
    assert_eq!(simple(&client, &format!("{with} SELECT count(*) FROM lakegate.hr.emp")).await, whole);
    for select in ["x", "\"hr.emp\".x", "\"hr.emp\".*", "e.x"] {
        let alias = if select == "e.x" { " e" } else { "" };
        assert_eq!(
            simple(&client, &format!("{with} SELECT {select} FROM \"hr.emp\"{alias}")).await,
            "7\n(1)",
            "{select}"
        );
    }
    let own = simple(&client, "SELECT \"a.b\".id FROM hr.dept AS \"a.b\" ORDER BY 1 LIMIT 1").await;
    assert_eq!(own, "0\n(1)");
    assert_eq!(simple(&client, "SELECT * FROM \"hr.emp\"").await, absent("hr.emp"));
    let column = simple(&client, "SELECT \"a.b\".nix FROM hr.dept AS \"a.b\"").await;
    assert_eq!(column, "ERROR 42703 column a.b.nix does not exist");
}
