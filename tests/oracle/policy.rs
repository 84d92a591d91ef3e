//! Policies made by chance, spelt as policy.csv and users.toml, and read independently: who sees which rows and cells of
//! what, straight from the sentences of the policy's semantics. None of the policy's own code takes part.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::condition::{ATTRIBUTES, Attributes, Condition, Formula, Ground, Spelling};
use super::random::Dice;
use super::shop::{KEY, Object, Place, REGIONS, Shop};
use super::value::{Cell, Kind, Row, first_of, year_of};

/// The deployment's key, as the configuration has it.
pub const DEPLOYMENT_KEY: &str = "the key of the oracle's deployment";

/// Users first, roles behind them.
pub const USERS: [&str; 4] = ["ann", "ben", "cat", "twin"];
const ROLES: [&str; 5] = ["reader", "clerk", "analyst", "auditor", "steward"];
/// Owns most datasets.
pub const STEWARD: usize = USERS.len() + 4;
/// Sees what ann sees: same roles, same attributes, no line of its own.
pub const TWIN: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    Nullify,
    Constant(Cell),
    Redact,
    Hash,
    /// First, between, last; and the word, where it is not `partial` itself.
    Partial(usize, &'static str, usize, Option<&'static str>),
    Year,
    Custom(Formula),
    Unmasked,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    Object(usize),
    /// `schema.*` of every schema of tables; of the datasets'.
    Tables,
    Datasets,
    /// `*`
    Everything,
    Tag(usize),
}

#[derive(Clone, Debug)]
pub enum Rule {
    /// Of the whole table, or of one column.
    Permit(Option<String>, bool),
    /// `None`: unfiltered.
    Filter(Option<Condition>),
    Mask(String, Mask),
}

#[derive(Clone, Debug)]
pub struct Line {
    pub subject: usize,
    pub target: Target,
    pub rule: Rule,
}

#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub lines: Vec<Line>,
    /// Object, column, tag.
    pub tags: Vec<(usize, Option<String>, usize)>,
    /// Member, role.
    pub members: Vec<(usize, usize)>,
    pub attributes: Vec<Attributes>,
    /// One mask for each column and strictness: two that differ would be a fault of the file.
    palette: BTreeMap<(String, u8), Mask>,
}

/// What one subject sees of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// With whose attributes each is evaluated.
    pub filters: Vec<(Condition, usize)>,
    pub hidden: BTreeSet<String>,
    pub masks: BTreeMap<String, Shown>,
}

/// What stands for a masked cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    By(Mask, usize),
    Nothing,
}

const TAGS: [&str; 2] = ["pii", "inner"];

