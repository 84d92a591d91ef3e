//! Parts of a plan that lie on one source which speaks PostgreSQL's language, printed as its SQL: the largest of them become
//! scans of that text. Functions are printed by their oids and only where the source has the same ones; what has no arm in
//! `select` or `expr` stays here, so these files are the allow-list. Which tables may be sent at all is not decided here.

mod allowed;
mod expr;
mod join;
mod literal;
mod select;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::logical_plan::{Filter, Projection, Sort, TableScan, TableScanBuilder};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};

use self::expr::{Out, Scope};
use self::literal::type_name;
use self::select::Select;
use crate::error::Result;
use crate::formats::postgres::copy;
use crate::pgtype::{self, Ty, oid};

/// Longer texts are not sent: the rows are read instead.
const SQL_BYTES_MAX: usize = 8 << 20;

/// A table of a source, as the source's SQL names it.
pub(crate) struct Table {
    /// Tables of one source, and no others, can be asked together.
    pub(crate) source: usize,
    pub(crate) oid: u32,
    /// Quoted, with its schema.
    pub(crate) name: String,
    /// In the order of the scan's schema before its projection.
    pub(crate) columns: Vec<TableColumn>,
    pub(crate) functions: Functions,
    /// Rows, as far as the source has counted them.
    pub(crate) rows: Option<f64>,
}

pub(crate) struct TableColumn {
    /// Quoted.
    pub(crate) name: String,
    /// The source has the type that the field says; elsewhere the column is asked for as text.
    pub(crate) is_typed: bool,
    pub(crate) compares: Compares,
}

/// What comparisons of a column's texts mean there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compares {
    Bytes,
    /// Equal texts are equal bytes; their order is a language's, unless `COLLATE "C"` stands with them.
    Equality,
    /// Nothing that could be said here: the column is only read.
    Otherwise,
}

/// Oid → `prosrc` of the source's own immutable functions.
pub(crate) type Functions = Arc<HashMap<u32, String>>;

/// A text whose rows stand for a part of a plan.
pub(crate) struct Remote {
    pub(crate) source: usize,
    pub(crate) tables: Vec<u32>,
    pub(crate) sql: String,
    /// Columns by place.
    pub(crate) schema: SchemaRef,
    /// Types that the source gives them in.
    pub(crate) oids: Vec<u32>,
    /// Whether equal values there are equal here, by column.
    pub(crate) equal: Vec<bool>,
    /// A guess, for the order of joins.
    pub(crate) rows: Option<f64>,
}

/// `known`: the table of a scan whose reader may see all of it. `open`: a scan of a text.
pub(crate) fn push(
    plan: LogicalPlan,
    known: &dyn Fn(&TableScan) -> Option<Table>,
    open: &dyn Fn(Remote) -> Result<Arc<dyn TableSource>>,
) -> Result<LogicalPlan> {
    Push { known, open, aliases: Cell::new(0), asked: RefCell::default() }.whole(plan)
}

struct Push<'a> {
    known: &'a dyn Fn(&TableScan) -> Option<Table>,
    open: &'a dyn Fn(Remote) -> Result<Arc<dyn TableSource>>,
    aliases: Cell<usize>,
    /// Tables of subqueries in the expressions that are printed just now.
    asked: RefCell<BTreeSet<u32>>,
}

/// A plan, and the SELECT that stands for it where there is one.
struct Part {
    plan: LogicalPlan,
    select: Option<Select>,
}

