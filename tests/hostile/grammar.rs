//! A grammar of statements that are small to send and large to run. It judges nothing.

use rand::Rng;
use rand::rngs::StdRng;

/// The longest statement.
const BYTES_MAX: usize = 100_000;

/// As deep as the random queries go: the deep constructs are made without recursion.
const DEPTH_MAX: usize = 40;

pub struct Grammar {
    rng: StdRng,
    /// Of the random query so far.
    depth: usize,
}

impl Grammar {
    pub fn new(rng: StdRng) -> Self {
        Self { rng, depth: 0 }
    }

    pub fn statement(&mut self) -> String {
        let mut sql = match self.below(12) {
            0..=2 => self.deep(),
            3..=5 => self.wide(),
            6..=8 => self.doubling(),
            9 => self.large_values(),
            10 => self.long_running(),
            _ => self.mixed(),
        };
        if sql.len() > BYTES_MAX {
            let end = (0..=BYTES_MAX).rev().find(|at| sql.is_char_boundary(*at)).unwrap_or(0);
            sql.truncate(end);
        }
        // now and then something is missing
        if self.below(12) == 0 && !sql.is_empty() {
            let at = self.below(sql.len());
            if sql.is_char_boundary(at) {
                sql.truncate(at);
            }
        }
        sql
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n.max(1))
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Between 1 and `max`, small ones as often as large ones.
    fn size(&mut self, max: usize) -> usize {
        let bits = self.rng.random_range(0.0..(max.max(2) as f64).log2());
        (bits.exp2() as usize).clamp(1, max)
    }

    /// One construct inside itself.
    fn deep(&mut self) -> String {
        let n = self.size(30_000);
        let around = |n: usize, open: &str, middle: &str, close: &str| {
            let n = n.min(BYTES_MAX / (open.len() + close.len()).max(1));
            format!("{}{middle}{}", open.repeat(n), close.repeat(n))
        };
        match self.below(28) {
            0 => format!("SELECT {}", around(n, "(", "1", ")")),
            1 => around(n, "SELECT (", "SELECT 1", ")"),
            2 => around(n, "SELECT * FROM (", "SELECT 1", ") t"),
            3 => around(n, "SELECT * FROM ((", "SELECT 1", ") t)"),
            4 => around(n, "SELECT 1 WHERE EXISTS (", "SELECT 1", ")"),
            5 => around(n, "SELECT 1 WHERE 1 IN (", "SELECT 1", ")"),
            6 => format!("SELECT {}", around(n, "CASE WHEN true THEN ", "1", " END")),
            7 => format!("SELECT {}", around(n, "abs(", "1", ")")),
            8 => format!("SELECT {}", around(n, "CAST(", "1", " AS int)")),
            9 => format!("SELECT {}", around(n, "CAST(", "!", " AS int)")),
            10 => format!("SELECT {}", around(n, "ARRAY[", "1", "]")),
            11 => format!("SELECT {}", around(n, "ROW(", "1", ")")),
            12 => format!("SELECT NULL::int4{}", "[]".repeat(n)),
            13 => format!("SELECT {}1", self.pick(&["NOT ", "- ", "+ ", "~ ", "@ ", "|/ ", "INTERVAL "]).repeat(n)),
            14 => format!(
                "SELECT 1{}",
                self.pick(&["::int", " IS NULL", " !", "[1]", " - 1", " COLLATE \"C\""]).repeat(n)
            ),
            15 => format!(
                "SELECT 1{}",
                self.pick(&[" UNION SELECT 1", " UNION ALL SELECT 1", " EXCEPT SELECT 1", " INTERSECT SELECT 1"])
                    .repeat(n)
            ),
            16 => around(n, "SELECT 1 UNION (", "SELECT 1", ")"),
            17 => format!("SELECT * FROM generate_series(1, 2) a{}", " NATURAL JOIN generate_series(1, 2) a".repeat(n)),
            18 => format!(
                "SELECT * FROM {}",
                around(n, "(", "generate_series(1, 2) a JOIN generate_series(1, 2) b ON true", ")")
            ),
            19 => around(n, "PREPARE p AS ", "SELECT 1", ""),
            20 => around(n, "EXPLAIN ", "SELECT 1", ""),
            21 => self.chain(n, "SELECT a FROM @"),
            22 => self.chain(n, "SELECT a + 1 AS a FROM @"),
            23 => self.chain(n, "SELECT max(a) OVER () AS a FROM @"),
            24 => self.chain(n, "SELECT count(*) AS a FROM @ GROUP BY a"),
            25 => self.chain(n, "SELECT DISTINCT a FROM @ ORDER BY a LIMIT 5"),
            26 => self.chain(n, "SELECT ARRAY[a] AS a FROM @"),
            _ => format!("SELECT {}", around(n, "position('a' in ", "'a'", ")")),
        }
    }