impl Policy {
    pub fn subject(index: usize) -> &'static str {
        USERS.get(index).or_else(|| ROLES.get(index - USERS.len())).expect("a subject")
    }

    /// Lines about tables; those about datasets come when there are any.
    pub fn new(dice: &mut Dice, shop: &Shop) -> Self {
        let mut policy = Self::default();
        policy.palette(dice);
        policy.people(dice);
        for table in 0..shop.objects.len() {
            for tag in 0..TAGS.len() {
                if dice.chance(12) {
                    policy.tags.push((table, None, tag));
                }
                if dice.chance(30) {
                    let column = dice.pick(&shop.objects[table].columns).0.clone();
                    policy.tags.push((table, Some(column), tag));
                }
            }
        }
        let tables: Vec<usize> = (0..shop.objects.len()).filter(|o| shop.objects[*o].name != "vault").collect();
        for subject in policy.speaking() {
            policy.grant(dice, shop, subject, &tables);
            policy.restrict(dice, shop, subject, &tables);
        }
        policy
    }

    /// Lines about the dataset that was added last.
    pub fn add_dataset(&mut self, dice: &mut Dice, shop: &Shop) {
        let dataset = shop.objects.len() - 1;
        for subject in self.speaking() {
            if dice.chance(55) {
                let target = *dice.pick(&[Target::Object(dataset), Target::Datasets]);
                self.lines.push(Line { subject, target, rule: Rule::Permit(None, true) });
            }
            if dice.chance(30) {
                self.restrict(dice, shop, subject, &[dataset]);
            }
        }
    }

    fn speaking(&self) -> Vec<usize> {
        (0..USERS.len() + ROLES.len()).filter(|s| *s != TWIN).collect()
    }

    fn people(&mut self, dice: &mut Dice) {
        let role = |n: usize| USERS.len() + n;
        for user in 0..TWIN {
            let roles: Vec<usize> = (0..ROLES.len()).collect();
            let mut of = dice.some(&roles, 30);
            if of.is_empty() {
                of.push(dice.below(ROLES.len()));
            }
            self.members.extend(of.into_iter().map(|r| (user, role(r))));
        }
        // a role without members is taken for a typing mistake
        for idle in 0..ROLES.len() {
            if !self.members.iter().any(|(_, r)| *r == role(idle)) {
                self.members.push((dice.below(TWIN), role(idle)));
            }
        }
        let anns: Vec<usize> = self.members.iter().filter(|(m, _)| *m == 0).map(|(_, r)| *r).collect();
        // ann's lines of her own are her twin's too: she is a role of it
        self.members.extend(anns.into_iter().map(|r| (TWIN, r)));
        // the steward stands alone: a role has no attributes, and what it inherits could be FALSE for it
        for member in 1..STEWARD - USERS.len() {
            for of in 0..member {
                if dice.chance(30) {
                    self.members.push((role(member), role(of)));
                }
            }
        }
        for _ in 0..TWIN {
            let attributes = random_attributes(dice);
            self.attributes.push(attributes);
        }
        self.attributes.push(self.attributes[0].clone());
        self.attributes.extend(ROLES.map(|_| Attributes::new()));
    }

    /// Allows, some of them of columns alone, which give nothing.
    fn grant(&mut self, dice: &mut Dice, shop: &Shop, subject: usize, tables: &[usize]) {
        let mut permit = |target, column, allow| {
            self.lines.push(Line { subject, target, rule: Rule::Permit(column, allow) });
        };
        match dice.below(10) {
            0 => permit(Target::Everything, None, true),
            1..=5 => permit(Target::Tables, None, true),
            6 => permit(Target::Tag(dice.below(TAGS.len())), None, true),
            _ => {}
        }
        for table in tables {
            let object = &shop.objects[*table];
            let percent = if object.named_only { 15 } else { 45 };
            if dice.chance(percent) {
                permit(Target::Object(*table), None, true);
            }
            if object.place == Place::Kafka && dice.chance(40) {
                permit(Target::Object(*table), Some(KEY.into()), true);
            }
        }
        let vault = shop.objects.iter().position(|o| o.name == "vault").expect("there is a vault");
        if dice.chance(35) {
            permit(Target::Object(vault), Some("name".into()), true);
        }
    }

    /// Denials, filters and masks.
    fn restrict(&mut self, dice: &mut Dice, shop: &Shop, subject: usize, objects: &[usize]) {
        let is_role = subject >= USERS.len();
        for at in objects {
            let object = &shop.objects[*at];
            let dataset = object.place == Place::View;
            let one = Target::Object(*at);
            let wide = if dataset || object.named_only { one } else { Target::Tables };
            let columns: Vec<(String, Kind)> = object.columns.iter().filter(|(n, _)| n != KEY).cloned().collect();
            let mut say = |target, rule| self.lines.push(Line { subject, target, rule });
            if dice.chance(3) {
                say(one, Rule::Permit(None, false));
            }
            if dice.chance(2) {
                say(Target::Tag(dice.below(TAGS.len())), Rule::Permit(None, false));
            }
            if dice.chance(12) {
                let target = if dice.chance(30) { wide } else { one };
                let column = dice.pick(&columns[1..]).0.clone();
                say(target, Rule::Permit(Some(column), false));
            }
            if dice.chance(if is_role { 9 } else { 22 }) {
                let cells = |dice: &mut Dice, column: &str| shop.cell(dice, column);
                let ground = Ground { columns: &columns, cells: &cells, attributes: !dataset && subject != STEWARD };
                let condition = ground.condition(dice, 2);
                let target = if dice.chance(20) { wide } else { one };
                say(target, Rule::Filter(Some(condition)));
            }
            if dice.chance(8) {
                say(one, Rule::Filter(None));
            }
            for (column, kind) in &columns {
                if dice.chance(11) {
                    let mask = self.mask(dice, column, *kind, dataset);
                    let target = match dice.below(10) {
                        0 | 1 => wide,
                        2 if !dataset => Target::Tag(dice.below(TAGS.len())),
                        _ => one,
                    };
                    self.lines.push(Line { subject, target, rule: Rule::Mask(column.clone(), mask) });
                }
            }
        }
    }

    fn palette(&mut self, dice: &mut Dice) {
        for (column, kind) in super::shop::COLUMNS {
            let custom = random_formula(dice, column, kind);
            let at = |mask: &Mask| (column.to_string(), mask.rank());
            let fixed = match dice.below(2) {
                0 => Mask::Redact,
                _ => Mask::Constant(match kind {
                    Kind::Int4 | Kind::Int8 => Cell::Int(dice.between(-9, 9)),
                    Kind::Text => Cell::Text("same".into()),
                    Kind::Bool => Cell::Bool(true),
                    Kind::Numeric => Cell::Numeric(725),
                    Kind::Date => Cell::Date(11_000),
                    Kind::Timestamp => Cell::Timestamp(86_400),
                }),
            };
            let partial = [
                Mask::Partial(1, "***", 2, None),
                Mask::Partial(0, "****", 4, Some("last4")),
                Mask::Partial(4, "****", 0, Some("first4")),
                Mask::Partial(1, "-", 1, None),
            ];
            let mut masks = vec![Mask::Nullify, fixed, Mask::Custom(custom), Mask::Unmasked];
            match kind {
                Kind::Text => masks.extend([Mask::Hash, dice.pick(&partial).clone()]),
                Kind::Date | Kind::Timestamp => masks.push(Mask::Year),
                Kind::Int4 | Kind::Int8 | Kind::Bool | Kind::Numeric => {}
            }
            self.palette.extend(masks.into_iter().map(|m| (at(&m), m)));
        }
    }

    /// A dataset's column takes only what SQL can say in its copy, and what no other column is needed for.
    fn mask(&self, dice: &mut Dice, column: &str, kind: Kind, dataset: bool) -> Mask {
        let like = super::shop::COLUMNS.iter().filter(|(name, k)| *k == kind && (dataset || *name == column));
        let named: Vec<&str> = like.map(|(name, _)| *name).collect();
        let Some(name) = named.first() else { return Mask::Nullify };
        let fits = |m: &&Mask| !dataset || !matches!(m, Mask::Hash | Mask::Custom(_));
        let all: Vec<&Mask> =
            self.palette.iter().filter(|((c, _), _)| c == name).map(|(_, m)| m).filter(fits).collect();
        (*dice.pick(&all)).clone()
    }

    // --- as files

    /// `worlds`: each line stands once for each of them.
    pub fn csv(&self, shop: &Shop, worlds: &[String]) -> String {
        let mut text = String::new();
        for (member, role) in &self.members {
            text += &format!("g, {}, {}\n", Self::subject(*member), Self::subject(*role));
        }
        for world in worlds {
            let named = |object: usize| {
                let object = &shop.objects[object];
                format!("{world}{}.{}", object.place.letter(), object.name)
            };
            for (object, column, tag) in &self.tags {
                let column = column.as_ref().map(|c| format!("/{c}")).unwrap_or_default();
                text += &format!("g2, {}{column}, tag:{}\n", named(*object), TAGS[*tag]);
            }
        }
        let mut seen = BTreeSet::new();
        for line in self.lines.iter().chain(&self.twins_lines()) {
            for world in worlds {
                for target in self.targets(line, shop, world) {
                    let line = spelt(line, &target);
                    if seen.insert(line.clone()) {
                        text += &line;
                    }
                }
            }
        }
        text
    }

    /// ann's own lines, said of her twin.
    fn twins_lines(&self) -> Vec<Line> {
        let anns = self.lines.iter().filter(|l| l.subject == 0);
        anns.map(|l| Line { subject: TWIN, ..l.clone() }).collect()
    }

    fn targets(&self, line: &Line, shop: &Shop, world: &str) -> Vec<String> {
        match line.target {
            Target::Object(at) => {
                let object = &shop.objects[at];
                vec![format!("{world}{}.{}", object.place.letter(), object.name)]
            }
            Target::Tables => {
                let places = shop.places().into_iter().filter(|p| *p != Place::View);
                places.map(|p| format!("{world}{}.*", p.letter())).collect()
            }
            Target::Datasets if shop.places().contains(&Place::View) => {
                vec![format!("{world}{}.*", Place::View.letter())]
            }
            Target::Datasets => vec![],
            Target::Everything => vec!["*".into()],
            Target::Tag(tag) => vec![format!("tag:{}", TAGS[tag])],
        }
    }

    /// Declarations, and each user's as TOML.
    pub fn users(&self) -> (String, Vec<(String, String)>) {
        let declared = ATTRIBUTES.iter().map(|(name, kind, list)| {
            let kind = if *kind == Kind::Int4 { "int8" } else { kind.name() };
            format!("{name} = \"{kind}{}\"\n", if *list { "[]" } else { "" })
        });
        let of = |values: &Attributes| {
            let each = values.iter().map(|(name, values)| {
                let cells: Vec<String> = values
                    .iter()
                    .map(|c| match c {
                        Cell::Date(_) => c.text(),
                        other => other.toml(),
                    })
                    .collect();
                let list = ATTRIBUTES.iter().any(|(n, _, list)| n == name && *list);
                format!("{name} = {}", if list { format!("[{}]", cells.join(", ")) } else { cells.concat() })
            });
            each.collect::<Vec<_>>().join(", ")
        };
        let users = USERS.iter().zip(&self.attributes).map(|(name, values)| (name.to_string(), of(values)));
        (declared.collect(), users.collect())
    }

    // --- as read

    fn closure(&self, subject: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([subject]);
        // twins have each other's lines
        if subject == TWIN {
            reached.insert(0);
        }
        loop {
            let more: Vec<usize> = self
                .members
                .iter()
                .filter(|(m, r)| reached.contains(m) && !reached.contains(r))
                .map(|(_, r)| *r)
                .collect();
            if more.is_empty() {
                return reached;
            }
            reached.extend(more);
        }
    }

    fn about<'a>(&'a self, subject: usize, at: usize, object: &'a Object) -> impl Iterator<Item = &'a Line> {
        let closure = self.closure(subject);
        let tagged = move |tag: usize| self.tags.iter().any(|(o, c, t)| *o == at && c.is_none() && *t == tag);
        self.lines.iter().filter(move |line| {
            let covers = match line.target {
                Target::Object(o) => o == at,
                Target::Tables => object.place != Place::View && !object.named_only,
                Target::Datasets => object.place == Place::View && !object.named_only,
                Target::Everything => !object.named_only,
                Target::Tag(tag) => tagged(tag),
            };
            closure.contains(&line.subject) && covers
        })
    }

    /// Lines of a tag that single columns carry.
    fn about_columns(&self, subject: usize, at: usize) -> Vec<(&Line, &str)> {
        let closure = self.closure(subject);
        let of = |line: &Line| match line.target {
            Target::Tag(tag) if closure.contains(&line.subject) => Some(tag),
            _ => None,
        };
        let mut found = vec![];
        for line in &self.lines {
            let Some(tag) = of(line) else { continue };
            let columns = self.tags.iter().filter(|(o, _, t)| *o == at && *t == tag);
            found.extend(columns.filter_map(|(_, column, _)| Some((line, column.as_deref()?))));
        }
        found
    }

    fn allowed(&self, subject: usize, at: usize, object: &Object) -> bool {
        let words = self.about(subject, at, object).filter_map(|line| match &line.rule {
            Rule::Permit(None, allow) => Some(*allow),
            _ => None,
        });
        let words: Vec<bool> = words.collect();
        !words.is_empty() && words.iter().all(|allow| *allow)
    }

    fn denied(&self, subject: usize, at: usize, object: &Object) -> bool {
        self.about(subject, at, object).any(|line| matches!(line.rule, Rule::Permit(None, false)))
    }

    /// `None`: it does not exist for them.
    pub fn direct(&self, shop: &Shop, subject: usize, at: usize) -> Option<Seen> {
        let object = &shop.objects[at];
        if !self.allowed(subject, at, object) {
            return None;
        }
        self.seen(shop, &[subject], at)
    }

    /// Inside a dataset: its owner's rights, and whatever lines name one of the others on top.
    pub fn through(&self, shop: &Shop, owner: usize, others: &[usize], at: usize) -> Option<Seen> {
        let object = &shop.objects[at];
        if !self.allowed(owner, at, object) || others.iter().any(|other| self.denied(*other, at, object)) {
            return None;
        }
        let all: Vec<usize> = std::iter::once(owner).chain(others.iter().copied()).collect();
        self.seen(shop, &all, at)
    }

    fn seen(&self, shop: &Shop, subjects: &[usize], at: usize) -> Option<Seen> {
        let object = &shop.objects[at];
        let mut seen = Seen::default();
        for subject in subjects {
            for line in self.about(*subject, at, object) {
                match &line.rule {
                    Rule::Filter(Some(condition)) => seen.filters.push((condition.clone(), *subject)),
                    Rule::Permit(Some(column), false) => {
                        let names = object.columns.iter().map(|(name, _)| name);
                        seen.hidden.extend(names.filter(|name| *name == column).cloned());
                    }
                    Rule::Permit(..) | Rule::Filter(None) | Rule::Mask(..) => {}
                }
            }
            for (line, column) in self.about_columns(*subject, at) {
                if matches!(line.rule, Rule::Permit(None, false)) {
                    seen.hidden.insert(column.to_string());
                }
            }
        }
        for (column, _) in &object.columns {
            if object.is_raw(column) && !self.names_column(subjects[0], at, object, column) {
                seen.hidden.insert(column.clone());
            }
            if let Some(shown) = self.masked(subjects, at, object, column).filter(|_| !seen.hidden.contains(column)) {
                seen.masks.insert(column.clone(), shown);
            }
        }
        // a raw record holds every field
        let fields = object.columns.iter().filter(|(name, _)| !object.is_raw(name));
        let any = |name: &String| seen.masks.contains_key(name) || seen.hidden.contains(name);
        if fields.map(|(name, _)| name).any(any) {
            seen.masks.remove(KEY);
            seen.hidden.extend(object.columns.iter().filter(|(n, _)| object.is_raw(n)).map(|(n, _)| n.clone()));
        }
        let left = object.columns.iter().any(|(name, _)| !seen.hidden.contains(name));
        left.then_some(seen)
    }

    fn names_column(&self, subject: usize, at: usize, object: &Object, column: &str) -> bool {
        self.about(subject, at, object)
            .any(|line| matches!(&line.rule, Rule::Permit(Some(name), true) if name == column))
    }

    /// The strictest of all; nothing where two of one strictness show differently.
    fn masked(&self, subjects: &[usize], at: usize, object: &Object, column: &str) -> Option<Shown> {
        let mut found: Vec<(&Mask, usize)> = vec![];
        for subject in subjects {
            let of_table = self.about(*subject, at, object);
            let of_column = self.about_columns(*subject, at).into_iter().filter(|(_, c)| *c == column).map(|(l, _)| l);
            found.extend(of_table.chain(of_column).filter_map(|line| match &line.rule {
                Rule::Mask(name, mask) if name == column => Some((mask, *subject)),
                _ => None,
            }));
        }
        let strictest = found.iter().map(|(mask, _)| mask.rank()).max()?;
        found.retain(|(mask, _)| mask.rank() == strictest);
        let (mask, subject) = found[0];
        if *mask == Mask::Unmasked {
            return None;
        }
        let bound = |(mask, subject): &(&Mask, usize)| match mask {
            Mask::Custom(formula) => formula.bound(&self.attributes[*subject]).map(Mask::Custom),
            other => Some((*other).clone()),
        };
        let first = bound(&found[0]);
        let equal = first.is_some() && found.iter().all(|other| bound(other) == first);
        Some(if equal { Shown::By(mask.clone(), subject) } else { Shown::Nothing })
    }

    /// The row as it is seen, hidden columns NULL; `None` where it is not.
    pub fn view(&self, object: &Object, seen: &Seen, row: &Row) -> Option<Row> {
        let named = |name: &str| {
            let at = object.columns.iter().position(|(n, _)| n == name);
            at.map_or(Cell::Null, |at| row[at].clone())
        };
        let holds = |(condition, subject): &(Condition, usize)| {
            condition.truth(&named, &self.attributes[*subject]) == Some(Some(true))
        };
        if !seen.filters.iter().all(holds) {
            return None;
        }
        let cell = |((name, kind), raw): (&(String, Kind), &Cell)| match seen.masks.get(name) {
            _ if seen.hidden.contains(name) => Cell::Null,
            None => raw.clone(),
            Some(Shown::Nothing) => Cell::Null,
            Some(Shown::By(mask, subject)) => mask
                .over(raw, *kind, &|formula| formula.value(&named, &self.attributes[*subject]).unwrap_or(Cell::Null)),
        };
        Some(object.columns.iter().zip(row).map(cell).collect())
    }
}

