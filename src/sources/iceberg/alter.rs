//! A statement's changes of a table → one commit of the lake. What rows a change has to look at, it looks at here.

use std::sync::Arc;

use datafusion::prelude::{SessionContext, col};

use super::columns::{COMMENT, is_uuid, shown_schema, type_property};
use super::{Inner, changed, identity, overtaken};
use crate::error::{Error, Kind, Result};
use crate::lake::{self, Action, Alter, BatchId, Outcome, Staged};
use crate::sources::{Change, Table};

impl Inner {
    pub(super) async fn alter(&self, planned: &dyn Table, changes: &[Change]) -> Result<()> {
        let base = self.base(planned).await?;
        let mut alters = vec![];
        let mut staged = Staged::new(base, vec![], BatchId::new());
        let mut unset = vec![];
        for change in changes {
            match change {
                Change::Column(alter) => {
                    self.rows_allow(&staged.base, alter).await?;
                    alters.push(alter.clone());
                }
                Change::Set(properties) => staged.properties.extend(properties.iter().cloned()),
                Change::Unset(names) => unset.extend(names.iter().cloned()),
                Change::Comment(Some(text)) => {
                    staged.properties.insert(COMMENT.into(), text.clone());
                }
                Change::Comment(None) => unset.push(COMMENT.into()),
            }
        }
        if !alters.is_empty() {
            let evolved = Action::evolve(&staged.base, &alters, &is_uuid)?;
            for field in alters.iter().filter_map(Alter::typed) {
                let Some(id) = evolved.column_id(field.name()) else { continue };
                match type_property(id, field) {
                    (name, Some(value)) => {
                        staged.properties.insert(name, value);
                    }
                    (name, None) => unset.push(name),
                }
            }
            staged.actions.push(evolved);
        }
        unset.retain(|name| staged.base.properties().contains_key(name));
        if !unset.is_empty() {
            staged.actions.push(Action::Unset(unset));
        }
        if staged.actions.is_empty() && staged.properties.is_empty() {
            return Ok(());
        }
        self.sent(staged).await
    }

    pub(super) async fn truncate(&self, planned: &dyn Table) -> Result<()> {
        let base = self.base(planned).await?;
        let removed = self.lake.files(&base).await?;
        if removed.is_empty() {
            return Ok(());
        }
        let action = Action::Overwrite { removed, added: Default::default() };
        self.sent(Staged::new(base, vec![action], BatchId::new())).await
    }

    /// The table of now, where it still is the one that the statement was planned over.
    async fn base(&self, planned: &dyn Table) -> Result<lake::Table> {
        let name = planned.name();
        let missing = || Error::new(Kind::UndefinedTable, format!("relation \"{name}\" does not exist"));
        let base = self.lake.table(&self.key(name)).await?.ok_or_else(missing)?;
        match planned.identity() == identity(base.uuid()) && shown_schema(&base) == planned.schema() {
            true => Ok(base),
            false => Err(changed()),
        }
    }

    async fn sent(&self, staged: Staged) -> Result<()> {
        match self.lake.commit(vec![staged], &Default::default()).await? {
            Outcome::Committed(_) => Ok(()),
            Outcome::Conflict(_) | Outcome::LeaseLost => Err(overtaken()),
            Outcome::Unknown(batch) => {
                Err(lake::unknown_outcome("the change of the table").with_source(format!("batch {batch}")))
            }
        }
    }

    /// 23502 where rows that are there have no value for what is to have one always.
    async fn rows_allow(&self, table: &lake::Table, alter: &Alter) -> Result<()> {
        let (column, probe) = match alter {
            Alter::Add(field) if !field.is_nullable() => (field.name(), None),
            Alter::Require { column, required: true } => (column, Some(column)),
            Alter::Add(_)
            | Alter::Drop(_)
            | Alter::Rename { .. }
            | Alter::Retype { .. }
            | Alter::Require { .. }
            | Alter::Document { .. } => return Ok(()),
        };
        let schema = shown_schema(table);
        if probe.is_some_and(|probe| schema.index_of(probe).is_err()) {
            return Ok(()); // said by the change itself
        }
        let reading = Arc::new(self.lake.read(table, schema).await?);
        let rows = SessionContext::new().read_table(reading)?;
        let rows = match probe {
            Some(probe) => rows.filter(col(datafusion::common::Column::from_name(probe)).is_null())?,
            None => rows,
        };
        let found = rows.limit(0, Some(1))?.collect().await?;
        if found.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(());
        }
        let text = format!("column \"{column}\" of relation \"{}\" contains null values", table.key.name);
        Err(Error::new(Kind::NotNull, text))
    }
}
