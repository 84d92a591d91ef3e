//! What the grammar accepts and refuses, and where: as PostgreSQL 15 does.

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser as SqlParser;

use super::*;

const ACCEPTED: &[&str] = &[
    "select",
    "select from t",
    "select all",
    "select 1 and, 2 or, 3 is, 4 in, 5 not",
    "select 1 as select, 2 as \"select\", 3 user, 4 value",
    "select name, value, type, date, timestamp, values, row, coalesce from t",
    "select a is null is not null isnull notnull",
    "select 1 = not 2 = 3",
    "select a in (1) in (true), a = any (b) = c",
    "select 'a'\n 'b'",
    "select U&'d\\0061t' uescape '!', u&\"d!0061t\" uescape '!', n'a', b'01', x'1F', $$a$$, $1.a, $1[1]",
    "select 1.",
    "select a <@ b, a @@@ b, a ?| b, a #>> b, a <<| b, a ~<=~ b, @#@ a, a *-b, a <> -b",
    "select a operator(pg_catalog.+) b, operator(x.-) b",
    "select a[1], a[:], a[1:], a[:2], (a).b, (a).*, (a(b)).c, ((select 1)).x, array[[1],[2]], array[]",
    "select a.b[1].c, f(x => 1, y := 2), f(variadic a), f(distinct a order by b using operator(pg_catalog.<) nulls last)",
    "select a between symmetric 1 and 2 and b, a not between asymmetric 1 and 2",
    "select substring(a similar b escape c), substring(a from b for c), substring(a for b from c), substring(a, b), substring()",
    "select overlay(a placing b from c for d), overlay(a, b), position(a || b in c), trim(from a, b), trim(both a from b, c)",
    "select normalize(a, nfkd), a is not nfc normalized, extract('a' from b), collation for (a), treat(a as b)",
    "select interval '1' day to second(3), interval(3) '1', interval '1' second(2), interval from t",
    "select timestamp(3) with time zone '1', time '1', int '5', numeric(5, 2) '1', a.b '1', a(1) '1', double precision '1', char varying (3) 'a'",
    "select a::timestamp(3) without time zone, a::interval day to hour, a::int array[3], a::b.c(1)[][], a::national char varying (3)",
    "select (a, b) overlaps (c, d) and row(a, b) overlaps row(c, d)",
    "select ((select 1)), ((select 1) + 1), ((select 1), 2), ((select 1) union select 2), (((select 1)))",
    "select a from ((select 1) union (select 2)) t, ((select 1) a join b on true), (((select 1))) c",
    "select * from a join b join c on x on y, a cross join b natural left join c",
    "select * from a join b using (c) as d, (a join b on true) as c (d, e), only (a), a *, only a as b (c)",
    "select * from rows from (f(a) as (b int, c text collate d), g()) with ordinality as t (x), f() as (a int), f() t (a int)",
    "select * from current_date, cast(1 as int) c, left('a', 1), a.b.f(1) with ordinality",
    "select * from a tablesample bernoulli (5) repeatable (1), xmltable",
    "select a from t group by distinct (), (a, b), cube (a, (b, c)), rollup (a), grouping sets ((a), rollup (b), grouping sets (())), cube",
    "select f() filter (where true) over (partition by a order by b groups between 1 preceding and current row exclude no others)",
    "select f() over w, f() over (w range between unbounded preceding and a following exclude current row) from t window w as ()",
    "(select 1 union select 2) order by 1 limit all offset 2 rows",
    "((select 1) order by 1) fetch next row only",
    "select 1 fetch first (1) rows only offset -1 row for no key update of a, b skip locked for key share nowait",
    "select 1 order by 1 fetch first row with ties for read only",
    "table a union all values (1), (default) except table only b",
    "with recursive as (select 1), b (c) as materialized (table recursive) select 1",
    "select 1;; select 2",
    "select 1 into temp table a from b",
];