fn spelt(line: &Line, target: &str) -> String {
    let subject = Policy::subject(line.subject);
    match &line.rule {
        Rule::Permit(column, allow) => {
            let column = column.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            format!("p, {subject}, {target}{column}, select, {}\n", if *allow { "allow" } else { "deny" })
        }
        Rule::Filter(None) => format!("p2, {subject}, {target}, unfiltered\n"),
        Rule::Filter(Some(condition)) => {
            format!("p2, {subject}, {target}, \"{}\"\n", condition.spell(Spelling::Policy))
        }
        Rule::Mask(column, mask) => format!("p3, {subject}, {target}, {column}, {}\n", mask.word()),
    }
}

impl Formula {
    /// Attributes as their values; `None` where one is missing.
    fn bound(&self, values: &Attributes) -> Option<Self> {
        Some(match self {
            Self::Attribute(name) => Self::Constant(values.get(name)?.first()?.clone()),
            Self::Case(when, then, otherwise) => {
                let Condition::Compare(left, op, right) = when.as_ref() else { return Some(self.clone()) };
                let when = Condition::Compare(left.bound(values)?, op, right.bound(values)?);
                Self::Case(Box::new(when), then.clone(), otherwise.clone())
            }
            other => other.clone(),
        })
    }
}

impl Mask {
    fn rank(&self) -> u8 {
        match self {
            Self::Nullify => 7,
            Self::Constant(_) | Self::Redact => 6,
            Self::Hash => 5,
            Self::Partial(..) => 4,
            Self::Year => 3,
            Self::Custom(_) => 2,
            Self::Unmasked => 1,
        }
    }