    /// CTEs of which each names the one before as `@`.
    fn chain(&mut self, n: usize, body: &str) -> String {
        let n = n.min(BYTES_MAX / (body.len() + 20));
        let ctes: String =
            (1..=n).map(|i| format!(", c{i} AS ({})", body.replace('@', &format!("c{}", i - 1)))).collect();
        let last = self.pick(&[
            "SELECT * FROM @",
            "SELECT * FROM @ WHERE a > 5",
            "SELECT count(*) FROM @",
            "SELECT 1 WHERE 1 IN (SELECT a FROM @)",
        ]);
        let last = last.replace('@', &format!("c{n}"));
        format!("WITH c0 AS (SELECT a FROM generate_series(1, 3) t(a)){ctes} {last}")
    }

    /// One construct beside itself.
    fn wide(&mut self) -> String {
        let n = self.size(20_000);
        let list = |n: usize, item: &dyn Fn(usize) -> String, between: &str| {
            (0..n).map(item).collect::<Vec<_>>().join(between)
        };
        match self.below(16) {
            0 => format!("SELECT {}", list(n, &|i| format!("{i} c{i}"), ", ")),
            1 => format!("SELECT 1 WHERE 1 IN ({})", list(n, &|i| i.to_string(), ", ")),
            2 => {
                let op = self.pick(&[" OR ", " AND ", " + ", " || ", " - ", " * "]);
                format!(
                    "SELECT count(*) FROM generate_series(1, 9) t(a) WHERE (a{op}{}) IS NULL",
                    list(n, &|i| format!("a % {} = 1", i + 2), op)
                )
            }
            3 => format!(
                "SELECT CASE {} END FROM generate_series(1, 9) t(a)",
                list(n, &|i| format!("WHEN a = {i} THEN {i}"), " ")
            ),
            4 => format!("VALUES {}", list(n, &|i| format!("({i}, 'x')"), ", ")),
            5 => {
                format!("SELECT count(*) FROM {}", list(n.min(2_000), &|i| format!("generate_series(1, 1) t{i}"), ", "))
            }
            6 => format!(
                "SELECT count(*) FROM generate_series(1, 2) t0 (value) {}",
                list(n.min(2_000), &|i| format!("JOIN generate_series(1, 2) t{} (value) USING (value)", i + 1), " ")
            ),
            7 => format!(
                "SELECT count(*) FROM pg_class t0 {}",
                list(n.min(2_000), &|i| format!("LEFT JOIN pg_class t{} ON t{}.oid = t{i}.oid", i + 1, i + 1), " ")
            ),
            8 => format!(
                "SELECT {} FROM generate_series(1, 9) t(a)",
                list(n, &|i| format!("sum(a) OVER (ORDER BY a + {i})"), ", ")
            ),
            9 => format!("SELECT {} FROM generate_series(1, 9) t(a)", list(n, &|i| format!("sum(a + {i})"), ", ")),
            10 => list(n, &|i| format!("SELECT {i}"), " UNION ALL "),
            11 => list(n, &|i| format!("SELECT {i}"), "; "),
            12 => format!("SELECT {}", list(n, &|i| format!("(SELECT {i})"), ", ")),
            13 => {
                format!("SELECT * FROM generate_series(1, 9) t(a) ORDER BY {}", list(n, &|i| format!("a + {i}"), ", "))
            }
            14 => format!("SELECT concat({})", list(n, &|i| format!("'{i}'"), ", ")),
            _ => format!("SELECT '{}'", "x".repeat(n * 5)),
        }
    }