const REFUSED: &[(&str, &str, &str, usize)] = &[
    ("select 1 +", "42601", "syntax error at end of input", 11),
    ("select (1", "42601", "syntax error at end of input", 10),
    ("select 'abc", "42601", "unterminated quoted string at or near \"'abc\"", 8),
    ("select \"abc", "42601", "unterminated quoted identifier at or near \"\"abc\"", 8),
    ("select \"\"", "42601", "zero-length delimited identifier at or near \"\"\"\"", 8),
    ("select 1 /* abc /* d */", "42601", "unterminated /* comment at or near \"/* abc /* d */\"", 10),
    ("select b'01", "42601", "unterminated bit string literal at or near \"b'01\"", 8),
    ("select x'1f", "42601", "unterminated hexadecimal string literal at or near \"x'1f\"", 8),
    ("select $a$ b $a", "42601", "unterminated dollar-quoted string at or near \"$a$ b $a\"", 8),
    ("select 12abc", "42601", "trailing junk after numeric literal at or near \"12abc\"", 8),
    ("select 1.5e+", "42601", "trailing junk after numeric literal at or near \"1.5e+\"", 8),
    ("select 1_000", "42601", "trailing junk after numeric literal at or near \"1_000\"", 8),
    ("select $1a", "42601", "trailing junk after parameter at or near \"$1a\"", 8),
    ("create or replace materialized view w as select 1", "42601", "syntax error at or near \"materialized\"", 19),
    ("create temp materialized view w as select 1", "42601", "syntax error at or near \"materialized\"", 13),
    ("create local temporary materialized view w as select 1", "42601", "syntax error at or near \"materialized\"", 24),
    (
        "create or replace unlogged materialized view w as select 1",
        "42601",
        "syntax error at or near \"materialized\"",
        28,
    ),
    ("create recursive materialized view w as select 1", "42601", "syntax error at or near \"materialized\"", 18),
    ("create materialized w as select 1", "42601", "syntax error at or near \"w\"", 21),
    (
        "create or replace unlogged view w as select 1",
        "42601",
        "views cannot be unlogged because they do not have storage",
        0,
    ),
    ("select 1 from from", "42601", "syntax error at or near \"from\"", 15),
    ("select * from t where", "42601", "syntax error at end of input", 22),
    ("select 1 as", "42601", "syntax error at end of input", 12),
    ("select 1 2", "42601", "syntax error at or near \"2\"", 10),
    ("select a b c", "42601", "syntax error at or near \"c\"", 12),
    ("select 1 < 2 < 3", "42601", "syntax error at or near \"<\"", 14),
    ("select a between 1 and 2 between 3 and 4", "42601", "syntax error at or near \"between\"", 26),
    ("select a like b like c", "42601", "syntax error at or near \"like\"", 17),
    ("select a is distinct from b is null", "42601", "syntax error at or near \"is\"", 29),
    ("select a = b <> c", "42601", "syntax error at or near \"<>\"", 14),
    ("select `a`", "42601", "syntax error at end of input", 11),
    ("select a == b == c !", "42601", "syntax error at end of input", 21),
    ("select a from t qualify true", "42601", "syntax error at or near \"true\"", 25),
    ("select x ignore nulls from t", "42601", "syntax error at or near \"nulls\"", 17),
    ("select top 1 x from t", "42601", "syntax error at or near \"1\"", 12),
    ("select array[1][1]", "42601", "syntax error at or near \"[\"", 16),
    ("select 5 div 2", "42601", "syntax error at or near \"2\"", 14),
    ("select * except (a) from t", "42601", "syntax error at or near \"a\"", 18),
    ("select * exclude (a) from t", "42601", "syntax error at or near \"exclude\"", 10),
    ("select * from t pivot (sum(x) for x in (1))", "42601", "syntax error at or near \"(\"", 27),
    ("select 1 connect by true", "42601", "syntax error at or near \"by\"", 18),
    ("select x from t lateral view explode(x) e", "42601", "syntax error at or near \"lateral\"", 17),
    ("select x from t group by all", "42601", "syntax error at end of input", 29),
    ("select x from t limit 1, 2", "42601", "LIMIT #,# syntax is not supported", 17),
    ("select x from t limit 1 limit 2", "42601", "syntax error at or near \"limit\"", 25),
    ("(select 1 order by 1) order by 1", "42601", "multiple ORDER BY clauses not allowed", 32),
    ("(select 1 limit 1) limit 2", "42601", "multiple LIMIT clauses not allowed", 26),
    ("(select 1 offset 1) offset 2", "42601", "multiple OFFSET clauses not allowed", 28),
    ("with a as (select 1) (with b as (select 2) select 3)", "42601", "multiple WITH clauses not allowed", 1),
    ("select 1 fetch first 2 rows with ties", "42601", "WITH TIES cannot be specified without ORDER BY clause", 0),
    ("select cast(1 as)", "42601", "syntax error at or near \")\"", 17),
    ("select f(1,)", "42601", "syntax error at or near \")\"", 12),
    ("select {a}", "42601", "syntax error at or near \"{\"", 8),
    ("select a[1:2:3] from t", "42601", "syntax error at or near \":\"", 13),
    ("select distinct", "42601", "syntax error at end of input", 16),
    ("select e'\\u00zz'", "22025", "invalid Unicode escape", 10),
    ("select e'\\ud800x'", "42601", "invalid Unicode surrogate pair at or near \"x\"", 16),
    ("select e'\\U00110000'", "42601", "invalid Unicode escape value at or near \"\\U00110000\"", 10),
    ("select e'\\xff'", "22021", "invalid byte sequence for encoding \"UTF8\": 0xff", 0),
    ("select u&'\\zzzz'", "42601", "invalid Unicode escape", 11),
    ("select u&'\\d800'", "42601", "invalid Unicode surrogate pair", 16),
    ("select u&'a' uescape '+'", "42601", "invalid Unicode escape character at or near \"'+'\"", 22),
    ("select u&'a' uescape 5", "42601", "UESCAPE must be followed by a simple string literal at or near \"5\"", 22),
    ("select * from (select 1)", "42601", "subquery in FROM must have an alias", 15),
    ("select * from (values (1)), t", "42601", "VALUES in FROM must have an alias", 15),
    ("select * from (t)", "42601", "syntax error at or near \")\"", 17),
    ("select * from t cross join u on true", "42601", "syntax error at or near \"on\"", 30),
    ("select * from t join u", "42601", "syntax error at end of input", 23),
    ("select * from t natural join u using (a)", "42601", "syntax error at or near \"using\"", 32),
    ("select * from a.b.c.d", "42601", "improper qualified name (too many dotted names): a.b.c.d", 15),
    ("select * from t[1]", "42601", "syntax error at end of input", 19),
    ("select a.*.b from t a", "42601", "improper use of \"*\" at or near \"from\"", 14),
    (
        "select f(x) within group (order by y) within group (order by z)",
        "42601",
        "syntax error at or near \"within\"",
        39,
    ),
    ("select f(distinct x) within group (order by y)", "42601", "cannot use DISTINCT with WITHIN GROUP", 22),
    (
        "select f(x order by x) within group (order by y)",
        "42601",
        "cannot use multiple ORDER BY clauses with WITHIN GROUP",
        24,
    ),
    ("select f(variadic x) within group (order by y)", "42601", "cannot use VARIADIC with WITHIN GROUP", 22),
    (
        "select f(x) over (rows between unbounded following and current row)",
        "42P20",
        "frame start cannot be UNBOUNDED FOLLOWING",
        32,
    ),
    (
        "select f(x) over (rows between 1 following and 1 preceding)",
        "42P20",
        "frame starting from following row cannot have preceding rows",
        48,
    ),
    ("select f(x) over (rows unbounded following)", "42P20", "frame start cannot be UNBOUNDED FOLLOWING", 24),
    (
        "select f(x) over (rows 1 following)",
        "42P20",
        "frame starting from following row cannot end with current row",
        24,
    ),
    ("select f(x) over (order by x exclude ties)", "42601", "syntax error at or near \"exclude\"", 30),
    ("select unique (select 1)", "0A000", "UNIQUE predicate is not yet implemented", 8),
    ("select position(a, b)", "42601", "syntax error at or near \",\"", 18),
    ("select extract(a, b)", "42601", "syntax error at or near \",\"", 17),
    ("select trim(both from)", "42601", "syntax error at or near \")\"", 22),
    (
        "select (1, 2) overlaps (1, 2, 3)",
        "42601",
        "wrong number of parameters on right side of OVERLAPS expression",
        24,
    ),
    ("select 1 similar 2", "42601", "syntax error at or near \"2\"", 18),
    ("select nulls first", "42601", "syntax error at or near \"nulls\"", 8),
    ("select timestamp with time zone", "42601", "syntax error at end of input", 32),
    ("select interval '1' year to second", "42601", "syntax error at or near \"second\"", 29),
    ("select case when 1 then 2", "42601", "syntax error at end of input", 26),
    ("select case end", "42601", "syntax error at or near \"end\"", 13),
    ("select not", "42601", "syntax error at end of input", 11),
    ("select 1 is nul", "42601", "syntax error at or near \"nul\"", 13),
    ("select 1 operator(+", "42601", "syntax error at end of input", 20),
    ("select substring(a similar b)", "42601", "syntax error at or near \")\"", 29),
    ("select * from f() with time", "42601", "syntax error at or near \"time\"", 24),
    ("select * from rows from ()", "42601", "syntax error at or near \")\"", 26),
    ("select * from lateral t", "42601", "syntax error at end of input", 24),
    ("values", "42601", "syntax error at end of input", 7),
    ("values (1), 2", "42601", "syntax error at or near \"2\"", 13),
    ("values ()", "42601", "syntax error at or near \")\"", 9),
    ("table", "42601", "syntax error at end of input", 6),
    ("select 1 union", "42601", "syntax error at end of input", 15),
    ("select 1 union all distinct select 2", "42601", "syntax error at or near \"distinct\"", 20),
    ("select 1 for update of", "42601", "syntax error at end of input", 23),
    ("select 1 for delete", "42601", "syntax error at or near \"delete\"", 14),
    ("with a (select 1) select 2", "42601", "syntax error at or near \"select\"", 9),
    ("with a as select 1 select 2", "42601", "syntax error at or near \"select\"", 11),
    ("selec 1", "42601", "syntax error at or near \"selec\"", 1),
    ("from t", "42601", "syntax error at or near \"from\"", 1),
    ("select ж жж жжж", "42601", "syntax error at or near \"жжж\"", 13),
];

