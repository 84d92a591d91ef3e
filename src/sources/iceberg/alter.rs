//! A statement's changes of a table → one commit of the lake. What rows a change has to look at, it looks at here.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Field;
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;

use super::base::COMMENT;
use super::columns::{default_property, is_uuid, shown_schema, type_property};
use super::{Inner, changed, identity, places};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::lake::{self, Action, Alter, BatchId, DEFAULT, Expected, Outcome, Staged, Written};
use crate::sources::declared::Materialized;
use crate::sources::{Alteration, Standing, Table};

impl Inner {
    pub(super) async fn alter(&self, session: &dyn Session, planned: &dyn Table, changes: &[Alteration]) -> Result<()> {
        let base = self.base(planned).await?;
        let mut alters = vec![];
        let mut staged = Staged::new(base, vec![], BatchId::new());
        let mut unset = vec![];
        for change in changes {
            match change {
                Alteration::Column(alter) => {
                    self.rows_allow(session, &staged.base, alter).await?;
                    alters.push(alter.clone());
                }
                Alteration::Default { column, to } => {
                    let field = staged.base.schema().field_with_name(column).cloned();
                    let missing = || Error::new(Kind::UndefinedColumn, format!("column \"{column}\" does not exist"));
                    let id = field.ok().as_ref().and_then(lake::field_id).ok_or_else(missing)?;
                    match to {
                        Some(text) => drop(staged.properties.insert(default_property(id), text.clone())),
                        None => unset.push(default_property(id)),
                    }
                }
                Alteration::Set(properties) => staged.properties.extend(properties.iter().cloned()),
                Alteration::Unset(names) => unset.extend(names.iter().cloned()),
                Alteration::Comment(Some(text)) => {
                    staged.properties.insert(COMMENT.into(), text.clone());
                }
                Alteration::Comment(None) => unset.push(COMMENT.into()),
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
                if let Some(text) = field.metadata().get(DEFAULT) {
                    staged.properties.insert(default_property(id), text.clone());
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

    /// Nobody else may have refreshed it since: rows of two refreshes would lie in it together, or older ones would take the
    /// place of newer ones.
    pub(super) async fn try_refill(
        &self,
        planned: &dyn Table,
        standing: Standing,
        rows: Option<SendableRecordBatchStream>,
        of: &Materialized,
    ) -> Result<u64> {
        let base = self.base(planned).await?;
        if base.snapshot_id() != standing.snapshot {
            return Err(lake::overtaken());
        }
        let removed = self.lake.files(&base).await?;
        let batch = BatchId::new();
        let added = match rows {
            Some(rows) => {
                let rows = places::arranged(rows, &planned.schema(), &shown_schema(&base)).ok_or_else(changed)?;
                self.lake.write(&base, batch, rows).await?
            }
            None => Written::default(),
        };
        let count = added.rows;
        let expected = Expected::Main { snapshot: standing.snapshot };
        let mut staged = Staged::new(base, vec![], batch);
        if count > 0 || !removed.is_empty() {
            staged.actions.push(Action::Overwrite { removed, added });
        }
        staged.properties.insert(Materialized::KEY.into(), of.json());
        staged.expected.push(expected);
        self.sent(staged).await.map(|()| count)
    }

    /// The table of now, where it still is the one that the statement was planned over.
    pub(super) async fn base(&self, planned: &dyn Table) -> Result<lake::Table> {
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
            Outcome::Conflict(_) | Outcome::LeaseLost => Err(lake::overtaken()),
            Outcome::Unknown(batch) => {
                Err(lake::unknown_outcome("the change of the table").with_source(format!("batch {batch}")))
            }
        }
    }

    /// 23502 where rows that are there have no value for what is to have one always.
    async fn rows_allow(&self, session: &dyn Session, table: &lake::Table, alter: &Alter) -> Result<()> {
        if let Alter::Retype { column, to } = alter {
            return fits(table, column, to);
        }
        let (column, probe) = match alter {
            Alter::Add(field) if !field.is_nullable() || field.metadata().contains_key(DEFAULT) => (field.name(), None),
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
        let of_probe = probe.map(|probe| schema.index_of(probe)).transpose()?;
        let reading = self.lake.read(table, schema).await?;
        // a column, or none where any row at all is one too many
        let columns = of_probe.into_iter().collect();
        let plan = reading.scan(session, Some(&columns), &[], None).await?;
        let mut rows = execute_stream(plan, session.task_ctx())?;
        let speaks = |batch: &RecordBatch| match of_probe {
            Some(_) => batch.column(0).null_count() > 0,
            None => batch.num_rows() > 0,
        };
        loop {
            match rows.try_next().await? {
                None => return Ok(()),
                Some(batch) if speaks(&batch) => break,
                Some(_) => {}
            }
        }
        if matches!(alter, Alter::Add(field) if field.metadata().contains_key(DEFAULT)) {
            let text = "ADD COLUMN … DEFAULT in a table that has rows";
            return Err(Error::unsupported(text)
                .with_hint("Add the column, UPDATE the rows, and then ALTER COLUMN … SET DEFAULT."));
        }
        let text = format!("column \"{column}\" of relation \"{}\" contains null values", table.key.name);
        Err(Error::new(Kind::NotNull, text))
    }
}

/// 0A000 for a type that the lake keeps as it keeps the old one and that does not take each of its values. Where it is kept
/// otherwise, the format says what widens what.
fn fits(table: &lake::Table, column: &str, to: &Field) -> Result<()> {
    const TEXT: u32 = 25;
    const VARCHAR: u32 = 1043;
    let schema = shown_schema(table);
    let Ok(from) = schema.field_with_name(column) else { return Ok(()) }; // said by the change itself
    if from.data_type() != to.data_type() {
        return Ok(());
    }
    let (was, now) = (postgres::pg_type(from)?, postgres::pg_type(to)?);
    let widened = now.typmod == -1 || (was.typmod != -1 && now.typmod >= was.typmod);
    let is_text = |oid: u32| oid == TEXT || oid == VARCHAR;
    match widened && (was.oid == now.oid || (is_text(was.oid) && is_text(now.oid))) {
        true => Ok(()),
        false => {
            let text = format!("a change of column \"{column}\" to a type that does not hold its values as they are");
            Err(Error::unsupported(text).with_hint("Make the table again with CREATE TABLE AS and a cast."))
        }
    }
}
