//! Statements made by chance from a grammar that knows types, over names without a schema. Expressions that fail or
//! differ on one hidden row are put in on purpose, wherever an expression can stand. It runs nothing.

use std::collections::BTreeSet;

use super::policy::Policy;
use super::random::Dice;
use super::shop::{Place, Shop};
use super::value::{Cell, Kind};
use super::world::Hand;

/// A query in its clauses, so that one can be taken out.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub with: Vec<String>,
    pub distinct: bool,
    pub items: Vec<(String, Kind)>,
    pub from: String,
    pub filters: Vec<String>,
    pub groups: Vec<String>,
    pub having: Option<String>,
    /// A set operation and its right side.
    pub set: Option<(&'static str, Box<Query>)>,
    pub order: Order,
    pub limit: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Order {
    #[default]
    None,
    /// By every column, and before that by an expression: equal rows alone can change places.
    Total(Option<String>, String),
}

#[derive(Clone, Debug)]
pub struct Statement {
    pub query: Query,
    /// Values of `$1 …`.
    pub parameters: Vec<(Kind, Cell)>,
    /// What it is made of, for the report.
    pub kinds: BTreeSet<&'static str>,
    /// Every object that it names.
    pub objects: BTreeSet<usize>,
}

impl Query {
    pub fn sql(&self) -> String {
        let mut sql = String::new();
        if !self.with.is_empty() {
            sql += &format!("WITH {} ", self.with.join(", "));
        }
        let items: Vec<String> =
            self.items.iter().enumerate().map(|(i, (item, _))| format!("{item} AS x{}", i + 1)).collect();
        let items = if self.items.is_empty() { "*".to_string() } else { items.join(", ") };
        sql += &format!("SELECT {}{items} FROM {}", if self.distinct { "DISTINCT " } else { "" }, self.from);
        if !self.filters.is_empty() {
            sql += &format!(" WHERE {}", self.filters.join(" AND "));
        }
        if !self.groups.is_empty() {
            sql += &format!(" GROUP BY {}", self.groups.join(", "));
        }
        if let Some(having) = &self.having {
            sql += &format!(" HAVING {having}");
        }
        if let Some((operation, right)) = &self.set {
            sql += &format!(" {operation} {}", right.sql());
        }
        if let Order::Total(first, direction) = &self.order {
            let first = first.as_ref().map(|f| format!("{f}, ")).unwrap_or_default();
            let columns: Vec<String> = (1..=self.items.len()).map(|n| format!("{n}{direction}")).collect();
            sql += &format!(" ORDER BY {first}{}", columns.join(", "));
        }
        if let Some(limit) = &self.limit {
            sql += &format!(" {limit}");
        }
        sql
    }

    /// The same with one clause less, each way there is.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = vec![];
        let mut without = |change: &dyn Fn(&mut Self)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            if smaller.sql() != self.sql() {
                all.push(smaller);
            }
        };
        without(&|q| q.set = None);
        without(&|q| q.limit = None);
        without(&|q| q.having = None);
        without(&|q| q.distinct = false);
        without(&|q| {
            if let Order::Total(first, _) = &mut q.order {
                *first = None;
            }
        });
        for at in 0..self.filters.len() {
            without(&|q| {
                q.filters.remove(at);
            });
        }
        if self.groups.is_empty() && self.set.is_none() && self.items.len() > 1 {
            for at in 0..self.items.len() {
                without(&|q| {
                    q.items.remove(at);
                });
            }
        }
        all
    }
}

/// A relation in FROM.
#[derive(Clone)]
struct Relation {
    alias: String,
    object: Option<usize>,
    columns: Vec<(String, Kind)>,
}

pub struct Maker<'a> {
    dice: Dice,
    shop: &'a Shop,
    policy: &'a Policy,
    /// Whose sight the statement is made for; the others may be denied more of it.
    hand: &'a Hand,
    hands: &'a [Hand],
    aliases: usize,
    parameters: Option<Vec<(Kind, Cell)>>,
    kinds: BTreeSet<&'static str>,
    objects: BTreeSet<usize>,
}

type Scope = Vec<Relation>;