    fn word(&self) -> String {
        match self {
            Self::Nullify => "nullify".into(),
            Self::Constant(cell) => format!("\"constant({})\"", cell.constant()),
            Self::Redact => "redact".into(),
            Self::Hash => "hash".into(),
            Self::Partial(_, _, _, Some(word)) => (*word).into(),
            Self::Partial(first, between, last, None) => format!("\"partial({first}, '{between}', {last})\""),
            Self::Year => "year".into(),
            Self::Custom(formula) => format!("\"custom(\"\"{}\"\")\"", formula.spell(Spelling::Policy)),
            Self::Unmasked => "unmasked".into(),
        }
    }

    fn over(&self, raw: &Cell, kind: Kind, evaluate: &dyn Fn(&Formula) -> Cell) -> Cell {
        match self {
            Self::Nullify => Cell::Null,
            Self::Constant(cell) => cell.clone(),
            Self::Redact => redacted(kind),
            Self::Hash => Cell::Text(keyed_hash(raw)),
            Self::Partial(first, between, last, _) => {
                let text: Vec<char> = raw.text().chars().collect();
                if text.len() <= first + last {
                    return Cell::Text((*between).into());
                }
                let start: String = text[..*first].iter().collect();
                let end: String = text[text.len() - last..].iter().collect();
                Cell::Text(format!("{start}{between}{end}"))
            }
            Self::Year => match raw {
                Cell::Date(days) => Cell::Date(first_of(year_of(*days))),
                Cell::Timestamp(seconds) => Cell::Timestamp(first_of(year_of(seconds.div_euclid(86_400))) * 86_400),
                _ => Cell::Null,
            },
            Self::Custom(formula) => evaluate(formula),
            Self::Unmasked => raw.clone(),
        }
    }

