//! From a definition to a reflection: its query planned over sealed tables before any policy, and whether what it comes to
//! can be stored and stays true. Nothing planned here can be opened; what is stored is read and made by `refresh`.

mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::bodies;
use super::deep::on_big_stack;
use super::statement::{partition_field, sort_field, storable};
use crate::catalog::file::{byte_offset, position};
use crate::catalog::reflection::Definition;
use crate::catalog::{Body, Catalog, Entry, Fault};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::lake::Making;
use crate::pgtype::oid;
use crate::policy::{ObjectKind, Sealed};
use crate::reflection::block::{self, Stores};
use crate::reflection::matching::{counts_rows, same_values};
use crate::reflection::{Growth, Merge, Reflection, Reflections, Shrinking, Slot, Upkeep, Uses};
use crate::sql::lower::rollup;
use crate::sql::parse::reflection::Refresh;
use crate::types::ObjectId;

pub(crate) use kept::{Kept, KeptReflections};

/// Of a plan, which is compared and dropped on whatever thread does so.
const LEVELS_MAX: usize = 48;

/// Those of a catalog. `before` lends what is stored and counted of those that are the same still. A definition in a file
/// that cannot be planned is a fault, unless it could be once: then what it reads changed, and it is left out, as one that
/// SQL made is in any case.
pub(crate) fn reflections(
    files: &[Definition],
    kept: &[Definition],
    catalog: &mut Catalog,
    before: &Reflections,
) -> Result<Reflections, Vec<Fault>> {
    let (mut all, mut resting, mut faults): (Vec<_>, BTreeMap<String, String>, Vec<_>) = Default::default();
    let of_files: BTreeSet<&str> = files.iter().map(|definition| definition.name.as_str()).collect();
    for definition in files.iter().chain(kept) {
        if definition.file.is_none() && of_files.contains(definition.name.as_str()) {
            let text = "a file in `catalog/reflections/` has the name too; drop one of them".to_string();
            catalog.left_out.push(Fault { file: definition.place(), line: 1, column: 1, text });
            continue;
        }
        let error = match reflect(definition, catalog, before) {
            Ok(reflection) => {
                all.push(Arc::new(reflection));
                continue;
            }
            Err(error) => error,
        };
        let was_there = before.knows(&definition.name, &definition.text);
        resting.insert(definition.name.clone(), definition.text.clone());
        if error.kind() == Kind::SourceUnreachable {
            // told of where the source is
            all.extend(before.named(&definition.name).filter(|r| r.upkeep.definition == definition.text).cloned());
            continue;
        }
        let fault = fault(definition, &error);
        match definition.file.is_none() || was_there {
            true => catalog.left_out.push(fault),
            false => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(Reflections::with_resting(all, resting)) } else { Err(faults) }
}

fn fault(definition: &Definition, error: &Error) -> Fault {
    let text = &definition.text;
    let place = error.position().map(|at| definition.create.query.place(at));
    let (line, column) = place.map_or((1, 1), |at| position(text, byte_offset(text, at)));
    Fault { file: definition.place(), line, column, text: error.to_string() }
}

/// 42P01 for tables that are not there, 0A000 for what cannot be kept.
pub(crate) fn reflect(definition: &Definition, catalog: &Catalog, before: &Reflections) -> Result<Reflection> {
    let create = &definition.create;
    let query = create.query.sql.clone();
    let (understood, entries) = bodies::over_raw(&query, catalog)?;
    let bases: Vec<ObjectId> = entries.keys().copied().collect();
    if bases.is_empty() {
        return Err(Error::new(Kind::InvalidDefinition, "a reflection reads a table"));
    }
    entries.values().try_for_each(|entry| is_base(entry, definition.refresh))?;
    let levels = levels(&understood.plan);
    if levels > LEVELS_MAX {
        return Err(Error::new(Kind::TooComplex, format!("a reflection of more than {LEVELS_MAX} levels")));
    }
    stays_true(&understood.plan, &bases)?;
    let columns = columns(&understood.columns);
    let making = Making {
        partitioned_by: create.partitioned_by.iter().map(partition_field).collect::<Result<_>>()?,
        sorted_by: create.sorted_by.iter().map(sort_field).collect::<Result<_>>()?,
        ..Making::default()
    };
    let names = making.partitioned_by.iter().map(|(name, _)| name).chain(making.sorted_by.iter().map(|by| &by.column));
    for name in names {
        if columns.index_of(name).is_err() {
            return Err(Error::new(Kind::UndefinedColumn, format!("column \"{name}\" is not in the reflection")));
        }
    }
    let print = print(&query, &columns, &making, &reads(&understood.plan, &entries)?);
    let known = before.named(&definition.name).filter(|known| known.upkeep.print == print);
    let (stored, uses) = match known {
        Some(known) => (Arc::clone(&known.stored), Arc::clone(&known.uses)),
        None => (Arc::new(Slot::default()), Arc::new(Uses::default())),
    };
    let form = on_big_stack(|| block::definition(&understood.plan));
    let growth = growth(form.as_ref(), &columns);
    let upkeep = Upkeep {
        owner: definition.owner.clone(),
        definition: definition.text.clone(),
        file: definition.file.clone(),
        refresh: definition.refresh,
        shrinking: shrinking(form.as_ref(), &growth),
        growth,
        columns,
        print,
        making,
    };
    let (name, plan, enabled) = (definition.name.clone(), understood.plan, definition.enabled);
    Ok(Reflection { name, query, plan, definition: form, bases, enabled, stored, uses, upkeep })
}

/// A table by itself: what a dataset shows is its owner's to say, and metadata are of no snapshot.
fn is_base(entry: &Entry, refresh: Refresh) -> Result<()> {
    let name = &entry.object.name;
    let table = match (&entry.body, entry.object.kind) {
        (Body::Table(table), ObjectKind::Table) => table,
        (Body::Dataset(_), _) => return Err(Error::unsupported(format!("a reflection over the view {name}"))),
        (Body::Table(_), ObjectKind::Dataset | ObjectKind::Metadata | ObjectKind::MetadataOf { .. }) => {
            return Err(Error::unsupported(format!("a reflection over {name}")));
        }
    };
    match refresh == Refresh::OnCommit && !table.keeps_versions() {
        true => {
            let text = format!("REFRESH ON COMMIT: {name} is no table of a lake, and nobody is told of its commits");
            Err(Error::unsupported(text))
        }
        false => Ok(()),
    }
}

fn levels(plan: &LogicalPlan) -> usize {
    1 + plan.inputs().into_iter().map(levels).max().unwrap_or(0)
}

/// Every function in it says the same to everybody and always, and it reads nothing but its tables.
fn stays_true(plan: &LogicalPlan, bases: &[ObjectId]) -> Result<()> {
    let mut fault = None;
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let sealed = scan.source.downcast_ref::<Sealed>();
            let is_base =
                |sealed: &Sealed| !sealed.is_past() && sealed.object_id().is_some_and(|id| bases.contains(&id));
            if sealed.is_some_and(|sealed| !is_base(sealed)) {
                fault = Some(Error::unsupported("a reflection over relations of the system, or of a version"));
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Some(name) = moving(inner) {
                    let text = format!("a reflection with {name}(), which does not always answer the same,");
                    fault = Some(Error::unsupported(text).with_hint(
                        "What depends on a session's settings can often be said without: \
                         date_trunc('day', at AT TIME ZONE 'UTC').",
                    ));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    });
    visited?;
    fault.map_or(Ok(()), Err)
}

/// The name of a function that is not immutable.
fn moving(expr: &Expr) -> Option<&str> {
    let (name, volatility) = match expr {
        Expr::ScalarFunction(call) => (call.func.name(), call.func.signature().volatility),
        Expr::AggregateFunction(call) => (call.func.name(), call.func.signature().volatility),
        _ => return None,
    };
    (volatility != Volatility::Immutable).then_some(name)
}

/// As a table of the lake has them, each under a name of its own.
fn columns(shown: &SchemaRef) -> SchemaRef {
    let fields = storable(shown).unwrap_or_else(|| shown.fields().to_vec());
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let named = fields.iter().map(|field| {
        let plain = field.name().trim_matches('?');
        let mut name = plain.to_owned();
        let mut n = 1;
        while !taken.insert(name.clone()) {
            n += 1;
            name = format!("{plain}_{n}");
        }
        Field::new(name, field.data_type().clone(), true).with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(named.collect::<Vec<_>>()))
}

/// What tells the tables and columns that a plan reads from later ones of their names, which come without a snapshot: a
/// table's identity, and of each column its name, its ids and its type.
fn reads(plan: &LogicalPlan, entries: &BTreeMap<ObjectId, Entry>) -> Result<Vec<String>> {
    let (mut named, mut whole) = (BTreeSet::new(), BTreeSet::new());
    let visited = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = inner {
                    named.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    visited?;
    read_whole(plan, false, &mut whole)?;
    let of_entry = |(id, entry): (&ObjectId, &Entry)| {
        let object = &entry.object;
        let columns = object.schema.fields().iter().zip(&object.column_ids);
        let read = columns.filter(|(field, _)| whole.contains(id) || named.contains(field.name()));
        let read: Vec<String> =
            read.map(|(field, ids)| format!("{} {ids:?} {}", field.name(), field.data_type())).collect();
        format!("{id} {read:?}")
    };
    Ok(entries.iter().map(of_entry).collect())
}

/// Tables of which every column comes out of their scan into something that need not name it. `is_narrowed`: what stands
/// above says by name what it takes. A node that is not known here takes everything.
fn read_whole(plan: &LogicalPlan, is_narrowed: bool, whole: &mut BTreeSet<ObjectId>) -> Result<()> {
    if let LogicalPlan::TableScan(scan) = plan {
        let id = scan.source.downcast_ref::<Sealed>().and_then(Sealed::object_id);
        whole.extend(id.filter(|_| !is_narrowed));
    }
    let passes_on = matches!(
        plan,
        LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Join(_)
    );
    let names = matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_));
    for input in plan.inputs() {
        read_whole(input, names || (passes_on && is_narrowed), whole)?;
    }
    let mut fault = Ok(());
    plan.apply_subqueries(|subquery| {
        fault = read_whole(subquery, false, whole);
        Ok(if fault.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    fault
}

fn print(query: &str, columns: &Schema, making: &Making, reads: &[String]) -> u64 {
    let typed = |field: &arrow::datatypes::FieldRef| {
        let ty = postgres::pg_type(field).map(|ty| (ty.oid, ty.typmod)).ok();
        format!("{} {ty:?} {}", field.name(), field.data_type())
    };
    let columns: Vec<String> = columns.fields().iter().map(typed).collect();
    let laid_out = format!("{:?} {:?}", making.partitioned_by, making.sorted_by);
    xxhash_rust::xxh3::xxh3_64(format!("{query}\n{columns:?}\n{laid_out}\n{reads:?}").as_bytes())
}

/// Groups grow where each of them can be told from what is stored, and each measure of two parts is one of both.
fn growth(definition: Option<&block::Definition>, columns: &Schema) -> Growth {
    let (block, stores) = match definition {
        None => return Growth::Whole,
        Some(block::Definition::Display(_)) => return Growth::Rows,
        Some(block::Definition::Groups { block, columns }) => (block, columns),
    };
    let merged = |(stores, field): (&Stores, &FieldRef)| {
        let merge = match stores {
            Stores::Dimension(_) => Merge::Same,
            Stores::Measure(of) => {
                let call = &block.calls[*of];
                let merge = rollup::merge(call).filter(|_| !call.params.distinct && call.params.order_by.is_empty());
                match (merge?, call.func.name()) {
                    (rollup::Merge::Count | rollup::Merge::Sum, _) => Merge::Sum,
                    (rollup::Merge::Itself, "min") => Merge::Min,
                    (rollup::Merge::Itself, "max") => Merge::Max,
                    (rollup::Merge::Itself | rollup::Merge::Average, _) => return None,
                }
            }
            Stores::Other => return None,
        };
        adds_up(merge, field).then_some(merge)
    };
    let is_told = |by: usize| stores.contains(&Stores::Dimension(by));
    let merges = stores.iter().zip(columns.fields()).map(merged).collect::<Option<Vec<_>>>();
    match merges.filter(|_| (0..block.by.len()).all(is_told)) {
        Some(merges) => Growth::Groups(merges),
        None => Growth::Whole,
    }
}

/// Sums and counts can be undone, least and greatest values cannot.
fn shrinking(definition: Option<&block::Definition>, growth: &Growth) -> Option<Shrinking> {
    let (Some(block::Definition::Groups { block, columns }), Growth::Groups(merges)) = (definition, growth) else {
        return None;
    };
    if merges.iter().any(|merge| matches!(merge, Merge::Min | Merge::Max)) {
        return None;
    }
    let call = |stores: &Stores| match stores {
        Stores::Measure(of) => block.calls.get(*of),
        Stores::Dimension(_) | Stores::Other => None,
    };
    let count = |holds: &dyn Fn(&AggregateFunction) -> bool| {
        let counts = |call: &AggregateFunction| rollup::merge(call) == Some(rollup::Merge::Count) && holds(call);
        columns.iter().position(|stores| call(stores).is_some_and(counts))
    };
    let rows = count(&|call| counts_rows(call) && call.params.filter.is_none());
    let values = columns.iter().map(|stores| match call(stores) {
        Some(sum) if rollup::merge(sum) == Some(rollup::Merge::Sum) => {
            let of_its_values = |call: &AggregateFunction| {
                call.params.filter == sum.params.filter && same_values(rollup::Merge::Count, call, sum)
            };
            count(&of_its_values).map(Some)
        }
        Some(_) | None => Some(None),
    });
    let values = values.collect::<Option<Vec<_>>>()?;
    (rows.is_some() || block.by.is_empty()).then_some(Shrinking { rows: rows.filter(|_| !block.by.is_empty()), values })
}

/// Whether two values of what is stored come to the one that would have come of all rows at once, to the last digit: floats
/// do not, nor values that are equal and spelt otherwise.
fn adds_up(merge: Merge, field: &Field) -> bool {
    let Ok(ty) = postgres::pg_type(field) else { return false };
    let is_decimal = matches!(field.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..));
    match (merge, ty.oid) {
        (Merge::Same, _) => true,
        (_, oid::INT2 | oid::INT4 | oid::INT8) => true,
        (_, oid::NUMERIC) => is_decimal,
        (Merge::Min | Merge::Max, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::TIME | oid::TEXT) => true,
        (Merge::Sum | Merge::Min | Merge::Max, _) => false,
    }
}

#[cfg(test)]
mod tests;