impl<'a> Maker<'a> {
    pub fn new(mut dice: Dice, shop: &'a Shop, policy: &'a Policy, hands: &'a [Hand]) -> Self {
        let (kinds, objects) = (BTreeSet::new(), BTreeSet::new());
        let hand = dice.pick(hands);
        Self { dice, shop, policy, hand, hands, aliases: 0, parameters: None, kinds, objects }
    }

    /// Everything that each user sees of one object. Of a topic, what all may name: a star would show where its records
    /// stand, and so that others stand between them.
    pub fn sweep(mut self, object: usize) -> Statement {
        self.kinds.insert("sweep");
        self.objects.insert(object);
        let it = &self.shop.objects[object];
        let mut query = Query { from: it.name.clone(), ..Query::default() };
        if it.place == Place::Kafka {
            let hidden: BTreeSet<String> = self.hands.iter().flat_map(|hand| hand.hidden(object)).collect();
            query.items = it.columns.iter().filter(|(name, _)| !hidden.contains(name)).cloned().collect();
            if query.items.is_empty() {
                query.items.push(("count(*)".into(), Kind::Int8));
            }
        }
        Statement { query, parameters: vec![], kinds: self.kinds, objects: self.objects }
    }

    /// One predicate over one object that fails on a row hidden from somebody, alone or beside one that may be pushed.
    pub fn probe(mut self, object: usize) -> Statement {
        self.kinds.insert("probe");
        self.objects.insert(object);
        let relation = self.named(object);
        let mut query =
            Query { from: format!("{} AS {}", self.shop.objects[object].name, relation.alias), ..Query::default() };
        let scope = vec![relation];
        query.items.push(("count(*)".into(), Kind::Int8));
        let (leaky, pushed) = (self.leaky_truth(&scope), self.pushed(&scope));
        query.filters.push(match self.dice.below(3) {
            0 => format!("({pushed} OR {leaky})"),
            1 => format!("{pushed} AND {leaky}"),
            _ => leaky,
        });
        Statement { query, parameters: vec![], kinds: self.kinds, objects: self.objects }
    }

    pub fn statement(mut self) -> Statement {
        if self.dice.chance(20) {
            self.parameters = Some(vec![]);
        }
        let mut query = self.query();
        if self.dice.chance(15) {
            let kinds: Vec<Kind> = query.items.iter().map(|(_, kind)| *kind).collect();
            if !kinds.is_empty() {
                self.kinds.insert("set operation");
                let operation = *self.dice.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
                let mut right = self.query_of(&kinds);
                query.with.append(&mut right.with);
                query.set = Some((operation, Box::new(right)));
            }
        }
        self.order(&mut query);
        let parameters = self.parameters.take().unwrap_or_default();
        if !parameters.is_empty() {
            self.kinds.insert("parameters");
        }
        Statement { query, parameters, kinds: self.kinds, objects: self.objects }
    }

    fn order(&mut self, query: &mut Query) {
        if query.items.is_empty() || !self.dice.chance(75) {
            return;
        }
        let direction = *self.dice.pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        query.order = Order::Total(None, direction.into());
        if self.dice.chance(35) {
            self.kinds.insert("limit");
            let (count, skip) = (self.dice.between(0, 6), self.dice.between(0, 3));
            query.limit = Some(if self.dice.chance(30) {
                format!("LIMIT {count} OFFSET {skip}")
            } else {
                format!("LIMIT {count}")
            });
        }
    }

    // --- queries

    fn query(&mut self) -> Query {
        if self.dice.chance(4) {
            return self.counted();
        }
        let (mut query, scope) = self.sources();
        match self.dice.below(10) {
            0..=2 => self.aggregate(&mut query, &scope),
            3 | 4 => self.windows(&mut query, &scope),
            5 if self.star(&scope) => self.kinds.extend(["star"]),
            _ => {
                let count = self.dice.between(1, 4);
                for _ in 0..count {
                    let kind = self.kind();
                    let item = self.expression(&scope, kind, 2);
                    query.items.push((item, kind));
                }
                if self.dice.chance(15) {
                    self.kinds.insert("distinct");
                    query.distinct = true;
                }
            }
        }
        self.filters(&mut query, &scope);
        query
    }