    /// Over a column of a dataset's body, as SQL.
    pub fn sql(&self, column: &str, kind: Kind) -> String {
        match self {
            Self::Nullify => format!("NULL::{}", kind.name()),
            Self::Constant(cell) => format!("{}::{}", cell.sql(), kind.name()),
            Self::Redact => format!("{}::{}", redacted(kind).sql(), kind.name()),
            Self::Partial(first, between, last, _) => {
                format!(
                    "CASE WHEN length({column}) > {} THEN left({column}, {first}) || '{between}' || right({column}, {last}) \
                     ELSE '{between}' END",
                    first + last
                )
            }
            Self::Year => format!("date_trunc('year', {column})::{}", kind.name()),
            Self::Hash | Self::Custom(_) => panic!("not over datasets"),
            Self::Unmasked => column.into(),
        }
    }
}

fn redacted(kind: Kind) -> Cell {
    match kind {
        Kind::Text => Cell::Text("xxxx".into()),
        Kind::Int4 | Kind::Int8 => Cell::Int(0),
        Kind::Bool => Cell::Bool(false),
        Kind::Numeric => Cell::Numeric(0),
        Kind::Date => Cell::Date(0),
        Kind::Timestamp => Cell::Timestamp(0),
    }
}

/// Hex of HMAC-SHA-256 under the key that is derived for masks; a letter before the value keeps NULL apart from all.
fn keyed_hash(raw: &Cell) -> String {
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("any length will do");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let key = mac(DEPLOYMENT_KEY.as_bytes(), &[b"lakegate mask"]);
    let hash = match raw {
        Cell::Null => mac(&key, &[b"n"]),
        value => mac(&key, &[b"v", value.text().as_bytes()]),
    };
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_attributes(dice: &mut Dice) -> Attributes {
    let mut values = Attributes::new();
    for (name, kind, list) in ATTRIBUTES {
        // some are missing, some lists empty
        if dice.chance(20) {
            continue;
        }
        let one = |dice: &mut Dice| match kind {
            Kind::Text => Cell::Text(dice.pick(&REGIONS).to_string()),
            Kind::Bool => Cell::Bool(dice.chance(50)),
            Kind::Date => Cell::Date(dice.between(0, 15_000)),
            Kind::Int4 | Kind::Int8 | Kind::Numeric | Kind::Timestamp => Cell::Int(dice.between(1, 6)),
        };
        let count = if list { dice.below(4) } else { 1 };
        values.insert(name, (0..count).map(|_| one(dice)).collect());
    }
    values
}

/// A custom mask over raw columns of the row, of the column's type.
fn random_formula(dice: &mut Dice, column: &str, kind: Kind) -> Formula {
    let own = || Formula::Column(column.into());
    let other = |name: &str| Formula::Column(name.into());
    let text = |text: &str| Formula::Constant(Cell::Text(text.into()));
    let zero = match kind {
        Kind::Int4 | Kind::Int8 => Cell::Int(0),
        Kind::Text => Cell::Text("other".into()),
        Kind::Bool => Cell::Bool(false),
        Kind::Numeric => Cell::Numeric(0),
        Kind::Date => Cell::Date(0),
        Kind::Timestamp => Cell::Timestamp(0),
    };
    let region = Condition::Compare(other("region"), "=", Formula::Attribute("region"));
    let high = Condition::Compare(other("k"), *dice.pick(&[">", "<"]), Formula::Constant(Cell::Int(3)));
    match (kind, dice.below(4)) {
        (_, 0) => Formula::Case(Box::new(region), Box::new(own()), Box::new(Formula::Constant(zero))),
        (_, 1) => Formula::Case(Box::new(high), Box::new(own()), Box::new(Formula::Constant(zero))),
        (Kind::Text, 2) => {
            let start = Formula::Substr(Box::new(other("name")), 1, 2);
            Formula::Concat(vec![start, text("/"), Formula::Upper(Box::new(other("region")))])
        }
        (Kind::Text, _) => {
            Formula::Coalesce(vec![other("note"), Formula::Lower(Box::new(other("region"))), text("none")])
        }
        (Kind::Int4, 2) => Formula::NullIf(Box::new(other("level")), Cell::Int(3)),
        (_, _) => Formula::Coalesce(vec![own(), Formula::Constant(zero)]),
    }
}