fn query(sql: &str) -> Query {
    match parse(sql).unwrap().pop() {
        Some(Statement::Query(query)) => *query,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn what_postgresql_reads_is_read() {
    for sql in ACCEPTED {
        if let Err(error) = parse(sql) {
            panic!("{sql}: {error:?}");
        }
    }
}

#[test]
fn what_it_refuses_is_refused_with_its_text_and_place() {
    for (sql, code, message, place) in REFUSED {
        let error = parse(sql).expect_err(sql);
        let found = (error.kind().sqlstate(), error.message(), error.position().unwrap_or(0));
        assert_eq!(found, (*code, *message, *place), "{sql}");
    }
}

/// The second says the same with parentheses.
#[test]
fn operators_bind_as_tight_as_postgresql_s() {
    for (sql, expect) in [
        ("a OR b AND c", "a OR (b AND c)"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT a = b IS NULL", "NOT ((a = b) IS NULL)"),
        ("a < b IS NOT TRUE", "(a < b) IS NOT TRUE"),
        ("a IS DISTINCT FROM b = c AND d", "(a IS DISTINCT FROM (b = c)) AND d"),
        ("a = b LIKE c", "a = (b LIKE c)"),
        ("a LIKE b || c", "a LIKE (b || c)"),
        ("a BETWEEN b + c AND d || e AND f", "(a BETWEEN (b + c) AND (d || e)) AND f"),
        ("a || b + c", "a || (b + c)"),
        ("a <-> b < c", "(a <-> b) < c"),
        ("a OPERATOR(pg_catalog.*) b + c", "a OPERATOR(pg_catalog.*) (b + c)"),
        ("a - b - c", "(a - b) - c"),
        ("a + b * c ^ d ^ e", "a + (b * ((c ^ d) ^ e))"),
        ("-a ^ b", "(-a) ^ b"),
        ("-a::int", "-(a::int)"),
        ("- a AT TIME ZONE b", "(- a) AT TIME ZONE b"),
        ("a * b AT TIME ZONE c", "a * (b AT TIME ZONE c)"),
        ("a AT TIME ZONE b COLLATE c", "a AT TIME ZONE (b COLLATE c)"),
        ("@ a + b", "@ (a + b)"),
        ("@ a || b", "(@ a) || b"),
        ("a = NOT b = c", "a = (NOT (b = c))"),
        ("a IN (b) = c", "(a IN (b)) = c"),
        ("a = ANY (b) || c", "(a = ANY (b)) || c"),
    ] {
        assert_eq!(bare(sql), bare(expect), "{sql}");
    }
}

fn bare(expr: &str) -> Expr {
    let SetExpr::Select(mut select) = *query(&format!("SELECT {expr}")).body else { panic!("{expr}") };
    let Some(SelectItem::UnnamedExpr(mut expr)) = select.projection.pop() else { panic!("{expr}") };
    let _: ControlFlow<()> = visit_expressions_mut(&mut expr, |expr| {
        while let Expr::Nested(inner) = expr {
            *expr = std::mem::replace(inner, Expr::Tuple(vec![]));
        }
        ControlFlow::Continue(())
    });
    expr
}

#[test]
fn clauses_around_parentheses_are_those_of_the_query_within() {
    for (sql, expect) in [
        ("((SELECT 1))", "SELECT 1"),
        ("(SELECT 1 UNION SELECT 2) ORDER BY 1 LIMIT 3", "SELECT 1 UNION SELECT 2 ORDER BY 1 LIMIT 3"),
        ("(SELECT 1 LIMIT 3) ORDER BY 1 OFFSET 2", "SELECT 1 ORDER BY 1 LIMIT 3 OFFSET 2"),
        ("WITH a AS (SELECT 1) (SELECT 2)", "WITH a AS (SELECT 1) SELECT 2"),
        ("TABLE a.b", "SELECT * FROM a.b"),
    ] {
        assert_eq!(query(sql), query(expect), "{sql}");
    }
    assert_ne!(query("(SELECT 1 LIMIT 3) UNION SELECT 2"), query("SELECT 1 UNION SELECT 2 LIMIT 3"));
}

#[test]
fn a_quoted_name_is_a_name() {
    let quoted = query("TABLE \"(SELECT 1) x\"");
    assert_eq!(quoted.to_string(), "SELECT * FROM \"(SELECT 1) x\"");
}

#[test]
fn pieces_are_the_text_as_it_was_written() {
    let sql =
        ";; SELECT 'ä;' /* ; */ AS \"x;\"\"y\" ;\n-- no;thing\n ;TABLE \"(SELECT 1) t\"\n; DROP TABLE é\u{1F600}  ; ";
    let text = Text::of(sql);
    let pieces: Vec<&str> = text.statements(128).unwrap().iter().map(|piece| piece.text).collect();
    assert_eq!(pieces, ["SELECT 'ä;' /* ; */ AS \"x;\"\"y\"", "TABLE \"(SELECT 1) t\"", "DROP TABLE é\u{1F600}"]);
    assert!(Text::of(" ; -- x").statements(128).unwrap().is_empty());
}

#[test]
fn queries_of_other_statements_are_read_by_the_grammar() {
    for (sql, expect) in [
        ("CREATE TABLE x.y AS TABLE a", Some("SELECT * FROM a")),
        ("PREPARE p (int) AS SELECT 1 AS table", Some("SELECT 1 AS table")),
        ("EXPLAIN ANALYZE VERBOSE SELECT a <@ b", Some("SELECT a <@ b")),
        ("CREATE TABLE a (b int)", None),
        ("DROP TABLE a", None),
    ] {
        let text = Text::of(sql);
        let mut pieces = text.statements(128).unwrap();
        let Some(Piece { content: Content::Other(other), .. }) = pieces.pop() else { panic!("{sql}") };
        let parser = SqlParser::new(&PostgreSqlDialect {}).try_with_sql(&other.text);
        let mut statement = parser.unwrap().parse_statement().expect(sql);
        other.completed(&mut statement);
        let mut found = None;
        let _: ControlFlow<()> = VisitMut::visit(&mut statement, &mut First(&mut found));
        assert_eq!(found, expect.map(query), "{sql}");
    }
}

#[test]
fn a_statement_that_changes_rows_is_one_query_of_its_parts() {
    for (sql, parts, returning) in [
        ("INSERT INTO a TABLE b", "SELECT FROM a, (SELECT * FROM b) AS excluded", None),
        ("INSERT INTO date (SELECT 1)", "SELECT FROM date, (SELECT 1) AS excluded", None),
        ("INSERT INTO a AS t DEFAULT VALUES", "SELECT FROM a AS t", None),
        ("INSERT INTO \"a\" (x) VALUES (1), (2)", "SELECT FROM \"a\", (VALUES (1), (2)) AS excluded", None),
        (
            "INSERT INTO a (x) WITH b AS (SELECT 1) SELECT 2 RETURNING x AS y",
            "SELECT x AS y FROM a, (WITH b AS (SELECT 1) SELECT 2) AS excluded",
            Some(0..1),
        ),
        (
            "INSERT INTO a VALUES (1) ON CONFLICT (x) DO UPDATE SET x = excluded.x + 1 WHERE a.x > 2",
            "SELECT excluded.x + 1 FROM a, (VALUES (1)) AS excluded WHERE a.x > 2",
            None,
        ),
        (
            "WITH w AS (SELECT 1) UPDATE ONLY (a) AS t SET (x, y) = (1, DEFAULT), z = 3 FROM b WHERE t.x = b.x RETURNING *",
            "WITH w AS (SELECT 1) SELECT (1, DEFAULT), 3, * FROM a AS t, b WHERE t.x = b.x",
            Some(2..3),
        ),
        ("UPDATE a set SET x = 1", "SELECT 1 FROM a", None),
        ("DELETE FROM a * USING b, c WHERE true", "SELECT FROM a, b, c WHERE true", None),
        (
            "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED AND b.y THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (b.x, 2)",
            "SELECT b.y, b.x, 2 FROM a, b WHERE a.x = b.x",
            None,
        ),
    ] {
        let text = Text::of(sql);
        let found = text.statements(128).map(|mut pieces| pieces.pop());
        let Ok(Some(Piece { content: Content::Change(change), .. })) = found else {
            assert_eq!(sql, "UPDATE a set SET x = 1", "SET is no alias");
            continue;
        };
        assert_eq!(change.parts.to_string(), parts, "{sql}");
        assert_eq!(change.shape.returning, returning, "{sql}");
    }
}

struct First<'a>(&'a mut Option<Query>);

impl VisitorMut for First<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        *self.0 = Some(query.clone());
        ControlFlow::Break(())
    }
}

