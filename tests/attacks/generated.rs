//! Statements made by chance from parts that leaked elsewhere (attacks 1, 8, 9, 18, 33): expressions that fail or differ
//! on hidden rows only, in every position an expression can stand in, with pruning provoked and not.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::oracle::{Oracle, Over};

/// How many statements a run; LAKEGATE_ATTACKS asks for more.
const STATEMENTS: usize = 120;

/// Fails on some hidden row, on none that is shown.
const LEAKY: &[&str] = &[
    "1 / (e.salary - 20)",
    "1 / (e.salary - 99)",
    "1 / (e.salary - 41)",
    "100 % (e.salary - 20)",
    "(e.secret || '0')::int",
    "e.secret::int",
    "CASE WHEN e.salary = 20 THEN 1 / (e.salary - 20) ELSE e.id END",
    "CASE WHEN e.region = 'US' THEN e.name::int ELSE e.id END",
    "CASE WHEN e.region IS NULL THEN 1 / (e.id - e.id) ELSE e.salary END",
    "coalesce(nullif(e.salary, 99), 1 / (e.salary - 99))",
    "length(repeat(e.name, e.salary - 20))",
    "(2147483600 + e.salary)::int",
    "substr(e.name, e.salary - 29, 1)::int * 0 + 1",
    "round(1.0 / (e.salary - 20), 2)::int",
    "date_part('year', make_date(2000, 1, e.id + 1))::int",
    "sqrt(e.salary - 20)::int",
    "factorial(25 - e.salary / 5)::int",
    "strpos(e.ssn, 'S-')",
    "e.bonus * 3",
    "length(e.ssn)",
    "nullif(e.bonus, 9) - 1",
];

/// `{x}` is an integer expression over `e`.
const PLACES: &[&str] = &[
    "SELECT e.id FROM {t} e WHERE {x} > 0 ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE NOT ({x} > 0) ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE {x} IS NOT NULL AND e.id > 0 ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE e.id > 0 AND e.salary >= 30 AND {x} <> 5 ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE e.active OR {x} = 1 ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE {x} IN (1, 2, 3) OR e.region = 'US' ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE {x} BETWEEN 0 AND 9 ORDER BY 1",
    "SELECT e.id, {x} AS x FROM {t} e ORDER BY 1",
    "SELECT DISTINCT {x} AS x FROM {t} e ORDER BY 1",
    "SELECT sum({x}), count({x}), max({x}) FROM {t} e",
    "SELECT count(*) FILTER (WHERE {x} > 1) FROM {t} e",
    "SELECT {x} AS k, count(*) FROM {t} e GROUP BY 1 ORDER BY 1",
    "SELECT max(e.id) FROM {t} e GROUP BY e.active HAVING max({x}) > 0 ORDER BY 1",
    "SELECT e.id FROM {t} e ORDER BY {x}, e.id",
    "SELECT e.id FROM {t} e ORDER BY {x} DESC, e.id LIMIT 1",
    "SELECT e.id, sum({x}) OVER (ORDER BY e.id) AS s FROM {t} e ORDER BY 1",
    "SELECT e.id, rank() OVER (PARTITION BY e.active ORDER BY {x}) AS s FROM {t} e ORDER BY 1",
    "SELECT e.id FROM {t} e JOIN {d} d ON {x} = d.id ORDER BY 1, d.id",
    "SELECT d.id FROM {d} d LEFT JOIN {t} e ON e.id = d.id AND {x} > 0 WHERE e.id IS NULL ORDER BY 1",
    "SELECT d.id FROM {d} d WHERE EXISTS (SELECT 1 FROM {t} e WHERE e.id = d.id AND {x} >= 0) ORDER BY 1",
    "SELECT d.id FROM {d} d WHERE d.id IN (SELECT {x} FROM {t} e) ORDER BY 1",
    "SELECT d.id, (SELECT max({x}) FROM {t} e WHERE e.id >= d.id) AS m FROM {d} d ORDER BY 1",
    "WITH c AS (SELECT e.id, {x} AS x FROM {t} e) SELECT id FROM c WHERE x > 0 ORDER BY 1",
    "SELECT x FROM (SELECT {x} AS x, e.region FROM {t} e) s WHERE region <> 'US' ORDER BY 1",
    "SELECT e.id FROM {t} e WHERE {x} > 0 UNION ALL SELECT e.id FROM {t} e WHERE e.salary > 90 ORDER BY 1",
    "SELECT {x} AS x FROM {t} e EXCEPT SELECT id FROM {d} ORDER BY 1",
    "SELECT count(*) FROM {g} e WHERE {x} > 0",
    "SELECT e.id, {x} AS x FROM {g} e ORDER BY 1",
    "SELECT d.id FROM {d} d, LATERAL (SELECT {x} AS x FROM {t} e WHERE e.id = d.id) l WHERE l.x IS NOT NULL ORDER BY 1",
    "SELECT min({x}), count(*) FROM {t} e WHERE e.salary < 1000",
    "SELECT CASE WHEN (SELECT sum({x}) FROM {t} e) > 0 THEN 1 ELSE 2 END",
    "SELECT a.id FROM {t} e JOIN {t} a ON a.salary = {x} + 29 ORDER BY 1",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_generated_statement_tells_of_hidden_rows() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse().ok());
    let seed: u64 = number("LAKEGATE_SEED").unwrap_or_else(rand::random);
    let count = number("LAKEGATE_ATTACKS").map_or(STATEMENTS, |n| usize::try_from(n).unwrap());
    println!("LAKEGATE_SEED={seed}, {count} statements");
    let mut random = StdRng::seed_from_u64(seed);
    let oracle = Oracle::start().await;
    let statements = (0..count).map(|n| {
        // every place once, then by chance
        let place = PLACES.get(n).unwrap_or_else(|| PLACES.choose(&mut random).unwrap());
        let x = LEAKY.choose(&mut random).unwrap();
        let x = match random.random_range(0..4) {
            0 => format!("coalesce({x}, {})", LEAKY.choose(&mut random).unwrap()),
            1 => format!("abs({x})"),
            _ => format!("({x})"),
        };
        place.replace("{x}", &x)
    });
    let answers = oracle.judge_all(statements.collect::<Vec<_>>(), Over::All).await;
    let errors: Vec<_> = answers.iter().filter(|(_, answer)| answer.starts_with("ERROR")).collect();
    println!("{} answers, {} errors", answers.len(), errors.len());
    assert!(errors.len() * 2 < answers.len(), "{errors:#?}");
}
