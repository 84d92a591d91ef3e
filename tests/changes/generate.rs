//! Statements that change rows, by chance. None of them depends on the order in which a table's rows lie.

use crate::oracle::random::Dice;

pub const COLUMNS: [(&str, &str); 9] = [
    ("id", "int"),
    ("a", "int"),
    ("b", "text"),
    ("n", "numeric(10,2)"),
    ("d", "date"),
    ("ts", "timestamp"),
    ("f", "double precision"),
    ("g", "boolean"),
    ("l", "bigint"),
];

/// Columns that an expression may read, with their types.
type Seen = Vec<(String, &'static str)>;

pub struct History {
    dice: Dice,
    /// Ids that no row has.
    next: i64,
}

fn of(alias: &str) -> Seen {
    COLUMNS.iter().map(|(name, of)| (format!("{alias}.{name}"), *of)).collect()
}

fn plus(a: &Seen, b: &Seen) -> Seen {
    a.iter().chain(b).cloned().collect()
}

impl History {
    pub fn new(dice: Dice) -> Self {
        Self { dice, next: 1_000 }
    }

    fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn one<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.dice.below(from.len());
        from[at]
    }

    /// Ten rows that others are joined to.
    pub fn source(&mut self) -> String {
        let rows: Vec<String> = (0..10)
            .map(|id| {
                let values: Vec<String> = COLUMNS.iter().skip(1).map(|(_, of)| self.literal(of)).collect();
                format!("({id}, {})", values.join(", "))
            })
            .collect();
        format!("INSERT INTO h.src VALUES {}", rows.join(", "))
    }

    fn literal(&mut self, of: &str) -> String {
        if self.dice.chance(12) {
            return "NULL".into();
        }
        let (month, day) = (self.dice.between(1, 12), self.dice.between(1, 27));
        match of {
            "int" => self.dice.between(-5, 30).to_string(),
            "bigint" => (self.dice.between(-5, 30) * 1_000_003).to_string(),
            "text" => self.one(&["'x'", "'yy'", "''", "'äö'", "'a b'"]).into(),
            "numeric(10,2)" => format!("{}.{:02}", self.dice.between(-50, 50), self.dice.between(0, 99)),
            "date" => format!("date '2024-{month:02}-{day:02}'"),
            "timestamp" => format!("timestamp '2024-{month:02}-{day:02} {:02}:00:01.5'", self.dice.between(0, 23)),
            "boolean" => self.one(&["true", "false"]).into(),
            _ => self.one(&["1.5", "-2", "0", "1e10", "3.25"]).into(),
        }
    }

    fn expr(&mut self, of: &'static str, seen: &Seen, depth: usize) -> String {
        let own: Vec<String> = seen.iter().filter(|(_, other)| *other == of).map(|(name, _)| name.clone()).collect();
        if self.dice.chance(35) && !own.is_empty() {
            return self.dice.pick(&own).clone();
        }
        if depth > 1 || self.dice.chance(30) {
            return self.literal(of);
        }
        let mut part = |of| self.expr(of, seen, depth + 1);
        let (same, other) = (part(of), part(of));
        let (int, text, numeric, stamp) = (part("int"), part("text"), part("numeric(10,2)"), part("timestamp"));
        let condition = self.condition(seen, depth + 1);
        let choices = match of {
            "int" => vec![
                format!("({same} + {other})"),
                format!("coalesce({same}, {other})"),
                format!("length({text})"),
                format!("(CASE WHEN {condition} THEN {same} ELSE {other} END)"),
                "(SELECT max(a) FROM h.src)".into(),
                format!("{same} / {other}"),
            ],
            "text" => vec![format!("({same} || {other})"), format!("upper({same})"), format!("{int}::text")],
            "numeric(10,2)" => vec![
                format!("({same} * 1.05)"),
                format!("round({same}, 1)"),
                format!("({int} + {same})"),
                format!("({same} / 3)"),
            ],
            "date" => {
                vec![format!("({same} + {int})"), format!("({stamp})::date"), format!("greatest({same}, {other})")]
            }
            "timestamp" => vec![format!("({same} + interval '1 day')"), format!("date_trunc('month', {same})")],
            "boolean" => vec![condition],
            "bigint" => vec![format!("({int} + {same})"), int],
            _ => vec![format!("({same} * 2)"), format!("sqrt(abs({same}))"), int, numeric],
        };
        self.dice.pick(&choices).clone()
    }

    fn condition(&mut self, seen: &Seen, depth: usize) -> String {
        let of = self.dice.pick(&COLUMNS).1;
        match self.dice.below(100) {
            0..15 if depth < 2 => {
                let word = self.one(&["AND", "OR"]);
                format!("({} {word} {})", self.condition(seen, depth + 1), self.condition(seen, depth + 1))
            }
            15..22 => format!("{} IS {}NULL", self.expr(of, seen, 2), self.one(&["", "NOT "])),
            22..30 => format!("EXISTS (SELECT 1 FROM h.src s2 WHERE s2.a = {})", self.expr("int", seen, 2)),
            30..36 => format!("{} IN (SELECT id FROM h.src)", self.expr("int", seen, 2)),
            _ => {
                let word = self.one(&["=", "<", ">", "<=", "<>"]);
                format!("{} {word} {}", self.expr(of, seen, 2), self.expr(of, seen, 2))
            }
        }
    }

    fn returning(&mut self, seen: &Seen) -> String {
        match self.dice.below(4) {
            0 | 1 => String::new(),
            2 => " RETURNING *".into(),
            _ => {
                let items: Vec<String> = (0..self.dice.below(3) + 1)
                    .map(|n| {
                        let of = self.dice.pick(&COLUMNS).1;
                        format!("{} AS x{n}", self.expr(of, seen, 1))
                    })
                    .collect();
                format!(" RETURNING {}", items.join(", "))
            }
        }
    }

    fn set(&mut self, seen: &Seen) -> String {
        match self.dice.below(20) {
            0 => format!("(a, b) = ({}, {})", self.expr("int", seen, 0), self.expr("text", seen, 0)),
            1 => format!("(a, b) = (SELECT s9.a, s9.b FROM h.src s9 WHERE s9.id = {})", self.expr("int", seen, 1)),
            _ => {
                let mut columns = self.dice.some(&COLUMNS[1..], 25);
                if columns.is_empty() {
                    columns.push(COLUMNS[1]);
                }
                let one = |(name, of): (&str, &'static str)| match self.dice.chance(5) {
                    true => format!("{name} = DEFAULT"),
                    false => format!("{name} = {}", self.expr(of, seen, 0)),
                };
                columns.into_iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// A table's name, and a statement that may change it.
    pub fn statement(&mut self, tables: &[&str]) -> (String, String) {
        let table = *self.dice.pick(tables);
        let name = if table == "temp" { "temp".to_string() } else { format!("h.{table}") };
        let (own, source) = (of("t"), of("s"));
        let both = plus(&own, &source);
        let sql = match self.dice.below(100) {
            0..22 => {
                let columns: Vec<_> = self.dice.some(&COLUMNS[1..], 50);
                let names: Vec<&str> = std::iter::once("id").chain(columns.iter().map(|(name, _)| *name)).collect();
                let rows: Vec<String> = (0..self.dice.below(4) + 1)
                    .map(|_| {
                        let id = self.fresh().to_string();
                        let values = columns.iter().map(|(_, of)| match self.dice.chance(5) {
                            true => "DEFAULT".to_string(),
                            false => self.literal(of),
                        });
                        let values: Vec<String> = std::iter::once(id).chain(values).collect();
                        format!("({})", values.join(", "))
                    })
                    .collect();
                let (names, rows) = (names.join(", "), rows.join(", "));
                format!("INSERT INTO {name} AS t ({names}) VALUES {rows}{}", self.returning(&own))
            }
            22..28 => {
                let from = self.fresh() * 100;
                let seen = vec![("a".to_string(), "int"), ("b".to_string(), "text")];
                let condition = self.condition(&seen, 0);
                format!("INSERT INTO {name} (id, a, b, n) SELECT id + {from}, a, b, n FROM h.src WHERE {condition}")
            }
            28..42 => format!("DELETE FROM {name} AS t WHERE {}{}", self.condition(&own, 0), self.returning(&own)),
            42..50 => {
                let (condition, returning) = (self.condition(&both, 0), self.returning(&both));
                format!("DELETE FROM {name} AS t USING h.src AS s WHERE t.id % 10 = s.id AND {condition}{returning}")
            }
            50..68 => {
                let (set, condition) = (self.set(&own), self.condition(&own, 0));
                format!("UPDATE {name} AS t SET {set} WHERE {condition}{}", self.returning(&own))
            }
            68..78 => {
                let (set, condition, returning) = (self.set(&both), self.condition(&both, 0), self.returning(&both));
                format!("UPDATE {name} t SET {set} FROM h.src s WHERE t.id % 10 = s.id AND {condition}{returning}")
            }
            78..88 => self.merge(&name, &own, &source),
            _ if table == "keyed" => self.upsert(&name, &own),
            _ => self.merge(&name, &own, &source),
        };
        (name, sql)
    }

    fn merge(&mut self, name: &str, own: &Seen, source: &Seen) -> String {
        let both = plus(own, source);
        let mut whens = vec![];
        if self.dice.chance(60) {
            whens.push(format!("WHEN MATCHED AND {} THEN DELETE", self.condition(&both, 0)));
        }
        if self.dice.chance(30) {
            whens.push(format!("WHEN NOT MATCHED AND {} THEN DO NOTHING", self.condition(source, 0)));
        }
        if self.dice.chance(80) {
            whens.push(format!("WHEN MATCHED THEN UPDATE SET {}", self.set(&both)));
        }
        let (int, text) = (self.expr("int", source, 0), self.expr("text", source, 0));
        whens.push(format!("WHEN NOT MATCHED THEN INSERT (id, a, b, ts) VALUES (s.id, {int}, {text}, s.ts)"));
        let from = self.one(&["h.src AS s", "(SELECT * FROM h.src WHERE a > 4) AS s"]);
        format!("MERGE INTO {name} AS t USING {from} ON t.id = s.id {}", whens.join(" "))
    }

    fn upsert(&mut self, name: &str, own: &Seen) -> String {
        let rows: Vec<String> = (0..self.dice.below(4) + 1)
            .map(|_| {
                let (a, b, n) = (self.literal("int"), self.literal("text"), self.literal("numeric(10,2)"));
                format!("({}, {a}, {b}, {n})", self.dice.between(0, 40))
            })
            .collect();
        let seen = plus(own, &of("excluded"));
        let then = match self.dice.below(10) {
            0..4 => self.one(&["DO NOTHING", "(id) DO NOTHING"]).to_string(),
            4..7 => format!("(id) DO UPDATE SET {}", self.set(&seen)),
            _ => format!("(id) DO UPDATE SET {} WHERE {}", self.set(&seen), self.condition(&seen, 0)),
        };
        let (rows, returning) = (rows.join(", "), self.returning(own));
        format!("INSERT INTO {name} AS t (id, a, b, n) VALUES {rows} ON CONFLICT {then}{returning}")
    }
}