#[test]
fn what_the_tree_has_no_place_for_is_seen_by_its_visitors() {
    for sql in [
        "SELECT a BETWEEN SYMMETRIC (SELECT 7) AND 1",
        "SELECT f(VARIADIC (SELECT 7))",
        "SELECT 1 ORDER BY (SELECT 7) USING =",
        "SELECT @#@ (SELECT 7)",
        "SELECT 1 GROUP BY DISTINCT (SELECT 7)",
        "SELECT * FROM ROWS FROM (f((SELECT 7)) AS (a int))",
        "SELECT * FROM CAST((SELECT 7) AS int) x",
        "SELECT a LIKE b ESCAPE (SELECT 7)",
        "SELECT SUBSTRING(a SIMILAR b ESCAPE (SELECT 7))",
        "SELECT f() OVER (ROWS BETWEEN (SELECT 7) PRECEDING AND CURRENT ROW EXCLUDE TIES)",
        "SELECT * FROM a TABLESAMPLE SYSTEM (1) REPEATABLE ((SELECT 7))",
    ] {
        let mut seen = vec![];
        let mut parsed = query(sql);
        let _: ControlFlow<()> = VisitMut::visit(&mut parsed, &mut All(&mut seen));
        assert!(seen.contains(&query("SELECT 7")), "{sql}");
    }
}