    /// Each step twice the one before.
    fn doubling(&mut self) -> String {
        let n = self.size(40);
        let columns = |n: usize| (0..n).map(|i| format!("a % {}", i + 2)).collect::<Vec<_>>().join(", ");
        match self.below(14) {
            0 => self.chain(n, "SELECT x.a FROM @ x JOIN @ y ON x.a = y.a"),
            1 => self.chain(n, "SELECT x.a FROM @ x, @ y"),
            2 => self.chain(n, "SELECT a FROM @ UNION ALL SELECT a FROM @"),
            3 => self.chain(n, "SELECT a FROM @ WHERE a IN (SELECT a FROM @)"),
            4 => self.chain(n, "SELECT a + a AS a FROM @"),
            5 => self.chain(n, "SELECT CASE WHEN a > 1 THEN a ELSE a - 1 END AS a FROM @"),
            6 => self.chain(n, "SELECT (SELECT max(a) FROM @) + (SELECT min(a) FROM @) AS a"),
            7 => format!("SELECT count(*) FROM generate_series(1, 9) t(a) GROUP BY CUBE ({})", columns(n)),
            8 => format!(
                "SELECT count(*) FROM generate_series(1, 9) t(a) GROUP BY {}",
                vec!["ROLLUP (a, a % 2, a % 3)"; n].join(", ")
            ),
            9 => format!(
                "SELECT count(*) FROM generate_series(1, 9) t(a) GROUP BY {}",
                vec!["GROUPING SETS ((a), (a % 2))"; n].join(", ")
            ),
            10 => {
                let ctes: String = (1..=n).map(|i| format!(", c{i} AS (SELECT s || s AS s FROM c{})", i - 1)).collect();
                format!(
                    "WITH c0 AS (SELECT 'xyz' || a AS s FROM generate_series(1, 3) t(a)){ctes} SELECT length(s) FROM c{n}"
                )
            }
            11 => {
                let ctes: String =
                    (1..=n).map(|i| format!(", c{i} AS (SELECT array_cat(s, s) AS s FROM c{})", i - 1)).collect();
                format!(
                    "WITH c0 AS (SELECT ARRAY[a] AS s FROM generate_series(1, 3) t(a)){ctes} SELECT cardinality(s) FROM c{n}"
                )
            }
            12 => {
                let ctes: String =
                    (1..=n).map(|i| format!(", c{i} AS (SELECT array_agg(s) AS s FROM c{})", i - 1)).collect();
                format!("WITH c0 AS (SELECT a AS s FROM generate_series(1, 3) t(a)){ctes} SELECT s FROM c{n}")
            }
            _ => format!(
                "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < {}) SELECT count(*) FROM r, r s",
                n * 50
            ),
        }
    }

    /// Small arguments, large results.
    fn large_values(&mut self) -> String {
        let n = self.size(1_000_000_000);
        let rows = self.size(100_000);
        let from = format!("FROM generate_series(1, {rows}) t(a)");
        match self.below(16) {
            0 => format!("SELECT length(repeat('x', {n}))"),
            1 => format!("SELECT sum(length(repeat('x', {n} + a::int))) {from}"),
            2 => format!("SELECT length(lpad('x', {n}, 'ab')), length(rpad('x', {n}, 'é'))"),
            3 => format!("SELECT length(replace(repeat('a', {rows}), 'a', repeat('b', {rows})))"),
            4 => format!("SELECT length(regexp_replace(repeat('a', {rows}), '(a)', repeat('\\1', {rows}), 'g'))"),
            5 => format!("SELECT length(array_to_string(array_agg(repeat('x', {rows})), ',')) {from}"),
            6 => format!("SELECT length(string_agg(repeat('x', {rows}), ',')) {from}"),
            7 => format!("SELECT a % 10, length(string_agg(repeat('x', {rows}), ',')) {from} GROUP BY 1"),
            8 => format!("SELECT length(concat({}))", vec![format!("repeat('x', {n})"); 40].join(", ")),
            9 => format!("SELECT length({})", vec![format!("repeat('x', {n})"); 40].join(" || ")),
            10 => format!("SELECT length(format('%1$s%1$s%1$s%1$s', repeat('x', {n})))"),
            11 => format!("SELECT cardinality(string_to_array(repeat('a,', {n}), ','))"),
            12 => format!("SELECT length(translate(repeat('a', {n}), 'a', 'é')), length(upper(repeat('ß', {n})))"),
            13 => format!(
                "SELECT length(quote_literal(repeat('''', {n}))), length(encode(repeat('a', {n})::bytea, 'hex'))"
            ),
            14 => format!("SELECT repeat('x', {rows}) {from} LIMIT 1"),
            _ => format!(
                "SELECT count(*) FROM (SELECT array_agg(a) OVER (ORDER BY a) AS s {from}) x WHERE cardinality(s) > 5"
            ),
        }
    }

