//! Queries by chance over `tests/slt/tables.sql`: joins, correlated subqueries, grouping sets, windows, set operations and
//! recursion over tables with NULLs. It builds texts; it runs none.

use crate::oracle::random::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Whole,
    Numeric,
    Text,
    Day,
    Truth,
}

const KINDS: [Of; 4] = [Of::Whole, Of::Numeric, Of::Text, Of::Day];

const TABLES: &[(&str, &[(&str, Of)])] = &[
    (
        "shop.customers",
        &[
            ("id", Of::Whole),
            ("name", Of::Text),
            ("region", Of::Text),
            ("born", Of::Day),
            ("credit", Of::Numeric),
            ("active", Of::Truth),
        ],
    ),
    (
        "shop.orders",
        &[
            ("id", Of::Whole),
            ("customer_id", Of::Whole),
            ("total", Of::Numeric),
            ("status", Of::Text),
            ("items", Of::Whole),
        ],
    ),
    (
        "shop.items",
        &[("order_id", Of::Whole), ("line", Of::Whole), ("sku", Of::Text), ("qty", Of::Whole), ("price", Of::Numeric)],
    ),
    ("shop.truth", &[("a", Of::Truth), ("b", Of::Truth)]),
];

/// What may be named at one level, outermost first.
type Scopes = Vec<Vec<(String, Of)>>;

pub struct Queries<'d> {
    dice: &'d mut Dice,
    names: usize,
}

impl<'d> Queries<'d> {
    pub fn statement(dice: &'d mut Dice) -> String {
        let mut queries = Self { dice, names: 0 };
        let width = 1 + queries.dice.below(3);
        let of: Vec<Of> = (0..width).map(|_| queries.kind()).collect();
        let depth = 1 + queries.dice.below(3);
        queries.query(&of, &vec![], depth)
    }

    fn kind(&mut self) -> Of {
        *self.dice.pick(&KINDS)
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("x{}", self.names)
    }