struct All<'a>(&'a mut Vec<Query>);

impl VisitorMut for All<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.push(query.clone());
        ControlFlow::Continue(())
    }
}

#[test]
fn depth_is_limited_whatever_it_is_made_of() {
    let around =
        |n: usize, open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(n), close.repeat(n));
    let deep = [
        format!("SELECT {}", around(5_000, "(", "1", ")")),
        format!("SELECT {}1", "NOT ".repeat(5_000)),
        format!("SELECT {}1", "1 = NOT ".repeat(5_000)),
        format!("SELECT {}1", "@ - ".repeat(5_000)),
        format!("SELECT * FROM a {}", "JOIN a ".repeat(5_000)),
        format!("SELECT * FROM {}", around(5_000, "(", "a JOIN b ON true", ")")),
        around(5_000, "SELECT 1 UNION (", "SELECT 1", ")"),
        around(5_000, "(", "SELECT 1", ")"),
        around(5_000, "WITH a AS (", "SELECT 1", ") SELECT 1"),
        format!("SELECT {}", around(5_000, "ARRAY[", "1", "]")),
        format!("SELECT ARRAY{}", around(5_000, "[", "1", "]")),
        format!("SELECT {}", around(5_000, "CASE WHEN ", "1", " THEN 1 END")),
        format!("SELECT 1 GROUP BY {}", around(5_000, "GROUPING SETS (", "1", ")")),
        format!("SELECT a{}", around(5_000, "[a", "", "]")),
    ];
    // as on a planner's thread
    let judged = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        for sql in deep {
            let error = parse(&sql).expect_err("it is too deep");
            assert_eq!(error.kind(), Kind::TooComplex, "{}", &sql[..60]);
        }
        assert!(parse(&format!("SELECT {}", around(60, "(SELECT ", "1", ")"))).is_ok());
    });
    judged.unwrap().join().unwrap();
}

