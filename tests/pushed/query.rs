//! Statements by chance over `@.things` and `@.parts`, each with an order over all that it shows.

use rand::Rng;
use rand::rngs::StdRng;

/// Columns of things by what they are.
const NUMBERS: [&str; 8] = ["s", "i", "l", "r", "f", "n", "p", "id"];
const TEXTS: [&str; 4] = ["t", "v", "c", "m::text"];
const TIMES: [&str; 5] = ["d", "ts", "tz", "tm", "iv"];
const OTHERS: [&str; 3] = ["b", "y", "u"];

pub fn letter(random: &mut StdRng) -> char {
    const ALL: [char; 16] = ['a', '\'', '"', '\\', '{', '}', ',', ' ', '%', '_', '$', 'ä', '漢', '😀', '\n', ';'];
    pick(random, &ALL)
}

fn pick<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

fn column(random: &mut StdRng) -> String {
    let of = match random.random_range(0..4) {
        0 => pick(random, &NUMBERS),
        1 => pick(random, &TEXTS),
        2 => pick(random, &TIMES),
        _ => pick(random, &OTHERS),
    };
    format!("a.{of}")
}

fn constant(random: &mut StdRng, column: &str) -> String {
    let n = random.random_range(-6..30);
    match column.trim_start_matches("a.").trim_start_matches("x.") {
        "n" => pick(random, &["1.25", "2.50", "0", "'NaN'", "'Infinity'", "3"]).into(),
        "p" => format!("{}", f64::from(n) / 4.0),
        "r" | "f" => format!("'{}'", f64::from(n) / 4.0),
        "l" => format!("{}", i64::from(n) * 4_000_000_000),
        "s" | "i" | "id" | "thing" => n.to_string(),
        "t" => format!("'text {n}'"),
        "v" => pick(random, &["'a'", "'B'", "'ä'", "''", "'a''b\"\\'", "'zz'"]).into(),
        "c" => pick(random, &["'c1'", "'c2  '", "'c'", "'d'"]).into(),
        "m::text" => pick(random, &["'sad'", "'happy'", "'x'"]).into(),
        "d" => pick(random, &["date '2024-01-05'", "'infinity'", "'0044-03-15 BC'", "'2024-01-15'"]).into(),
        "ts" => pick(random, &["timestamp '2024-01-03 12:00'", "'-infinity'", "'2024-01-08'"]).into(),
        "tz" => pick(random, &["timestamptz '2024-01-03 12:00+02'", "'2024-01-02 00:00+00'"]).into(),
        "tm" => "'07:00'".into(),
        "iv" => pick(random, &["interval '2 days'", "'50 hours'"]).into(),
        "b" => pick(random, &["true", "false"]).into(),
        "y" => "'\\x12'".into(),
        _ => "md5('3')::uuid".into(),
    }
}

/// Something of whole numbers, small.
fn whole(random: &mut StdRng, depth: usize) -> String {
    match random.random_range(0..if depth == 0 { 3 } else { 8 }) {
        0 => "a.i".into(),
        1 => "a.id".into(),
        2 => random.random_range(1..9).to_string(),
        3 => format!("({} + {})", whole(random, depth - 1), whole(random, depth - 1)),
        4 => format!("({} * 2 - {})", whole(random, depth - 1), whole(random, depth - 1)),
        5 => format!("length({})", text(random, depth - 1)),
        6 => format!("CASE WHEN {} THEN {} ELSE 3 END", truth(random, depth - 1), whole(random, depth - 1)),
        _ => format!("coalesce({}, {})", whole(random, depth - 1), whole(random, depth - 1)),
    }
}

fn text(random: &mut StdRng, depth: usize) -> String {
    match random.random_range(0..if depth == 0 { 2 } else { 6 }) {
        0 => "a.t".into(),
        1 => "a.v::text".into(),
        2 => format!("({} || {})", text(random, depth - 1), text(random, depth - 1)),
        3 => format!("substr({}, 2, 3)", text(random, depth - 1)),
        4 => format!("replace({}, 't', 'Ü')", text(random, depth - 1)),
        _ => format!("upper({})", text(random, depth - 1)),
    }
}

fn truth(random: &mut StdRng, depth: usize) -> String {
    let operators = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"];
    if depth == 0 || random.random_bool(0.3) {
        let of = column(random);
        return format!("{of} {} {}", pick(random, &operators), constant(random, &of));
    }
    match random.random_range(0..11) {
        0 => format!("({} AND {})", truth(random, depth - 1), truth(random, depth - 1)),
        1 => format!("({} OR {})", truth(random, depth - 1), truth(random, depth - 1)),
        2 => format!("NOT ({})", truth(random, depth - 1)),
        3 => format!("{} IS {}NULL", column(random), pick(random, &["", "NOT "])),
        4 => {
            let of = column(random);
            let all: Vec<String> = (0..random.random_range(1..14)).map(|_| constant(random, &of)).collect();
            format!("{of} {}IN ({})", pick(random, &["", "NOT "]), all.join(", "))
        }
        5 => format!("{} {} {}", whole(random, 2), pick(random, &operators), whole(random, 2)),
        6 => format!("{} {} {}", text(random, 2), pick(random, &operators), text(random, 1)),
        7 => format!("{} LIKE '{}'", text(random, 1), pick(random, &["text 1%", "%t_", "_", "%", "a%", "te\\_t%"])),
        8 => format!("({}) IS {}", truth(random, depth - 1), pick(random, &["TRUE", "NOT TRUE", "UNKNOWN", "FALSE"])),
        9 => {
            let of = pick(random, &["a.i", "a.n", "a.d", "a.t", "a.p", "a.ts"]);
            format!("{of} BETWEEN {} AND {}", constant(random, of), constant(random, of))
        }
        _ => pick(
            random,
            &[
                "EXISTS (SELECT FROM @.parts x WHERE x.thing = a.id AND x.i > 2)",
                "NOT EXISTS (SELECT FROM @.parts x WHERE x.thing = a.id)",
                "a.id IN (SELECT x.thing FROM @.parts x WHERE x.i = 1)",
                "a.p > (SELECT avg(x.p) FROM @.parts x)",
                "a.i = (SELECT max(x.i) FROM @.parts x WHERE x.thing = a.id)",
            ],
        )
        .into(),
    }
}