    /// A query whose columns are of these kinds, under the names `c0 …`.
    fn query(&mut self, of: &[Of], outer: &Scopes, depth: usize) -> String {
        if depth > 1 && self.dice.chance(12) {
            let operation =
                self.dice.pick(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
            let (left, right) = (self.query(of, outer, depth - 1), self.query(of, outer, depth - 1));
            return format!("({left}) {operation} ({right})");
        }
        let mut scopes = outer.clone();
        let (from, columns) = self.from(outer, depth);
        scopes.push(columns);
        let mut filter = String::new();
        if self.dice.chance(60) {
            filter = format!(" WHERE {}", self.truth(&scopes, depth - 1));
        }
        if self.dice.chance(30) {
            return self.grouped(of, &from, &filter, &scopes, depth);
        }
        let windows = self.dice.chance(20);
        let list: Vec<String> = of
            .iter()
            .map(|of| if windows { self.window(*of, &scopes) } else { self.value(*of, &scopes, depth - 1) })
            .collect();
        let distinct = if self.dice.chance(15) { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {from}{filter}", named(&list));
        if self.dice.chance(15) {
            // by every column: which rows a limit leaves must not be open
            let places: Vec<String> = (1..=of.len()).map(|n| n.to_string()).collect();
            let first = self.dice.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            sql = format!("{sql} ORDER BY {}{first} LIMIT {}", places.join(", "), self.dice.below(5));
            sql = format!("SELECT * FROM ({sql}) {}", self.name());
        }
        sql
    }

    fn grouped(&mut self, of: &[Of], from: &str, filter: &str, scopes: &Scopes, depth: usize) -> String {
        let keys: Vec<(String, Of)> = (0..1 + self.dice.below(2)).map(|_| self.column(scopes)).collect();
        let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
        let group = match self.dice.below(5) {
            0 => format!("ROLLUP ({})", names.join(", ")),
            1 => format!("CUBE ({})", names.join(", ")),
            2 => format!("GROUPING SETS (({}), ())", names.join(", ")),
            _ => names.join(", "),
        };
        let list: Vec<String> = of
            .iter()
            .map(|of| match keys.iter().find(|(_, key)| key == of) {
                Some((name, _)) if self.dice.chance(60) => name.clone(),
                _ => self.aggregate(*of, scopes, depth),
            })
            .collect();
        let having = match self.dice.chance(30) {
            true => format!(" HAVING {} > {}", self.aggregate(Of::Whole, scopes, depth), self.dice.below(3)),
            false => String::new(),
        };
        format!("SELECT {} FROM {from}{filter} GROUP BY {group}{having}", named(&list))
    }

    fn from(&mut self, outer: &Scopes, depth: usize) -> (String, Vec<(String, Of)>) {
        let (mut sql, mut columns) = self.relation(outer, depth);
        for _ in 0..self.dice.below(3) {
            let kind = *self.dice.pick(&[
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "CROSS JOIN",
                "LEFT JOIN LATERAL",
                "CROSS JOIN LATERAL",
            ]);
            if kind.ends_with("LATERAL") {
                let mut scopes = outer.clone();
                scopes.push(columns.clone());
                let of = [self.kind()];
                let (inner, name) = (self.query(&of, &scopes, depth.saturating_sub(1).max(1)), self.name());
                let on = if kind.starts_with("LEFT") { " ON true" } else { "" };
                sql = format!("{sql} {kind} ({inner}) {name}{on}");
                columns.push((format!("{name}.c0"), of[0]));
                continue;
            }
            let (right, more) = self.relation(outer, depth);
            let on = match kind {
                "CROSS JOIN" => String::new(),
                "FULL JOIN" => format!(" ON {}", self.equal(&columns, &more).unwrap_or_else(|| "true".into())),
                _ => match (self.equal(&columns, &more), self.dice.chance(25)) {
                    (Some(equal), false) => format!(" ON {equal}"),
                    _ => {
                        let mut scopes = outer.clone();
                        scopes.push(columns.iter().chain(&more).cloned().collect());
                        format!(" ON {}", self.truth(&scopes, 0))
                    }
                },
            };
            sql = format!("{sql} {kind} {right}{on}");
            columns.extend(more);
        }
        (sql, columns)
    }

    fn equal(&mut self, left: &[(String, Of)], right: &[(String, Of)]) -> Option<String> {
        let pairs: Vec<(&str, &str)> = left
            .iter()
            .flat_map(|(l, of)| {
                right.iter().filter(move |(_, other)| other == of).map(move |(r, _)| (l.as_str(), r.as_str()))
            })
            .collect();
        (!pairs.is_empty()).then(|| {
            let (l, r) = self.dice.pick(&pairs);
            format!("{l} = {r}")
        })
    }

    fn relation(&mut self, outer: &Scopes, depth: usize) -> (String, Vec<(String, Of)>) {
        let alias = self.name();
        if depth > 1 && self.dice.chance(20) {
            let of = [self.kind(), self.kind()];
            let query = self.query(&of, outer, depth - 1);
            return (
                format!("({query}) {alias}"),
                vec![(format!("{alias}.c0"), of[0]), (format!("{alias}.c1"), of[1])],
            );
        }
        if self.dice.chance(8) {
            let steps = 2 + self.dice.below(4);
            let sql = format!(
                "(WITH RECURSIVE r(n, s) AS (SELECT 1::int8, 'a'::text UNION ALL SELECT n + 1, s || 'b' FROM r WHERE n < {steps}) \
                 SELECT * FROM r) {alias}"
            );
            return (sql, vec![(format!("{alias}.n"), Of::Whole), (format!("{alias}.s"), Of::Text)]);
        }
        let (table, columns) = self.dice.pick(TABLES);
        let columns = columns.iter().map(|(name, of)| (format!("{alias}.{name}"), *of)).collect();
        (format!("{table} {alias}"), columns)
    }

    /// A column of the innermost level.
    fn column(&mut self, scopes: &Scopes) -> (String, Of) {
        self.dice.pick(scopes.last().expect("a level")).clone()
    }

    fn found(&mut self, of: Of, scopes: &Scopes) -> Option<String> {
        let reach = if self.dice.chance(30) { scopes.len() } else { 1 };
        let levels = scopes.iter().rev().take(reach);
        let names: Vec<&String> = levels.flatten().filter(|(_, kind)| *kind == of).map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| (*self.dice.pick(&names)).clone())
    }

    fn value(&mut self, of: Of, scopes: &Scopes, depth: usize) -> String {
        if depth > 0 && self.dice.chance(15) {
            return self.scalar(of, scopes, depth);
        }
        match self.found(of, scopes) {
            Some(name) if self.dice.chance(75) => match (of, self.dice.below(6)) {
                (Of::Whole, 0) => format!("{name} + {}", self.dice.below(4)),
                (Of::Numeric, 0) => format!("{name} * 2"),
                (Of::Text, 0) => format!("coalesce({name}, 'none')"),
                (Of::Day, 0) => format!("{name} - 1"),
                (Of::Truth, 0) => format!("NOT {name}"),
                (_, 1) => format!("CASE WHEN {} THEN {name} END", self.truth(scopes, 0)),
                _ => name,
            },
            _ => self.literal(of),
        }
    }

    fn literal(&mut self, of: Of) -> String {
        let of = match of {
            Of::Whole => self.dice.pick(&["1::int8", "2::int8", "10::int8", "NULL::int8"]),
            Of::Numeric => self.dice.pick(&["5.00", "19.99", "0.5", "NULL::numeric"]),
            Of::Text => self.dice.pick(&["'paid'::text", "'EU'::text", "''::text", "NULL::text"]),
            Of::Day => self.dice.pick(&["date '2000-02-29'", "date '1999-12-31'", "NULL::date"]),
            Of::Truth => self.dice.pick(&["true", "false", "NULL::boolean"]),
        };
        (*of).to_string()
    }

    /// A subquery that gives one row at most.
    fn scalar(&mut self, of: Of, scopes: &Scopes, depth: usize) -> String {
        let (from, columns) = self.relation(&vec![], 1);
        let mut inner = scopes.clone();
        inner.push(columns);
        let filter = self.truth(&inner, depth - 1);
        format!("(SELECT {} FROM {from} WHERE {filter})", self.aggregate(of, &inner, 0))
    }

    fn aggregate(&mut self, of: Of, scopes: &Scopes, _depth: usize) -> String {
        let level = vec![scopes.last().expect("a level").clone()];
        let filter =
            if self.dice.chance(15) { format!(" FILTER (WHERE {})", self.truth(&level, 0)) } else { String::new() };
        let of_column = |queries: &mut Self, of| queries.found(of, &level).unwrap_or_else(|| queries.literal(of));
        let call = match (of, self.dice.below(4)) {
            (Of::Whole, 0) => "count(*)".to_string(),
            (Of::Whole, 1) => {
                let distinct = if self.dice.chance(40) { "DISTINCT " } else { "" };
                format!("count({distinct}{})", self.column(&level).0)
            }
            (Of::Numeric, 0) => format!("sum({})", of_column(self, Of::Whole)),
            (Of::Numeric, 1) => format!("avg({})", of_column(self, Of::Numeric)),
            (Of::Text, 0) => {
                let name = of_column(self, Of::Text);
                format!("string_agg({name}, ',' ORDER BY {name})")
            }
            (Of::Truth, _) => format!("bool_or({})", of_column(self, Of::Truth)),
            (_, n) => format!("{}({})", if n % 2 == 0 { "min" } else { "max" }, of_column(self, of)),
        };
        format!("{call}{filter}")
    }

    /// What does not depend on the order of rows that sort alike.
    fn window(&mut self, of: Of, scopes: &Scopes) -> String {
        let level = vec![scopes.last().expect("a level").clone()];
        let (partition, order) = (self.column(&level).0, self.column(&level).0);
        let partition = if self.dice.chance(60) { format!("PARTITION BY {partition} ") } else { String::new() };
        let frame = *self.dice.pick(&[
            "",
            " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE GROUP",
        ]);
        let direction = self.dice.pick(&["", " DESC", " NULLS FIRST"]);
        let over = format!("OVER ({partition}ORDER BY {order}{direction}{frame})");
        let argument = self.found(of, &level).unwrap_or_else(|| self.literal(of));
        match (of, self.dice.below(3)) {
            (Of::Whole, 0) => format!("rank() {over}"),
            (Of::Whole, 1) => format!("count({argument}) {over}"),
            (Of::Numeric, 0) => format!("sum({argument}) {over}"),
            (Of::Truth, _) => format!("bool_and({argument}) {over}"),
            (_, n) => format!("{}({argument}) {over}", if n == 2 { "min" } else { "max" }),
        }
    }

    fn truth(&mut self, scopes: &Scopes, depth: usize) -> String {
        let of = self.kind();
        let value = |queries: &mut Self| queries.value(of, scopes, 0);
        match self.dice.below(if depth > 0 { 14 } else { 8 }) {
            0 | 1 => {
                let operator = *self.dice.pick(&["=", "<>", "<", ">", ">="]);
                format!("{} {operator} {}", value(self), value(self))
            }
            2 => format!("{} IS {}NULL", value(self), self.dice.pick(&["", "NOT "])),
            3 => format!("{} IS DISTINCT FROM {}", value(self), value(self)),
            4 => format!("({} OR {})", self.truth(scopes, 0), self.truth(scopes, 0)),
            5 => format!("{} AND {}", self.truth(scopes, 0), self.truth(scopes, 0)),
            6 => format!("NOT ({})", self.truth(scopes, 0)),
            7 => format!("{} IN ({}, {})", value(self), self.literal(of), self.literal(of)),
            8 | 9 => format!("{}EXISTS ({})", self.dice.pick(&["", "NOT "]), self.query(&[of], scopes, depth)),
            10 | 11 => {
                let inside = self.query(&[of], scopes, depth);
                format!("{} {}IN ({inside})", value(self), self.dice.pick(&["", "NOT "]))
            }
            12 => {
                let inside = self.query(&[of], scopes, depth);
                let (operator, every) = (*self.dice.pick(&["=", "<", ">="]), *self.dice.pick(&["ANY", "ALL"]));
                format!("{} {operator} {every} ({inside})", value(self))
            }
            _ => format!("{} = {}", value(self), self.scalar(of, scopes, depth)),
        }
    }
}

fn named(list: &[String]) -> String {
    let named: Vec<String> = list.iter().enumerate().map(|(n, value)| format!("{value} AS c{n}")).collect();
    named.join(", ")
}