    /// How many rows a LIMIT leaves, whichever they are.
    fn counted(&mut self) -> Query {
        self.kinds.extend(["limit", "subquery"]);
        let (mut inner, scope) = self.sources();
        let kind = self.kind();
        inner.items.push((self.leaf(&scope, kind), kind));
        if self.dice.chance(50) {
            inner.filters.push(self.pushed(&scope));
        }
        inner.limit = Some(format!("LIMIT {}", self.dice.between(1, 12)));
        Query {
            items: vec![("count(*)".into(), Kind::Int8)],
            from: format!("({}) AS counted", inner.sql()),
            ..Query::default()
        }
    }

    /// The right side of a set operation: the same number and types of columns.
    fn query_of(&mut self, kinds: &[Kind]) -> Query {
        let (mut query, scope) = self.sources();
        query.items = kinds.iter().map(|kind| (self.expression(&scope, *kind, 1), *kind)).collect();
        self.filters(&mut query, &scope);
        query
    }

    fn filters(&mut self, query: &mut Query, scope: &Scope) {
        for _ in 0..[0, 0, 1, 1, 2][self.dice.below(5)] {
            let filter = self.truth(scope, 2);
            query.filters.push(format!("({filter})"));
        }
        if query.filters.is_empty() && self.dice.chance(30) {
            let filter = self.pushed(scope);
            query.filters.push(filter);
        }
    }

    /// Everything there is, where nothing in it is a topic's own business.
    fn star(&mut self, scope: &Scope) -> bool {
        scope.len() == 1 && scope[0].object.is_some_and(|o| self.shop.objects[o].place != Place::Kafka)
    }

    fn sources(&mut self) -> (Query, Scope) {
        let mut query = Query::default();
        let mut scope = vec![];
        let (first, relation) = self.relation(&mut query, true);
        query.from = first;
        scope.push(relation);
        let joins = [0, 0, 0, 0, 1, 1, 1, 2][self.dice.below(8)];
        for _ in 0..joins {
            self.join(&mut query, &mut scope);
        }
        (query, scope)
    }

    fn join(&mut self, query: &mut Query, scope: &mut Scope) {
        self.kinds.insert("join");
        if self.dice.chance(10) {
            self.kinds.insert("lateral");
            let table = self.object();
            let inner = self.named(table);
            let mut both = scope.clone();
            both.push(inner.clone());
            let kind = *self.dice.pick(&[Kind::Int4, Kind::Text]);
            let item = self.expression(&both, kind, 1);
            let alias = self.alias();
            let on = self.equal_keys(&both);
            let name = self.shop.objects[table].name.clone();
            query.from +=
                &format!(" CROSS JOIN LATERAL (SELECT {item} AS y FROM {name} {} WHERE {on}) {alias}", inner.alias);
            scope.push(Relation { alias, object: None, columns: vec![("y".into(), kind)] });
            return;
        }
        let (text, relation) = self.relation(query, true);
        scope.push(relation);
        let how = *self.dice.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
        query.from += &format!(" {how} {text}");
        if how == "CROSS JOIN" {
            return;
        }
        let mut on = self.equal_keys(scope);
        if how != "FULL JOIN" && self.dice.chance(35) {
            on = format!("{on} AND {}", self.truth(scope, 1));
        }
        query.from += &format!(" ON {on}");
    }

    /// The last relation's key with an earlier one's.
    fn equal_keys(&mut self, scope: &Scope) -> String {
        let (last, before) = scope.split_last().expect("two relations");
        for kind in [Kind::Int4, Kind::Text, Kind::Numeric] {
            let key = |relation: &Relation| {
                let keys = ["k", "level", "id", "region"];
                let of_kind = relation.columns.iter().filter(|(_, k)| *k == kind);
                let mut names: Vec<String> = of_kind.map(|(name, _)| name.clone()).collect();
                names.sort_by_key(|name| keys.iter().position(|k| k == name).unwrap_or(9));
                names.truncate(2);
                names
            };
            let (left, right) = (before.iter().find(|r| !key(r).is_empty()), key(last));
            if let Some(left) = left
                && !right.is_empty()
            {
                let names = key(left);
                return format!(
                    "{}.{} = {}.{}",
                    left.alias,
                    self.dice.pick(&names),
                    last.alias,
                    self.dice.pick(&right)
                );
            }
        }
        "1 = 1".into()
    }

