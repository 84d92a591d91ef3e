//! Statements answered from what is stored already, equal by equal: the result cache, and reflections, which are tables of
//! the lake that hold what a query comes to. It plans nothing and judges nobody: what is equal is said here, who may see it
//! `policy` has said before.

pub mod block;
pub mod copies;
pub mod lossless;
pub mod made_of;
pub mod matching;
pub mod results;
pub mod schedule;
pub mod shape;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;

use self::block::Definition;
use self::lossless::Lossless;
use crate::lake::Making;
pub use crate::refreshes::Uses;
use crate::sql::parse::reflection::Refresh;
use crate::types::{ObjectId, Reads, SnapshotVector};

/// One reflection of the catalog in force.
#[derive(Debug)]
pub struct Reflection {
    /// One name a deployment.
    pub name: String,
    /// What it holds, as one query over its tables: column `i` of what is stored is column `i` of it. An average is not in
    /// it; the sum and the count are.
    pub query: String,
    /// The same, planned over sealed tables before any policy: it is compared and never run.
    pub plan: LogicalPlan,
    /// The same read as one block; `None` for one that answers nothing: statements are matched with it.
    pub definition: Option<Definition>,
    /// The tables that it reads.
    pub bases: Vec<ObjectId>,
    pub enabled: bool,
    /// What answers now.
    pub stored: Arc<Slot>,
    /// Shared by all worlds that know the same definition.
    pub uses: Arc<Uses>,
    /// What a refresh goes by; matching asks nothing of it.
    pub upkeep: Upkeep,
}

impl Reflection {
    /// Whether a statement can be answered from it. Those that leave out groups are kept and no more yet.
    pub fn answers(&self) -> bool {
        self.definition.is_some()
    }
}

/// How a reflection is kept.
#[derive(Clone, Debug)]
pub struct Upkeep {
    pub owner: String,
    /// The statement that says what it is.
    pub definition: String,
    /// The file of the definition; `None` for one that SQL made.
    pub file: Option<String>,
    pub refresh: Refresh,
    /// The columns of what is stored, each with a name of its own.
    pub columns: SchemaRef,
    /// Of the query, its types, and the ids of the tables and columns that it reads: what was stored under another one is
    /// another reflection's.
    pub print: u64,
    /// How its table is laid out.
    pub making: Making,
    pub growth: Growth,
    /// `None`: where rows have gone, everything is computed again.
    pub shrinking: Option<Shrinking>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            owner: String::new(),
            definition: String::new(),
            file: None,
            refresh: Refresh::default(),
            columns: Arc::new(Schema::empty()),
            print: 0,
            making: Making::default(),
            growth: Growth::Whole,
            shrinking: None,
        }
    }
}

/// What becomes of the stored rows where its table has got more rows and lost none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Everything is computed again.
    Whole,
    /// The query's rows over the new ones are added.
    Rows,
    /// Rows of the same dimensions become one: what to do for each column.
    Groups(Vec<Merge>),
}

/// How two values of a stored column become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It is a dimension.
    Same,
    Sum,
    Min,
    Max,
}

/// Where the columns of groups that grow tell what is left of them when rows have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrinking {
    /// The one that counts a group's rows: a group without any is none. `None` where all rows are one group, which stays.
    pub rows: Option<usize>,
    /// For each one that is a sum, that which counts its values: a sum of none is NULL.
    pub values: Vec<Option<usize>>,
}

/// What a refresh has left, replaced whole by the next one.
#[derive(Debug, Default)]
pub struct Slot(RwLock<Option<Arc<Stored>>>);

impl Slot {
    /// `None` before the first refresh.
    pub fn get(&self) -> Option<Arc<Stored>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn put(&self, stored: Option<Arc<Stored>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = stored;
    }
}

/// The rows of a reflection as one refresh left them.
#[derive(Clone)]
pub struct Stored {
    pub provider: Arc<dyn TableProvider>,
    /// Knows the leaves of the provider's scans.
    pub reads: Reads,
    /// What its tables were at when it was made.
    pub bases: SnapshotVector,
    /// Of those tables.
    pub lossless: Lossless,
    pub rows: u64,
    /// In microseconds since 1970: its tables were looked at then.
    pub as_of: i64,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("bases", &self.bases).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Those of a catalog, by the tables that they read: a statement that names none of these asks nothing.
#[derive(Debug, Default)]
pub struct Reflections {
    all: Vec<Arc<Reflection>>,
    /// Definitions by name that cannot be planned now: what is stored of them stays.
    resting: BTreeMap<String, String>,
    by_table: HashMap<ObjectId, Vec<Arc<Reflection>>>,
}

impl Reflections {
    pub fn new(all: impl IntoIterator<Item = Arc<Reflection>>) -> Self {
        let all: Vec<Arc<Reflection>> = all.into_iter().collect();
        let mut by_table: HashMap<ObjectId, Vec<Arc<Reflection>>> = HashMap::new();
        for reflection in &all {
            for base in &reflection.bases {
                by_table.entry(*base).or_default().push(Arc::clone(reflection));
            }
        }
        Self { all, resting: BTreeMap::new(), by_table }
    }

    /// With the texts of definitions that cannot be planned now, by name.
    pub fn with_resting(all: Vec<Arc<Reflection>>, resting: BTreeMap<String, String>) -> Self {
        Self { resting, ..Self::new(all) }
    }

    /// Whether there was a reflection of this name and text.
    pub fn knows(&self, name: &str, text: &str) -> bool {
        self.named(name).is_some_and(|known| known.upkeep.definition == text)
            || self.resting.get(name).is_some_and(|known| known == text)
    }

    /// Of every definition, those that cannot be planned included.
    pub fn names(&self) -> BTreeSet<&str> {
        let planned = self.all.iter().map(|reflection| reflection.name.as_str());
        planned.chain(self.resting.keys().map(String::as_str)).collect()
    }

    pub fn all(&self) -> &[Arc<Reflection>] {
        &self.all
    }

    pub fn named(&self, name: &str) -> Option<&Arc<Reflection>> {
        self.all.iter().find(|reflection| reflection.name == name)
    }

    pub fn of(&self, table: ObjectId) -> &[Arc<Reflection>] {
        self.by_table.get(&table).map_or(&[], Vec::as_slice)
    }
}