    /// Work without end, cut off by the deadline.
    fn long_running(&mut self) -> String {
        let n = self.size(100_000);
        let (a, b) = (format!("generate_series(1, {n}) a(x)"), format!("generate_series(1, {n}) b(y)"));
        match self.below(8) {
            0 => format!("SELECT count(*) FROM {a} JOIN {b} ON (x * y) % 7 = 3"),
            1 => format!("SELECT count(*) FROM {a}, {b}"),
            2 => format!("SELECT max(x * y) FROM {a} CROSS JOIN {b} WHERE x <> y"),
            3 => format!("SELECT x, y FROM {a}, {b} ORDER BY x * y % 1000 LIMIT 5"),
            4 => format!("SELECT count(DISTINCT x * y) FROM {a}, {b}"),
            5 => format!(
                "SELECT sum(s) FROM (SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS s FROM {a}) q"
            ),
            6 => format!("SELECT count(*) FROM {a} WHERE NOT EXISTS (SELECT 1 FROM {b} WHERE y * x = -1)"),
            _ => format!("SELECT count(*) FROM {a} LEFT JOIN {b} ON x < y"),
        }
    }

    /// A query of the whole grammar.
    fn mixed(&mut self) -> String {
        let mut fuel = self.size(3_000);
        self.query(&mut fuel)
    }

    /// One level further in; `false` where there is no fuel for it, or it would be too deep.
    fn enter(&mut self, fuel: &mut usize) -> bool {
        *fuel = fuel.saturating_sub(1);
        let goes_on = *fuel > 0 && self.depth < DEPTH_MAX;
        self.depth += usize::from(goes_on);
        goes_on
    }

    fn query(&mut self, fuel: &mut usize) -> String {
        if !self.enter(fuel) {
            return "SELECT 1 AS a".into();
        }
        let made = self.inner_query(fuel);
        self.depth -= 1;
        made
    }

    fn inner_query(&mut self, fuel: &mut usize) -> String {
        match self.below(8) {
            0 => format!("({}) UNION ALL ({})", self.query(fuel), self.query(fuel)),
            1 => format!("WITH q AS ({}) SELECT a FROM q x, q y", self.query(fuel)),
            2 => format!("SELECT a FROM ({}) x JOIN ({}) y USING (a)", self.query(fuel), self.query(fuel)),
            3 => format!("SELECT a FROM ({}) x WHERE a IN ({})", self.query(fuel), self.query(fuel)),
            4 => format!("SELECT sum(a) OVER (ORDER BY a) AS a FROM ({}) x", self.query(fuel)),
            5 => format!("SELECT count({}) AS a FROM ({}) x GROUP BY a % 3", self.expression(fuel), self.query(fuel)),
            6 => format!("SELECT {} AS a FROM ({}) x ORDER BY 1 LIMIT 7", self.expression(fuel), self.query(fuel)),
            _ => format!(
                "SELECT {} AS a FROM generate_series(1, 4) x(a) WHERE {} > 1",
                self.expression(fuel),
                self.expression(fuel)
            ),
        }
    }

    fn expression(&mut self, fuel: &mut usize) -> String {
        if !self.enter(fuel) {
            return self.pick(&["a", "1", "2.5", "NULL", "-3"]).into();
        }
        let made = self.inner_expression(fuel);
        self.depth -= 1;
        made
    }

    fn inner_expression(&mut self, fuel: &mut usize) -> String {
        match self.below(10) {
            0 => format!("({} + {})", self.expression(fuel), self.expression(fuel)),
            1 => format!("{} - {}", self.expression(fuel), self.expression(fuel)),
            2 => format!(
                "CASE WHEN {} > 1 THEN {} ELSE {} END",
                self.expression(fuel),
                self.expression(fuel),
                self.expression(fuel)
            ),
            3 => format!("coalesce({}, {})", self.expression(fuel), self.expression(fuel)),
            4 => format!("(SELECT max(a) FROM ({}) z)", self.query(fuel)),
            5 => format!("length({}::text || 'x')", self.expression(fuel)),
            6 => format!("(ARRAY[{}, {}])[1]", self.expression(fuel), self.expression(fuel)),
            7 => format!("abs({})", self.expression(fuel)),
            8 => format!("nullif({}, {})", self.expression(fuel), self.expression(fuel)),
            _ => self.pick(&["a", "1", "2.5", "a * 2"]).into(),
        }
    }
}