    /// A table, a subquery or a CTE; what stands in FROM and what it brings.
    fn relation(&mut self, query: &mut Query, nests: bool) -> (String, Relation) {
        if nests && self.dice.chance(18) {
            let (mut inner, scope) = {
                let mut inner = Query::default();
                let (from, relation) = self.relation(&mut inner, false);
                inner.from = from;
                (inner, vec![relation])
            };
            let count = self.dice.between(2, 4);
            let mut columns = vec![];
            for n in 0..count {
                let kind = self.kind();
                let item = self.expression(&scope, kind, 1);
                columns.push((format!("x{}", n + 1), kind));
                inner.items.push((item, kind));
            }
            self.filters(&mut inner, &scope);
            if self.dice.chance(25) {
                self.order(&mut inner);
            }
            let alias = self.alias();
            let relation = Relation { alias: alias.clone(), object: None, columns };
            if self.dice.chance(40) {
                self.kinds.insert("cte");
                let name = format!("w{}", self.aliases);
                query.with.push(format!("{name} AS ({})", inner.sql()));
                return (format!("{name} AS {alias}"), relation);
            }
            self.kinds.insert("subquery");
            return (format!("({}) AS {alias}", inner.sql()), relation);
        }
        let object = self.object();
        let relation = self.named(object);
        (format!("{} AS {}", self.shop.objects[object].name, relation.alias), relation)
    }

    /// Mostly what the reader may see.
    fn object(&mut self) -> usize {
        let all: Vec<usize> = (0..self.shop.objects.len()).collect();
        let seen: Vec<usize> = all.iter().copied().filter(|o| !self.hand.reach[*o].paths().is_empty()).collect();
        let from = if seen.is_empty() || self.dice.chance(4) { &all } else { &seen };
        let object = *self.dice.pick(from);
        self.objects.insert(object);
        if self.shop.objects[object].body.is_some() {
            self.kinds.insert("dataset");
        }
        object
    }

