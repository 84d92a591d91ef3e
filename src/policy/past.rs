//! An earlier version of a table under the policy of now. Rules are about columns, which are told by their ids: one that was
//! called otherwise then is the same one. A version that lacks a column by which rows are chosen or masked is nobody's, and
//! a column that is no more, about which no line can speak, is shown to those alone who are shown everything.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;

use super::{Grant, Object};
use crate::error::{Error, Kind, Result};
use crate::types::{AsOf, ObjectId};

/// What tells a version from the table as it is now.
#[derive(Debug)]
pub struct Past {
    /// What a statement pins: the same table may stand in it at several versions.
    pub(crate) pin: ObjectId,
    pub(in crate::policy) schema: SchemaRef,
    /// A column's name now → its name then.
    names: HashMap<String, String>,
    /// Columns of then, by their names of then, that are no more.
    gone: BTreeSet<String>,
}

impl Past {
    /// `schema` and `ids` are the version's; [`Object::column_ids`] are what `ids` are compared with.
    pub fn of(object: &Object, asked: &AsOf, schema: SchemaRef, ids: &[Vec<String>]) -> Arc<Self> {
        let now: HashMap<&String, &String> = object
            .column_ids
            .iter()
            .zip(object.schema.fields())
            .filter_map(|(ids, field)| Some((ids.first()?, field.name())))
            .collect();
        let (mut names, mut gone) = (HashMap::new(), BTreeSet::new());
        for (ids, field) in ids.iter().zip(schema.fields()) {
            match ids.first().and_then(|id| now.get(id)) {
                Some(name) => drop(names.insert((*name).clone(), field.name().clone())),
                None => drop(gone.insert(field.name().clone())),
            }
        }
        let pin = ObjectId::of(&format!("{}@{asked:?}", object.id));
        Arc::new(Self { pin, schema, names, gone })
    }

    /// `now`, about the table as it was. 42501 where a rule of it cannot be asked of this version.
    pub(crate) fn grant(&self, now: &Grant) -> Result<Grant> {
        let filter = now.filter.as_ref().map(|filter| self.renamed(filter)).transpose()?;
        let mut masks = now.masks.clone();
        // a mask of a column that was not there hides nothing
        masks.retain(|column, _| self.names.contains_key(column));
        let mask = |(column, mask): (&String, &Expr)| {
            let then = self.names.get(column).cloned().unwrap_or_default();
            Ok((then, self.renamed(mask)?))
        };
        let masks = masks.iter().map(mask).collect::<Result<_>>()?;
        let then = |columns: &BTreeSet<String>| columns.iter().filter_map(|c| self.names.get(c).cloned()).collect();
        let mut hidden: BTreeSet<String> = then(&now.hidden);
        // lines are about columns of now: none says who may see one that is gone
        hidden.extend(self.gone.iter().cloned());
        Ok(Grant { filter, masks, hidden, denied: then(&now.denied), fired: now.fired.clone() })
    }

    fn renamed(&self, expr: &Expr) -> Result<Expr> {
        let mut missing = false;
        let renamed = expr.clone().transform(|node| match &node {
            Expr::Column(column) => match self.names.get(&column.name) {
                Some(name) => Ok(Transformed::yes(Expr::Column(Column::from_name(name)))),
                None => {
                    missing = true;
                    Ok(Transformed::no(node))
                }
            },
            _ => Ok(Transformed::no(node)),
        })?;
        match missing {
            false => Ok(renamed.data),
            true => Err(Error::new(Kind::PermissionDenied, "this version of the table may not be read")
                .with_detail("It lacks a column that the policy of now asks about.")),
        }
    }
}

#[cfg(test)]
mod tests;
