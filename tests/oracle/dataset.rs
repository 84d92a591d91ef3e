//! Datasets made by chance: over one table, over two, over each other; some with a WHERE, some with an expression that
//! fails on rows it keeps out. Who may read them stands in the policy.

use super::condition::{Attributes, Condition, Formula, Ground, Spelling};
use super::policy::{Policy, STEWARD, USERS};
use super::random::Dice;
use super::shop::{Body, KEY, Place, Read, Shop};
use super::value::{Cell, Kind};

/// Adds one over what there is. Without anything that its owner may read there is none.
pub fn add(dice: &mut Dice, shop: &mut Shop, policy: &Policy, name: &str) -> bool {
    let owner = if dice.chance(75) { STEWARD } else { dice.below(USERS.len() - 1) };
    let careless = dice.chance(8);
    let all = 0..shop.objects.len();
    let bases =
        all.filter(|o| shop.objects[*o].name != "vault" && (careless || policy.direct(shop, owner, *o).is_some()));
    let (tables, datasets): (Vec<usize>, Vec<usize>) = bases.partition(|o| shop.objects[*o].place != Place::View);
    let from = if !datasets.is_empty() && dice.chance(50) { &datasets } else { &tables };
    if from.is_empty() {
        return false;
    }
    let first = *dice.pick(from);
    let known = columns_of(shop, policy, owner, first);
    let mut columns = dice.some(&known, 60);
    if columns.len() < 2 {
        columns = known.clone();
    }
    if columns.len() < 2 {
        return false;
    }
    let only = dice.chance(60).then(|| {
        let cells = |dice: &mut Dice, column: &str| shop.cell(dice, column);
        Ground { columns: &known, cells: &cells, attributes: false }.condition(dice, 1)
    });
    let mut items: Vec<String> = columns.iter().map(|(n, _)| format!("a.{n}")).collect();
    let mut named: Vec<String> = columns.iter().map(|(n, _)| n.clone()).collect();
    if let Some(column) = columns.iter().find(|(_, k)| *k == Kind::Int4).map(|(n, _)| n.clone())
        && dice.chance(40)
    {
        items.push(format!("{} AS {name}_more", leaky(dice, &column, only.as_ref())));
        columns.push((format!("{name}_more"), Kind::Int4));
    }
    named.extend(only.iter().flat_map(Condition::columns));
    let joined: Vec<usize> = tables
        .into_iter()
        .filter(|o| *o != first && columns_of(shop, policy, owner, *o).iter().any(|(n, _)| n == "k"))
        .collect();
    let second =
        (known.iter().any(|(n, _)| n == "k") && !joined.is_empty() && dice.chance(35)).then(|| *dice.pick(&joined));
    if second.is_some() {
        named.push("k".into());
    }
    named.sort();
    named.dedup();
    let condition = only.as_ref().map(|o| format!(" WHERE {}", o.spell(Spelling::Sql(&Attributes::new()))));
    let mut sql = format!(
        "SELECT {} FROM (SELECT {} FROM {{{}}}{}) AS a",
        items.join(", "),
        named.join(", "),
        shop.objects[first].name,
        condition.unwrap_or_default()
    );
    let mut reads = vec![Read { object: first, columns: named, only }];
    if let Some(second) = second {
        sql += &format!(" JOIN {{{}}} AS b ON a.k = b.k", shop.objects[second].name);
        reads.push(Read { object: second, columns: vec!["k".into()], only: None });
    }
    shop.add_dataset(name.into(), columns, Body { owner, sql, reads });
    true
}

/// What the owner sees of it.
fn columns_of(shop: &Shop, policy: &Policy, owner: usize, object: usize) -> Vec<(String, Kind)> {
    let hidden = policy.direct(shop, owner, object).map(|seen| seen.hidden).unwrap_or_default();
    shop.objects[object].columns.iter().filter(|(n, _)| n != KEY && !hidden.contains(n)).cloned().collect()
}

/// Divides by zero for one value of the column, where the body's WHERE keeps that value out.
fn leaky(dice: &mut Dice, column: &str, only: Option<&Condition>) -> String {
    match only {
        Some(Condition::Compare(Formula::Column(name), "<>" | ">" | "<", Formula::Constant(Cell::Int(n))))
            if name == column =>
        {
            format!("10 / (a.{column} - {n})")
        }
        _ if dice.chance(50) => format!("a.{column} + 1"),
        _ => format!("10 / (a.{column} + 50)"),
    }
}