    fn named(&mut self, object: usize) -> Relation {
        let mut hidden = self.hand.hidden(object);
        if self.dice.chance(60) {
            hidden.extend(self.hands.iter().flat_map(|hand| hand.hidden(object)));
        }
        let hidden_too = self.dice.chance(4);
        let columns = self.shop.objects[object].columns.iter().filter(|(n, _)| hidden_too || !hidden.contains(n));
        let columns: Vec<_> = columns.cloned().collect();
        Relation { alias: self.alias(), object: Some(object), columns }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn kind(&mut self) -> Kind {
        *self.dice.pick(&[
            Kind::Int4,
            Kind::Int4,
            Kind::Int4,
            Kind::Int8,
            Kind::Text,
            Kind::Text,
            Kind::Text,
            Kind::Bool,
            Kind::Numeric,
            Kind::Date,
            Kind::Timestamp,
        ])
    }

    fn aggregate(&mut self, query: &mut Query, scope: &Scope) {
        self.kinds.insert("aggregate");
        let groups = self.dice.below(3);
        for _ in 0..groups {
            let kind = self.kind();
            let key = self.expression(scope, kind, 1);
            query.items.push((key, kind));
            query.groups.push(query.items.len().to_string());
        }
        for _ in 0..self.dice.between(1, 3) {
            let (call, kind) = self.aggregate_call(scope);
            query.items.push((call, kind));
        }
        if self.dice.chance(25) {
            self.kinds.insert("having");
            let (call, kind) = self.aggregate_call(scope);
            let literal = self.literal(kind);
            let op = *self.dice.pick(&["<", ">=", "<>"]);
            query.having = Some(format!("{call} {op} {literal}"));
        }
    }

    fn aggregate_call(&mut self, scope: &Scope) -> (String, Kind) {
        let number = *self.dice.pick(&[Kind::Int4, Kind::Int4, Kind::Numeric]);
        let (call, kind) = match self.dice.below(9) {
            0 => ("count(*)".to_string(), Kind::Int8),
            1 => {
                let kind = self.kind();
                (format!("count({})", self.expression(scope, kind, 1)), Kind::Int8)
            }
            2 => {
                let kind = self.kind();
                return (format!("count(DISTINCT {})", self.expression(scope, kind, 1)), Kind::Int8);
            }
            3 | 4 => {
                let sum = format!("sum({})", self.expression(scope, number, 1));
                (sum, if number == Kind::Int4 { Kind::Int8 } else { Kind::Numeric })
            }
            5 | 6 => {
                let kind = *self.dice.pick(&[Kind::Int4, Kind::Text, Kind::Date, Kind::Numeric, Kind::Int8]);
                let which = *self.dice.pick(&["min", "max"]);
                (format!("{which}({})", self.expression(scope, kind, 1)), kind)
            }
            7 => {
                let which = *self.dice.pick(&["bool_and", "bool_or"]);
                (format!("{which}({})", self.truth(scope, 1)), Kind::Bool)
            }
            _ => {
                let text = self.expression(scope, Kind::Text, 1);
                return (format!("string_agg({text}, ',' ORDER BY {text})"), Kind::Text);
            }
        };
        if self.dice.chance(25) {
            self.kinds.insert("filter");
            return (format!("{call} FILTER (WHERE {})", self.truth(scope, 1)), kind);
        }
        (call, kind)
    }

    /// Ties are broken by every column that could tell two rows apart.
    fn windows(&mut self, query: &mut Query, scope: &Scope) {
        self.kinds.insert("window");
        for _ in 0..self.dice.between(1, 2) {
            let kind = self.kind();
            query.items.push((self.expression(scope, kind, 1), kind));
        }
        let ties: Vec<String> =
            scope.iter().flat_map(|r| r.columns.iter().map(move |(name, _)| format!("{}.{name}", r.alias))).collect();
        for _ in 0..self.dice.between(1, 2) {
            let key_kind = *self.dice.pick(&[Kind::Int4, Kind::Text, Kind::Date]);
            let key = self.expression(scope, key_kind, 1);
            let partition = match self.dice.chance(40) {
                true => {
                    let kind = *self.dice.pick(&[Kind::Text, Kind::Int4, Kind::Bool]);
                    format!("PARTITION BY {} ", self.expression(scope, kind, 0))
                }
                false => String::new(),
            };
            let total = format!("{partition}ORDER BY {key}, {}", ties.join(", "));
            let frame = *self.dice.pick(&[
                "",
                " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
                " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                " ROWS BETWEEN CURRENT ROW AND 2 FOLLOWING",
            ]);
            let (call, kind) = match self.dice.below(7) {
                0 => (format!("row_number() OVER ({total})"), Kind::Int8),
                1 => (format!("rank() OVER ({partition}ORDER BY {key})"), Kind::Int8),
                2 => (format!("dense_rank() OVER ({partition}ORDER BY {key})"), Kind::Int8),
                3 => {
                    let which = *self.dice.pick(&["lag", "lead"]);
                    (format!("{which}({}) OVER ({total})", self.expression(scope, Kind::Text, 1)), Kind::Text)
                }
                4 => (
                    format!("first_value({}) OVER ({total}{frame})", self.expression(scope, Kind::Int4, 1)),
                    Kind::Int4,
                ),
                5 => (format!("count(*) OVER ({total}{frame})"), Kind::Int8),
                _ => (format!("sum({}) OVER ({total}{frame})", self.expression(scope, Kind::Int4, 1)), Kind::Int8),
            };
            query.items.push((call, kind));
        }
    }

    // --- expressions

    fn column(&mut self, scope: &Scope, kind: Kind) -> Option<String> {
        let all = scope.iter().flat_map(|r| r.columns.iter().filter(|(_, k)| *k == kind).map(move |(n, _)| (r, n)));
        let all: Vec<String> = all.map(|(relation, name)| format!("{}.{name}", relation.alias)).collect();
        (!all.is_empty()).then(|| self.dice.pick(&all).clone())
    }

    /// A value of world A's, hidden ones among them, sometimes as a parameter.
    fn literal(&mut self, kind: Kind) -> String {
        let names: Vec<&str> = super::shop::COLUMNS.iter().filter(|(_, k)| *k == kind).map(|(name, _)| *name).collect();
        let name = *self.dice.pick(&names);
        let cell = (0..20).map(|_| self.shop.cell(&mut self.dice, name)).find(|c| *c != Cell::Null);
        let cell = cell.unwrap_or(Cell::Null);
        match &mut self.parameters {
            Some(parameters) if cell != Cell::Null && parameters.len() < 6 && self.dice.chance(60) => {
                parameters.push((kind, cell));
                format!("${}", parameters.len())
            }
            _ if cell == Cell::Null => format!("NULL::{}", kind.name()),
            _ => cell.sql(),
        }
    }

    fn leaf(&mut self, scope: &Scope, kind: Kind) -> String {
        match self.column(scope, kind) {
            Some(column) if self.dice.chance(88) => column,
            _ => self.literal(kind),
        }
    }

    fn expression(&mut self, scope: &Scope, kind: Kind, depth: usize) -> String {
        if depth == 0 || self.dice.chance(35) {
            return self.leaf(scope, kind);
        }
        if self.dice.chance(14) {
            let (condition, then, otherwise) =
                (self.truth(scope, depth - 1), self.expression(scope, kind, depth - 1), self.leaf(scope, kind));
            return format!("CASE WHEN {condition} THEN {then} ELSE {otherwise} END");
        }
        if self.dice.chance(10) {
            let (a, b) = (self.leaf(scope, kind), self.leaf(scope, kind));
            let which = *self.dice.pick(&["coalesce", "nullif", "greatest", "least"]);
            return format!("{which}({a}, {b})");
        }
        if self.dice.chance(8) {
            return self.scalar_subquery(scope, kind);
        }
        let again = |maker: &mut Self, kind: Kind| maker.expression(scope, kind, depth - 1);
        match kind {
            Kind::Int4 => match self.dice.below(9) {
                0 => format!("({} + {})", again(self, kind), again(self, kind)),
                1 => format!("({} - {})", again(self, kind), again(self, kind)),
                2 => format!("abs({})", again(self, kind)),
                3 => format!("length({})", again(self, Kind::Text)),
                4 => format!("strpos({}, 'g')", again(self, Kind::Text)),
                5 => format!("date_part('year', {})::int4", again(self, Kind::Date)),
                _ => self.leaky(scope),
            },
            Kind::Int8 => match self.dice.below(3) {
                0 => format!("{}::int8", again(self, Kind::Int4)),
                1 => format!("({} - {})", self.leaf(scope, kind), self.leaf(scope, kind)),
                _ => format!("({} % 1000)", again(self, kind)),
            },
            Kind::Text => match self.dice.below(10) {
                0 => format!("upper({})", again(self, kind)),
                1 => format!("lower({})", again(self, kind)),
                2 => format!("({} || {})", again(self, kind), again(self, kind)),
                3 => format!("substr({}, 2, 9)", again(self, kind)),
                4 => format!("left({}, {})", again(self, kind), self.dice.between(1, 7)),
                5 => format!("reverse({})", again(self, kind)),
                6 => format!("replace({}, 'g', 'h')", again(self, kind)),
                7 => format!("{}::text", again(self, Kind::Int4)),
                8 => format!("md5({})", again(self, kind)),
                _ => format!("concat({}, '/', {})", again(self, kind), again(self, Kind::Int4)),
            },
            Kind::Bool => self.truth(scope, depth),
            Kind::Numeric => match self.dice.below(3) {
                0 => format!("({} + {})", again(self, kind), again(self, kind)),
                1 => format!("round({}, 1)", again(self, kind)),
                _ => format!("{}::numeric(12,2)", again(self, Kind::Int4)),
            },
            Kind::Date => match self.dice.below(2) {
                0 => format!("{}::date", again(self, Kind::Timestamp)),
                _ => self.leaf(scope, kind),
            },
            Kind::Timestamp => match self.dice.below(2) {
                0 => format!("date_trunc('{}', {})", *self.dice.pick(&["year", "month", "day"]), again(self, kind)),
                _ => self.leaf(scope, kind),
            },
        }
    }

    /// What may pass below a barrier, and nearly that: a column beside a literal.
    fn pushed(&mut self, scope: &Scope) -> String {
        let kind = self.kind();
        let Some(column) = self.column(scope, kind) else { return "1 = 1".into() };
        let op = *self.dice.pick(&["=", "<>", "<>", "<", "<=", ">", ">="]);
        match self.dice.below(8) {
            0 => format!("{column} IS {}NULL", *self.dice.pick(&["", "NOT ", "NOT "])),
            1 => {
                let (a, b) = (self.literal(kind), self.literal(kind));
                format!("{column} {}IN ({a}, {b})", *self.dice.pick(&["", "NOT ", "NOT "]))
            }
            2 if kind == Kind::Bool => column,
            2 => {
                let (a, b) = (self.literal(kind), self.literal(kind));
                format!("{column} BETWEEN {a} AND {b}")
            }
            3 => format!("({column} {op} {} OR {})", self.literal(kind), self.leaky_truth(scope)),
            4 => format!("({column} {op} {} AND {})", self.literal(kind), self.leaky_truth(scope)),
            _ => format!("{column} {op} {}", self.literal(kind)),
        }
    }

    fn truth(&mut self, scope: &Scope, depth: usize) -> String {
        if depth > 0 && self.dice.chance(30) {
            let (a, b) = (self.truth(scope, depth - 1), self.truth(scope, depth - 1));
            return match self.dice.below(3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("NOT ({a})"),
            };
        }
        if depth > 0 && self.dice.chance(12) {
            return self.subquery_truth(scope);
        }
        match self.dice.below(8) {
            0..=2 => self.pushed(scope),
            3 => self.leaky_truth(scope),
            4 => {
                let text = self.leaf(scope, Kind::Text);
                let start: String = self.token_start();
                format!("{text} {}LIKE '{start}%'", *self.dice.pick(&["", "NOT "]))
            }
            _ => {
                let kind = self.kind();
                let (a, b) = (self.expression(scope, kind, depth.min(1)), self.leaf(scope, kind));
                let op = *self.dice.pick(&["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"]);
                format!("({a} {op} {b})")
            }
        }
    }

    fn token_start(&mut self) -> String {
        let name = *self.dice.pick(&["name", "ssn", "note", "region"]);
        let length = self.dice.below(3) + 1;
        self.shop.cell(&mut self.dice, name).text().chars().take(length).collect()
    }

    /// Fails on one row, by chance a hidden one, or tells of it.
    fn leaky(&mut self, scope: &Scope) -> String {
        let tables: Vec<&Relation> = scope.iter().filter(|r| r.object.is_some()).collect();
        if tables.is_empty() {
            let Some(column) = self.column(scope, Kind::Int4) else { return "1".into() };
            return format!("(10 / ({column} - {}))", self.dice.between(0, 6));
        }
        let relation = (*self.dice.pick(&tables)).clone();
        let Some((row, names)) = self.hidden_row(&relation) else {
            let column = self.leaf(scope, Kind::Int4);
            return format!("(10 / ({column} + 50))");
        };
        self.kinds.insert("leaky");
        let cell = |name: &str| names.iter().position(|n| n == name).map(|at| row[at].clone());
        let alias = relation.alias.clone();
        let has = |name: &str| relation.columns.iter().any(|(n, _)| n == name);
        let numbers: Vec<(&str, Cell)> = ["id", "level", "k", "id"]
            .into_iter()
            .filter(|name| has(name))
            .filter_map(|name| Some((name, cell(name).filter(|c| *c != Cell::Null)?)))
            .collect();
        if numbers.is_empty() {
            return "2".into();
        }
        let (name, value) = self.dice.pick(&numbers).clone();
        let (column, value) = (format!("{alias}.{name}"), value.sql());
        match self.dice.below(9) {
            0 | 1 => format!("(10 / ({column} - {value}))"),
            2 => format!("(100 % ({column} - {value}))"),
            3 if has("name") => {
                format!("CASE WHEN {column} = {value} THEN {alias}.name::int4 ELSE 3 END")
            }
            4 if has("ssn") => format!("CASE WHEN {column} <> {value} THEN 4 ELSE {alias}.ssn::int4 END"),
            5 => format!("coalesce(nullif({column}, {value}), 1 / ({column} - {column}))"),
            6 if has("note") => format!("CASE WHEN {alias}.note IS NULL THEN 0 ELSE 7 / ({column} - {value}) END"),
            7 => format!("(1.0 / ({column} - {value}))::int4"),
            _ => match ["name", "region", "ssn"].into_iter().find(|n| has(n)) {
                Some(text) => {
                    let of = cell(text).unwrap_or(Cell::Null).sql();
                    format!("CASE WHEN {alias}.{text} = {of} THEN 1 / ({column} - {column}) ELSE 5 END")
                }
                None => format!("(10 / ({column} - {value}))"),
            },
        }
    }

    fn leaky_truth(&mut self, scope: &Scope) -> String {
        // fails on what is no number: with luck on hidden rows alone
        let cast: Vec<String> = scope
            .iter()
            .filter(|r| r.object.is_some() && r.columns.iter().any(|(name, _)| name == "ssn"))
            .map(|r| format!("{}.ssn::int4", r.alias))
            .collect();
        if !cast.is_empty() && self.dice.chance(20) {
            let literal = self.dice.between(0, 99);
            return format!("{} {} {literal}", self.dice.pick(&cast), *self.dice.pick(&["<", ">=", "<>"]));
        }
        let leaky = self.leaky(scope);
        format!("({leaky} {} {})", *self.dice.pick(&[">", "<>", "<="]), self.dice.between(0, 9))
    }

    /// A row of the relation's table that the reader does not see, by preference, and the names of its cells. In a
    /// dataset it is one of the first table's below.
    fn hidden_row(&mut self, relation: &Relation) -> Option<(Vec<Cell>, Vec<String>)> {
        let mut object = relation.object?;
        while let Some(body) = &self.shop.objects[object].body {
            object = body.reads.first()?.object;
        }
        let rows = &self.shop.rows[object];
        let hidden: Vec<&Vec<Cell>> =
            rows.iter().filter(|row| self.hand.hides(self.shop, self.policy, object, row)).collect();
        let names = self.shop.objects[object].columns.iter().map(|(name, _)| name.clone()).collect();
        let row = match hidden.is_empty() {
            // nothing is hidden: an error for everybody, now and then
            true if self.dice.chance(85) => return None,
            true => self.dice.pick(rows).clone(),
            false => (*self.dice.pick(&hidden)).clone(),
        };
        Some((row, names))
    }

    fn inner(&mut self, scope: &Scope) -> (String, Scope, String) {
        self.kinds.insert("subquery");
        let object = self.object();
        let inner = self.named(object);
        let from = format!("{} AS {}", self.shop.objects[object].name, inner.alias);
        let mut both = scope.clone();
        both.push(inner.clone());
        let on = match self.dice.chance(55) {
            true => {
                self.kinds.insert("correlated");
                self.equal_keys(&both)
            }
            false => self.truth(&vec![inner.clone()], 1),
        };
        (from, vec![inner], on)
    }

    fn scalar_subquery(&mut self, scope: &Scope, kind: Kind) -> String {
        let (from, inner, on) = self.inner(scope);
        match kind {
            Kind::Int8 => format!("(SELECT count(*) FROM {from} WHERE {on})"),
            Kind::Bool => format!("(SELECT bool_or({}) FROM {from} WHERE {on})", self.truth(&inner, 0)),
            Kind::Int4 | Kind::Text | Kind::Numeric | Kind::Date | Kind::Timestamp => {
                let which = *self.dice.pick(&["min", "max"]);
                format!("(SELECT {which}({}) FROM {from} WHERE {on})", self.expression(&inner, kind, 1))
            }
        }
    }

    fn subquery_truth(&mut self, scope: &Scope) -> String {
        let (from, inner, on) = self.inner(scope);
        let kind = *self.dice.pick(&[Kind::Int4, Kind::Text]);
        match self.dice.below(4) {
            0 => format!("EXISTS (SELECT 1 FROM {from} WHERE {on})"),
            1 => format!("NOT EXISTS (SELECT 1 FROM {from} WHERE {on})"),
            2 => {
                let (left, right) = (self.leaf(scope, kind), self.expression(&inner, kind, 1));
                format!("{left} IN (SELECT {right} FROM {from} WHERE {on})")
            }
            _ => {
                let (left, right) = (self.leaf(scope, kind), self.column(&inner, kind).unwrap_or("NULL".into()));
                format!("{left} NOT IN (SELECT {right} FROM {from} WHERE {on} AND {right} IS NOT NULL)")
            }
        }
    }
}