fn command(text: &str) -> Result<command::Command> {
    let mut pieces = Text::of(text).statements(128)?;
    match pieces.pop().map(|piece| piece.content) {
        Some(Content::Command(command, _)) => Ok(*command),
        _ => panic!("no command: {text}"),
    }
}

#[test]
fn commands_are_read_as_they_mean() {
    use command::{Command, Cursor, Direction, Discard, Fetch, Isolation, Mode, Setting, To, Transaction, Value};
    let set = |name: &str, values: &[&str], local| {
        let values = values.iter().map(|value| Value::Text((*value).into())).collect();
        Command::Setting(Setting::Set { name: name.into(), to: To::Values(values), local })
    };
    let fetch =
        |name: &str, direction| Command::Cursor(Cursor::Fetch(Fetch { name: name.into(), direction, moves: false }));
    let begin = |start, modes: &[Mode]| Command::Transaction(Transaction::Begin { start, modes: modes.to_vec() });
    for (text, means) in [
        ("begin work", begin(false, &[])),
        (
            "begin isolation level repeatable read read only, not deferrable",
            begin(false, &[Mode::Isolation(Isolation::RepeatableRead), Mode::ReadOnly(true), Mode::Deferrable(false)]),
        ),
        ("start transaction read write", begin(true, &[Mode::ReadOnly(false)])),
        ("end and no chain", Command::Transaction(Transaction::Commit { chain: false })),
        ("abort transaction and chain", Command::Transaction(Transaction::Rollback { chain: true })),
        ("rollback work to savepoint \"A\"", Command::Transaction(Transaction::RollbackTo("A".into()))),
        ("release A", Command::Transaction(Transaction::Release("a".into()))),
        ("set local a.B to 'x', y, on", set("a.b", &["x", "y", "on"], true)),
        (
            "set session characteristics = 1",
            Command::Setting(Setting::Set {
                name: "characteristics".into(),
                to: To::Values(vec![Value::Number("1".into())]),
                local: false,
            }),
        ),
        ("set time zone 'UTC'", set("timezone", &["UTC"], false)),
        (
            "set time zone interval '-08' hour",
            Command::Setting(Setting::Set {
                name: "timezone".into(),
                to: To::Values(vec![Value::Interval("-08 hours".into())]),
                local: false,
            }),
        ),
        ("set local role 'none'", Command::Setting(Setting::Role { name: None, local: true })),
        ("reset session authorization", Command::Setting(Setting::Reset("session_authorization".into()))),
        ("show transaction isolation level", Command::Setting(Setting::Show("transaction_isolation".into()))),
        ("fetch c", fetch("c", Direction::Forward(1))),
        ("fetch next", fetch("next", Direction::Forward(1))),
        ("fetch next from next", fetch("next", Direction::Forward(1))),
        ("fetch -2 in c", fetch("c", Direction::Forward(-2))),
        ("fetch all c", fetch("c", Direction::Forward(Direction::ALL))),
        ("fetch backward all from c", fetch("c", Direction::Backward(Direction::ALL))),
        ("fetch forward c", fetch("c", Direction::Forward(1))),
        ("fetch last c", fetch("c", Direction::Absolute(-1))),
        ("fetch relative +3 c", fetch("c", Direction::Relative(3))),
        ("close all", Command::Cursor(Cursor::Close(None))),
        ("discard temporary", Command::Discard(Discard::Temp)),
    ] {
        assert_eq!(command(text).unwrap_or_else(|error| panic!("{text}: {error}")), means, "{text}");
    }
}

#[test]
fn commands_are_refused_where_postgresql_refuses_them() {
    for (text, near, at) in [
        ("begin transaction isolation level foo", "at or near \"foo\"", 35),
        ("begin work read", "at end of input", 16),
        ("commit work and", "at end of input", 16),
        ("begin read only,", "at end of input", 17),
        ("set local session work_mem=1", "at or near \"work_mem\"", 19),
        ("set names latin1", "at or near \"latin1\"", 11),
        ("set search_path =", "at end of input", 18),
        ("set a.user = 1", "at or near \"user\"", 7),
        ("show all foo", "at or near \"foo\"", 10),
        ("discard foo", "at or near \"foo\"", 9),
        ("fetch 99999999999 c", "at or near \"99999999999\"", 7),
        ("fetch all", "at end of input", 10),
        ("declare c cursor for insert into t values (1)", "at or near \"insert\"", 22),
        ("declare c cursor select 1", "at or near \"select\"", 18),
    ] {
        let error = command(text).expect_err(text);
        assert_eq!((error.message(), error.position()), (format!("syntax error {near}").as_str(), Some(at)), "{text}");
    }
}
