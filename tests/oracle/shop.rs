//! What exists: a few tables of one shape in several kinds of sources, datasets over them, and the rows of world A, full
//! of tokens. Nobody's rights are known here.

use super::condition::Condition;
use super::random::Dice;
use super::value::{Cell, Kind, Row};

/// Where a table lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Place {
    Memory,
    Lake,
    Postgres,
    Kafka,
    /// A dataset.
    View,
}

impl Place {
    /// Ends the name of the schema, whose start is the world's.
    pub fn letter(self) -> char {
        match self {
            Self::Memory => 'm',
            Self::Lake => 'l',
            Self::Postgres => 'p',
            Self::Kafka => 'k',
            Self::View => 'v',
        }
    }
}

pub const COLUMNS: [(&str, Kind); 12] = [
    ("id", Kind::Int4),
    ("k", Kind::Int4),
    ("region", Kind::Text),
    ("level", Kind::Int4),
    // eighteen digits, different in each row
    ("code", Kind::Int8),
    ("name", Kind::Text),
    // mostly digits: what casts are tried on
    ("ssn", Kind::Text),
    ("note", Kind::Text),
    ("amount", Kind::Numeric),
    ("active", Kind::Bool),
    ("day", Kind::Date),
    ("seen", Kind::Timestamp),
];

pub const REGIONS: [&str; 4] = ["EU", "US", "APAC", "LATAM"];

/// A record's key in a topic: no `*` covers it.
pub const KEY: &str = "_key";

#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    pub place: Place,
    /// A topic's key included.
    pub columns: Vec<(String, Kind)>,
    /// No `*` covers it.
    pub named_only: bool,
    pub body: Option<Body>,
}

impl Object {
    pub fn is_raw(&self, column: &str) -> bool {
        column == KEY
    }
}

/// A dataset's query. `{name}` stands for an object's name.
#[derive(Clone, Debug)]
pub struct Body {
    /// Index of a subject.
    pub owner: usize,
    pub sql: String,
    pub reads: Vec<Read>,
}

/// An object that a body reads.
#[derive(Clone, Debug)]
pub struct Read {
    pub object: usize,
    /// All that the body names of it.
    pub columns: Vec<String>,
    /// Rows that the body's WHERE keeps, by the values that its owner and its reader see.
    pub only: Option<Condition>,
}

pub struct Shop {
    pub objects: Vec<Object>,
    /// World A by object; none for a dataset.
    pub rows: Vec<Vec<Row>>,
}

/// Long enough to be found by its first and last six letters; no hexadecimal digit is among them.
const TOKEN_CHARS: usize = 12;

impl Shop {
    /// `emp`, `pay`, `dept`, a table that hardly anybody may read, and one that no `*` covers; datasets come later.
    pub fn new(dice: &mut Dice, places: &[Place]) -> Self {
        let mut shop = Self { objects: vec![], rows: vec![] };
        for (at, name) in ["emp", "pay", "dept", "vault"].into_iter().enumerate() {
            shop.add(dice, name, places[at % places.len()], false);
        }
        if places.contains(&Place::Memory) {
            shop.add(dice, "pay__dlq", Place::Memory, true);
        }
        shop
    }

    fn add(&mut self, dice: &mut Dice, name: &str, place: Place, named_only: bool) {
        let mut columns: Vec<(String, Kind)> = COLUMNS.iter().map(|(n, k)| (n.to_string(), *k)).collect();
        if place == Place::Kafka {
            columns.push((KEY.into(), Kind::Text));
        }
        let mut ids: Vec<i64> = (1..=40).collect();
        let count = dice.between(12, 18);
        let rows = (0..count).map(|_| {
            let id = ids.swap_remove(dice.below(ids.len()));
            random_row(dice, id, columns.len())
        });
        let rows = rows.collect();
        self.rows.push(rows);
        self.objects.push(Object { name: name.into(), place, columns, named_only, body: None });
    }

    pub fn add_dataset(&mut self, name: String, columns: Vec<(String, Kind)>, body: Body) {
        self.rows.push(vec![]);
        self.objects.push(Object { name, place: Place::View, columns, named_only: false, body: Some(body) });
    }

    /// Rows before it are written before the others, where that makes a difference.
    pub fn half(&self, object: usize) -> usize {
        self.rows[object].len() / 2
    }

    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.objects.iter().map(|o| o.place).collect();
        places.sort();
        places.dedup();
        places
    }

    /// Some value that world A has in a column of this name, whichever table's.
    pub fn cell(&self, dice: &mut Dice, column: &str) -> Cell {
        let holding = |o: &Object| o.columns.iter().position(|(name, _)| name == column);
        let places: Vec<(usize, usize)> =
            self.objects.iter().enumerate().filter_map(|(i, o)| Some((i, holding(o)?))).collect();
        let tables: Vec<_> = places.into_iter().filter(|(i, _)| !self.rows[*i].is_empty()).collect();
        if tables.is_empty() {
            return Cell::Null;
        }
        let (table, column) = *dice.pick(&tables);
        dice.pick(&self.rows[table])[column].clone()
    }
}

pub fn token(dice: &mut Dice) -> String {
    (0..TOKEN_CHARS).map(|_| char::from(b'g' + u8::try_from(dice.below(20)).unwrap())).collect()
}

/// `columns`: thirteen with a topic's key.
pub fn random_row(dice: &mut Dice, id: i64, columns: usize) -> Row {
    let mut row = vec![Cell::Int(id)];
    row.extend((1..columns).map(|column| random_cell(dice, column)));
    row
}

/// By its place in [`COLUMNS`]; the key behind them.
pub fn random_cell(dice: &mut Dice, column: usize) -> Cell {
    let or_null = |dice: &mut Dice, percent: usize, cell: Cell| if dice.chance(percent) { Cell::Null } else { cell };
    match column {
        0 | 1 => Cell::Int(dice.between(1, 6)),
        2 => {
            let region = Cell::Text(dice.pick(&REGIONS).to_string());
            or_null(dice, 15, region)
        }
        3 => {
            let level = Cell::Int(dice.between(0, 7));
            or_null(dice, 10, level)
        }
        4 => Cell::Int(dice.between(100_000_000_000_000_000, 999_999_999_999_999_999)),
        6 if dice.chance(85) => Cell::Text(dice.between(0, 99).to_string()),
        7 => {
            let note = Cell::Text(token(dice));
            or_null(dice, 30, note)
        }
        8 => {
            let amount = Cell::Numeric(dice.between(-500, 4_000));
            or_null(dice, 15, amount)
        }
        9 => {
            let active = Cell::Bool(dice.chance(50));
            or_null(dice, 15, active)
        }
        10 => {
            let day = Cell::Date(dice.between(-400, 19_000));
            or_null(dice, 15, day)
        }
        11 => {
            let seen = Cell::Timestamp(dice.between(-40_000_000, 1_700_000_000));
            or_null(dice, 15, seen)
        }
        _ => Cell::Text(token(dice)),
    }
}
