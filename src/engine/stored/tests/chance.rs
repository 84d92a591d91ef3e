//! Reflections, statements and people by chance: an answer with reflections is the answer without them, and many are.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::shop::{Dice, Shop, USERS};

const DIMENSIONS: [&str; 10] = [
    "date_trunc('day', seen)",
    "region",
    "product",
    "flag",
    "secret",
    "date_trunc('hour', at)",
    "date_trunc('day', at)",
    "date_trunc('week', at)",
    "date_trunc('month', at)",
    "lower(region)",
];
/// Of which an expression of GROUP BY may be made.
const COARSER: [&str; 5] =
    ["date_trunc('month', at)", "date_trunc('quarter', at)", "date_trunc('week', at)", "upper(region)", "product % 3"];
const MEASURES: [&str; 18] = [
    "count(*)",
    "count(qty)",
    "sum(qty)",
    "sum(amount)",
    "count(amount)",
    "sum(big)",
    "count(big)",
    "min(qty)",
    "max(amount)",
    "min(region)",
    "max(at)",
    "bool_and(flag)",
    "bool_or(product > 3)",
    "sum(qty) FILTER (WHERE flag)",
    "sum(price)",
    "sum(qty * product)",
    "avg(qty)",
    "count(DISTINCT product)",
];
const ASKED: [&str; 14] = [
    "avg(qty)",
    "avg(amount)",
    "avg(big)",
    "count(DISTINCT region)",
    "count(DISTINCT product)",
    "sum(DISTINCT product)",
    "count(region)",
    "count(product)",
    "max(product)",
    "min(date_trunc('day', at))",
    "sum(qty) FILTER (WHERE region = 'EU')",
    "count(*) FILTER (WHERE product > 3)",
    "count(1)",
    "max(lower(region))",
];
const CONDITIONS: [&str; 25] = [
    "region = 'EU'",
    "'EU' = region",
    "region IN ('EU', 'US')",
    "region IN ('US', 'EU', 'eu')",
    "region IS NOT NULL",
    "region <> 'EU'",
    "lower(region) = 'eu'",
    "product > 2",
    "product >= 2",
    "product > 4",
    "product BETWEEN 2 AND 5",
    "product IS NULL",
    "product IN (3, 4)",
    "flag",
    "NOT flag",
    "secret = 's1'",
    "amount > 20",
    "date_trunc('day', at) >= timestamp '2024-02-01'",
    "date_trunc('month', at) = timestamp '2024-02-01'",
    "at >= timestamp '2024-01-15'",
    "at < timestamp '2024-02-01'",
    "at >= timestamp '2024-01-15 05:00'",
    "at > timestamp '2024-01-15'",
    "seen < timestamptz '2024-01-01 00:00+00'",
    "10 / product >= 2",
];

/// Most are of one table.
const FROM: [&str; 6] = [
    "shop.sales",
    "shop.sales",
    "shop.sales",
    "shop.sales JOIN shop.products USING (product)",
    "shop.products RIGHT JOIN shop.sales USING (product)",
    "shop.sales NATURAL LEFT JOIN (SELECT product, category, tier FROM shop.products) AS p",
];
const OF_PRODUCTS: [&str; 4] = ["category", "tier", "upper(category)", "tier"];
const MEASURES_OF_PRODUCTS: [&str; 4] =
    ["min(category)", "count(tier)", "sum(tier)", "sum(qty) FILTER (WHERE tier > 0)"];
const CONDITIONS_OF_PRODUCTS: [&str; 5] =
    ["category = 'a'", "category IN ('a', 'b')", "tier > 0", "tier >= 1", "category IS NULL"];

fn is_of_products(e: &str) -> bool {
    e.contains("category") || e.contains("tier")
}