fn shown(random: &mut StdRng) -> String {
    match random.random_range(0..5) {
        0 => whole(random, 2),
        1 => text(random, 2),
        2 => format!("({})", truth(random, 1)),
        3 => pick(
            random,
            &[
                "a.n + a.p",
                "a.p * 3 - 1",
                "a.p / 7",
                "round(a.p, 1)",
                "-a.i",
                "abs(a.i)",
                "a.ts + interval '1 day'",
                "a.d - 3",
            ],
        )
        .into(),
        _ => column(random),
    }
}

fn aggregate(random: &mut StdRng) -> String {
    let of = pick(
        random,
        &[
            "count(*)",
            "count(a.v)",
            "count(DISTINCT a.t)",
            "sum(a.i)",
            "sum(a.p)",
            "sum(a.l)",
            "avg(a.p)",
            "avg(a.i)",
            "min(a.t)",
            "max(a.v)",
            "max(a.n)",
            "min(a.d)",
            "max(a.ts)",
            "min(a.f)",
            "bool_or(a.b)",
            "bool_and(a.b)",
            "sum(a.n)",
            "max(a.iv)",
            "sum(DISTINCT a.s)",
        ],
    );
    match random.random_range(0..3) {
        0 => format!("{of} FILTER (WHERE {})", truth(random, 1)),
        _ => of.into(),
    }
}

fn from(random: &mut StdRng) -> String {
    let on = pick(
        random,
        &["x.thing = a.id", "x.t = a.t", "x.thing = a.id AND x.i < a.i", "x.p = a.p AND x.d >= a.d", "x.d = a.d"],
    );
    match random.random_range(0..6) {
        0 => format!("@.things a JOIN @.parts x ON {on}"),
        1 => format!("@.things a LEFT JOIN @.parts x ON {on} AND x.i > 0"),
        2 => format!("@.parts x RIGHT JOIN @.things a ON {on}"),
        3 => "(SELECT * FROM @.things ORDER BY id LIMIT 60) a".into(),
        _ => "@.things a".into(),
    }
}

pub fn statement(random: &mut StdRng) -> String {
    let (from, mut filter) = (from(random), String::new());
    if random.random_bool(0.8) {
        filter = format!(" WHERE {}", truth(random, 3));
    }
    let order = |count: usize| (1..=count).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let limit = match random.random_range(0..4) {
        0 => format!(" LIMIT {}", random.random_range(0..20)),
        1 => format!(" LIMIT {} OFFSET {}", random.random_range(1..20), random.random_range(0..9)),
        _ => String::new(),
    };
    match random.random_range(0..6) {
        0 => {
            let all: Vec<String> = (0..random.random_range(1..4)).map(|_| aggregate(random)).collect();
            format!("SELECT {} FROM {from}{filter} ORDER BY {}{limit}", all.join(", "), order(all.len()))
        }
        1 | 2 => {
            let by = pick(random, &["a.i", "a.t", "a.c", "a.n", "a.d", "a.b", "a.v", "a.f", "a.i % 3", "a.u", "a.iv"]);
            let all: Vec<String> = (0..random.random_range(1..3)).map(|_| aggregate(random)).collect();
            let having = if random.random_bool(0.3) { " HAVING count(*) > 2" } else { "" };
            format!(
                "SELECT {by}, {} FROM {from}{filter} GROUP BY {by}{having} ORDER BY {}{limit}",
                all.join(", "),
                order(all.len() + 1)
            )
        }
        3 => {
            let all: Vec<String> = (0..random.random_range(1..3)).map(|_| shown(random)).collect();
            format!("SELECT DISTINCT {} FROM {from}{filter} ORDER BY {}{limit}", all.join(", "), order(all.len()))
        }
        4 => {
            let one = truth(random, 2);
            let other = "SELECT x.i, x.t FROM @.parts x WHERE x.i < 3 AND x.t <> 'text 4'";
            format!("SELECT a.i, a.t FROM @.things a WHERE {one} UNION ALL {other} ORDER BY 1, 2{limit}")
        }
        _ => {
            let all: Vec<String> = (0..random.random_range(1..5)).map(|_| shown(random)).collect();
            format!("SELECT {} FROM {from}{filter} ORDER BY {}{limit}", all.join(", "), order(all.len()))
        }
    }
}