impl Push<'_> {
    fn whole(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let part = self.visit(plan)?;
        self.opened(part.plan, part.select)
    }

    fn alias(&self) -> String {
        self.aliases.set(self.aliases.get() + 1);
        format!("t{}", self.aliases.get())
    }

    fn visit(&self, plan: LogicalPlan) -> Result<Part> {
        let mut below: Vec<Option<Select>> = vec![];
        let plan = plan.map_children(|child| {
            let part = self.visit(child)?;
            below.push(part.select);
            Ok(Transformed::no(part.plan))
        })?;
        let plan = plan.data;
        if let Some(select) = self.counted(|| self.printed(&plan, &below)) {
            return Ok(Part { plan, select: Some(select) });
        }
        let (plan, below) = match plan {
            LogicalPlan::Filter(filter) => self.split(filter, below)?,
            other => (other, below),
        };
        let mut below = below.into_iter();
        let plan = plan.map_children(|child| {
            let select = below.next().flatten();
            Ok(Transformed::no(self.opened(child, select)?))
        })?;
        let plan = plan.data.map_subqueries(|query| Ok(Transformed::yes(self.whole(query)?)))?;
        Ok(Part { plan: plan.data, select: None })
    }

    /// With the tables that its subqueries read, unless it is too long.
    fn counted(&self, print: impl FnOnce() -> Option<Select>) -> Option<Select> {
        let outer = self.asked.take();
        let select = print();
        let asked = self.asked.replace(outer);
        let mut select = select.filter(|select| select.size() <= SQL_BYTES_MAX)?;
        select.tables.extend(asked);
        Some(select)
    }

    /// Conjuncts that can be sent go below the filter, the others stay in it.
    fn split(&self, filter: Filter, below: Vec<Option<Select>>) -> Result<(LogicalPlan, Vec<Option<Select>>)> {
        let unchanged = |filter: Filter, below| Ok((LogicalPlan::Filter(filter), below));
        let [Some(select)] = below.as_slice() else { return unchanged(filter, below) };
        let (mut grown, mut rest) = (select.clone(), vec![]);
        for conjunct in split_conjunction(&filter.predicate) {
            match self.counted(|| self.filtered(&grown, filter.input.schema(), conjunct)) {
                Some(select) => grown = select,
                None => rest.push(conjunct.clone()),
            }
        }
        match conjunction(rest) {
            Some(rest) => {
                Ok((LogicalPlan::Filter(Filter::try_new(rest, Arc::clone(&filter.input))?), vec![Some(grown)]))
            }
            None => unchanged(filter, below),
        }
    }

    /// The scan of what the SELECT gives, in the place of `plan`.
    fn opened(&self, plan: LogicalPlan, select: Option<Select>) -> Result<LogicalPlan> {
        let Some(select) = select else { return Ok(plan) };
        let schema = Arc::clone(plan.schema());
        let (mut fields, mut columns, mut oids, mut equal) = (vec![], vec![], vec![], vec![]);
        for (i, (out, (_, field))) in select.columns.iter().zip(schema.iter()).enumerate() {
            let Some((sql, oid)) = output(out, field.data_type()) else {
                return Ok(plan);
            };
            fields.push(named(field, i, &fields));
            columns.push(format!("{sql} AS c{i}"));
            oids.push(oid);
            equal.push(oid == out.ty.oid && out.grouped().is_some());
        }
        if columns.len() != schema.fields().len() {
            return Ok(plan);
        }
        let sql = select.text(&columns);
        let remote = Remote {
            source: select.source,
            tables: select.tables.iter().copied().collect(),
            sql,
            schema: Arc::new(Schema::new(fields)),
            oids,
            equal,
            rows: select.rows,
        };
        let name = TableReference::bare(format!("remote {}", self.alias()));
        let scan = TableScanBuilder::new(name.clone(), (self.open)(remote)?).build()?;
        let scanned: Vec<String> = scan.projected_schema.fields().iter().map(|f| f.name().clone()).collect();
        let named = schema.iter().zip(&scanned).map(|((qualifier, field), scanned)| {
            let column = Expr::Column(Column::new(Some(name.clone()), scanned));
            column.alias_qualified(qualifier.cloned(), field.name())
        });
        let scan = LogicalPlan::TableScan(scan);
        let scan = LogicalPlan::Projection(Projection::try_new_with_schema(named.collect(), Arc::new(scan), schema)?);
        // nothing promises that rows stay in the order in which they come
        Ok(match (plan, select.is_ordered()) {
            (LogicalPlan::Sort(sort), true) => LogicalPlan::Sort(Sort { input: Arc::new(scan), ..sort }),
            _ => scan,
        })
    }

    fn scope<'s>(&'s self, select: &'s Select, schema: &'s datafusion::common::DFSchema) -> Scope<'s> {
        Scope { push: self, source: select.source, functions: &select.functions, schema, columns: &select.columns }
    }

    /// What the scan of a table gives. Filters that are offered to it stand above it too.
    fn table(&self, scan: &TableScan) -> Option<Select> {
        let table = (self.known)(scan)?;
        let schema = scan.source.schema();
        let alias = self.alias();
        let of = |index: usize| {
            let (column, field) = (table.columns.get(index)?, schema.fields().get(index)?);
            let name = format!("{alias}.{}", column.name);
            Some(Out {
                sql: if column.is_typed { name } else { format!("({name})::text") },
                ty: pgtype::of_field(field).ok()?,
                key: None,
                compares: column.compares,
                is_plain: true,
                is_aggregate: false,
                is_there: !field.is_nullable(),
            })
        };
        let columns = match &scan.projection {
            Some(some) => some.iter().map(|index| of(*index)).collect::<Option<Vec<_>>>()?,
            None => (0..schema.fields().len()).map(of).collect::<Option<Vec<_>>>()?,
        };
        let select = Select {
            source: table.source,
            tables: BTreeSet::from([table.oid]),
            functions: table.functions,
            from: format!("{} AS {alias}", table.name),
            is_joined: false,
            filters: vec![],
            groups: None,
            having: vec![],
            order: vec![],
            limit: None,
            offset: 0,
            columns,
            rows: table.rows,
        };
        Some(match scan.fetch {
            Some(fetch) => Select { limit: Some(fetch), ..select },
            None => select,
        })
    }
}

/// By its own name, unless another one has that.
fn named(field: &Field, place: usize, others: &[Field]) -> Field {
    let taken = |name: &str| others.iter().any(|other| other.name() == name);
    let mut name = field.name().clone();
    while taken(&name) {
        name = format!("{name}_{place}");
    }
    field.clone().with_name(name)
}

/// The expression as the source is asked for it, and the type in which it comes; `None` where it cannot be read back.
fn output(out: &Out, data_type: &DataType) -> Option<(String, u32)> {
    if out.key.is_some() {
        return None;
    }
    let Ty { oid: asked, .. } = out.ty;
    if copy::reads(data_type, asked) {
        return Some((format!("({})::{}", out.sql, type_name(asked)?), asked));
    }
    copy::reads(data_type, oid::TEXT).then(|| {
        let sql = &out.sql;
        let sql = match asked {
            // the cast to text adds a netmask
            oid::INET => format!("CASE WHEN ({sql}) IS NOT NULL THEN format('%s', {sql}) END"),
            _ => format!("({sql})::text"),
        };
        (sql, oid::TEXT)
    })
}