fn some<'a>(dice: &mut Dice, from: &[&'a str], at_most: usize) -> Vec<&'a str> {
    let mut found: Vec<&str> = vec![];
    for _ in 0..dice.below(at_most + 1) {
        let one = dice.pick(from);
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

struct Made {
    from: &'static str,
    dimensions: Vec<&'static str>,
    measures: Vec<&'static str>,
    conditions: Vec<&'static str>,
}

impl Made {
    fn new(dice: &mut Dice) -> Self {
        let from = dice.pick(&FROM);
        let is_joined = from.contains("products");
        let mut dimensions = some(dice, &DIMENSIONS, 4);
        if is_joined {
            dimensions.extend(some(dice, &OF_PRODUCTS, 2));
        }
        for often in ["region", "product"] {
            if !dimensions.contains(&often) && dice.one_in(2) {
                dimensions.push(often);
            }
        }
        if dimensions.is_empty() {
            dimensions.push("region");
        }
        let mut measures = some(dice, &MEASURES, 6);
        if is_joined {
            measures.extend(some(dice, &MEASURES_OF_PRODUCTS, 1));
        }
        if !measures.contains(&"count(*)") {
            measures.push("count(*)");
        }
        let mut conditions = if dice.one_in(3) { some(dice, &CONDITIONS[..17], 2) } else { vec![] };
        if is_joined && dice.one_in(4) {
            conditions.push(dice.pick(&CONDITIONS_OF_PRODUCTS));
        }
        Self { from, dimensions, measures, conditions }
    }

    fn query(&self) -> String {
        let columns = [self.dimensions.clone(), self.measures.clone()].concat().join(", ");
        let by = self.dimensions.join(", ");
        format!("SELECT {columns} FROM {}{} GROUP BY {by}", self.from, conditions(&self.conditions))
    }
}

fn conditions(of: &[&str]) -> String {
    if of.is_empty() { String::new() } else { format!(" WHERE {}", of.join(" AND ")) }
}

/// A statement that may be answered from `made`, and often is.
fn statement(dice: &mut Dice, made: &Made) -> String {
    let far = dice.one_in(5);
    let from = if dice.one_in(3) { dice.pick(&FROM) } else { made.from };
    let is_joined = from.contains("products");
    let mut by: Vec<&str> = if far { some(dice, &DIMENSIONS, 3) } else { some(dice, &made.dimensions, 3) };
    if dice.one_in(6) {
        by.push(dice.pick(&COARSER));
    }
    // most of those that can be made of parts
    let parts: Vec<&str> =
        made.measures.iter().copied().filter(|m| !m.contains("avg") && !m.contains("price")).collect();
    let parts: Vec<&str> = if dice.one_in(6) { made.measures.clone() } else { parts };
    let mut measures = if far { some(dice, &MEASURES, 3) } else { some(dice, &parts, 4) };
    if dice.one_in(3) {
        measures.push(dice.pick(&ASKED));
    }
    if is_joined && dice.one_in(2) {
        by.push(dice.pick(&OF_PRODUCTS));
    }
    if is_joined && dice.one_in(3) {
        measures.push(dice.pick(&MEASURES_OF_PRODUCTS));
    }
    // most ask for no more than there is
    if !is_joined && !dice.one_in(20) {
        by.retain(|e| !is_of_products(e));
        measures.retain(|e| !is_of_products(e));
    }
    if measures.is_empty() {
        measures.push("count(*)");
    }
    // those of the reflection, one of them forgotten or made wider at times
    let mut all: Vec<&str> = made.conditions.clone();
    if dice.one_in(6) {
        all.pop();
    }
    // of columns that it groups by, or any
    let by_its: Vec<&str> =
        CONDITIONS.into_iter().filter(|condition| made.dimensions.iter().any(|d| condition.contains(d))).collect();
    match dice.below(4) {
        0 => all.extend(some(dice, &CONDITIONS, 2)),
        1 | 2 if !by_its.is_empty() => all.extend(some(dice, &by_its, 2)),
        _ => {}
    }
    if is_joined && dice.one_in(4) {
        all.push(dice.pick(&CONDITIONS_OF_PRODUCTS));
    }
    if !is_joined {
        all.retain(|e| !is_of_products(e));
    }
    if dice.one_in(2) {
        all.reverse();
    }
    let filter = conditions(&all);
    if by.is_empty() {
        let having = if dice.one_in(6) { " HAVING count(*) > 3" } else { "" };
        return format!("SELECT {} FROM {from}{filter}{having}", measures.join(", "));
    }
    let columns = if dice.one_in(2) { [by.clone(), measures.clone()] } else { [measures.clone(), by.clone()] };
    let columns = columns.concat().join(", ");
    let grouped = match dice.below(8) {
        0 => format!("GROUPING SETS ({})", by.iter().map(|e| format!("({e})")).collect::<Vec<_>>().join(", ")),
        1 => format!("ROLLUP ({})", by.join(", ")),
        _ => by.join(", "),
    };
    let having = if dice.one_in(6) { " HAVING count(*) > 2" } else { "" };
    let inner = format!("SELECT {columns} FROM {from}{filter} GROUP BY {grouped}{having}");
    match dice.below(9) {
        8 if grouped == by.join(", ") => format!("SELECT DISTINCT {grouped} FROM {from}{filter}"),
        0 => format!("SELECT count(*) FROM ({inner}) AS x"),
        1 => format!("{inner} ORDER BY 1"),
        2 => format!("WITH x AS ({inner}) SELECT * FROM x UNION ALL SELECT * FROM x"),
        _ => inner,
    }
}

/// A statement that reads rows, which copies may hold.
fn of_rows(dice: &mut Dice, columns: &[&str]) -> String {
    let shown = some(dice, columns, 3);
    let shown = if shown.is_empty() { "count(*)".to_owned() } else { shown.join(", ") };
    format!("SELECT {shown} FROM shop.sales{}", conditions(&some(dice, &CONDITIONS, 3)))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_without_reflections() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("LAKEGATE_SEED", clock);
    let cases = number("LAKEGATE_REFLECTION_CASES", 400);
    println!("LAKEGATE_SEED={seed}");
    let mut dice = Dice(seed);
    let shop = Shop::open().await;
    let (mut done, mut answered, mut failed, mut restricted, mut joined) = (0, 0, 0, 0, 0);
    let began = Instant::now();
    while done < cases {
        let made: Vec<Made> = (0..=dice.below(3)).map(|_| Made::new(&mut dice)).collect();
        let mut queries: Vec<String> = made.iter().map(Made::query).collect();
        let columns = ["id", "region", "product", "at", "amount", "qty", "flag", "secret"];
        let mut copied: Vec<&str> = vec![];
        if dice.one_in(2) {
            copied = some(&mut dice, &columns, 8);
            copied.push("product");
            let only = if dice.one_in(2) { some(&mut dice, &CONDITIONS[..17], 1) } else { vec![] };
            copied.dedup();
            let kept: Vec<&str> = copied.iter().copied().filter(|c| *c != "product").chain(["product"]).collect();
            queries.push(format!("SELECT {} FROM shop.sales{}", kept.join(", "), conditions(&only)));
        }
        let names: Vec<String> = (0..queries.len()).map(|i| format!("r{i}")).collect();
        let named: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(queries.iter().map(String::as_str)).collect();
        shop.reflect(&named).await;
        for _ in 0..20 {
            match dice.below(20) {
                0 => shop.change(),
                1..=4 => shop.refresh().await,
                5 => {
                    let whole = !dice.one_in(3);
                    shop.change_products(whole);
                    shop.refresh().await;
                }
                6 => {
                    shop.sell_known();
                    shop.refresh().await;
                }
                _ => {}
            }
            let of = &made[dice.below(made.len())];
            let sql = match !copied.is_empty() && dice.one_in(3) {
                true => of_rows(&mut dice, &copied),
                false => statement(&mut dice, of),
            };
            let user = if dice.one_in(2) { "whole" } else { dice.pick(&USERS[..8]) };
            match shop.compared(user, &sql).await {
                Ok(true) => {
                    answered += 1;
                    restricted += u64::from(user != "whole");
                    joined += u64::from(sql.contains("JOIN"));
                }
                Ok(false) => {}
                Err(_) => failed += 1,
            }
            done += 1;
        }
    }
    println!(
        "{done} statements, {answered} answered ({restricted} under a restricted right, {joined} joins), {failed} refused, {:?}",
        began.elapsed()
    );
    assert!(answered * 6 > done, "LAKEGATE_SEED={seed}: only {answered} of {done} were answered from reflections");
    assert!(restricted * 30 > done, "LAKEGATE_SEED={seed}: only {restricted} of {done} under a restricted right");
    assert!(joined * 30 > done, "LAKEGATE_SEED={seed}: only {joined} of {done} were joins");
    assert!(failed * 3 < done, "LAKEGATE_SEED={seed}: {failed} of {done} failed");
}
