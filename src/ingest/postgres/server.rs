//! What a source must have before it can be followed: the settings and rights, a publication with the tables, a slot of ours;
//! made where they are absent and may be made, else named with the statement that makes them. It reads no changes.

use std::time::Duration;

use super::place::{Lsn, Standing};
use super::tables::Table;
use super::trouble::Trouble;
use super::wire::{Session, Wire, literal};
use crate::error::{Error, Kind, Result};
use crate::sources::postgres::Dialer;
use crate::types::quoted;

/// From PostgreSQL 15 on, options of a slot stand in parentheses; 17 has slots that survive a failover.
const NEW_SYNTAX: u32 = 150_000;
const FAILOVER: u32 = 170_000;
const VIA_ROOT: u32 = 130_000;

/// A slot is there once all transactions that were under way have ended.
const SLOT_MADE: Duration = Duration::from_secs(600);

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct System {
    pub(super) identifier: String,
    pub(super) timeline: u32,
    /// How far the log goes.
    pub(super) end: Lsn,
    /// `server_version_num`.
    pub(super) version: u32,
}

/// Our slot as the source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotState {
    pub(super) confirmed: Lsn,
    /// Why it is of no use any more.
    pub(super) lost: Option<String>,
}

/// A moment that other sessions can look at while the connection that made it says nothing more.
#[derive(Debug)]
pub(super) struct Exported {
    _holder: Wire,
    pub(super) snapshot: String,
    /// Every commit that ends here or before is in it, none after.
    pub(super) at: Lsn,
    /// Where the rows of the tables lay before ([`super::copy::files`]).
    pub(super) files: Vec<String>,
}

/// A connection on which replication is spoken.
pub(super) async fn replication(dialer: &Dialer) -> Result<Wire> {
    Wire::open(dialer, Session::Replication).await.map_err(|error| match error.kind() {
        Kind::PermissionDenied => {
            error.with_hint(format!("The role must be allowed to: ALTER ROLE {} REPLICATION;", quoted(&dialer.user)))
        }
        _ => error,
    })
}

pub(super) async fn system(wire: &mut Wire) -> Result<System> {
    let mut rows = wire.query("IDENTIFY_SYSTEM").await.map_err(|t| wire.error(t))?;
    let version = wire.value("SHOW server_version_num").await.map_err(|t| wire.error(t))?;
    let row = rows.pop().unwrap_or_default();
    let field = |at: usize| row.get(at).cloned().flatten();
    let found = (|| {
        Some(System {
            identifier: field(0)?,
            timeline: field(1)?.parse().ok()?,
            end: field(2)?.parse().ok()?,
            version: version?.parse().ok()?,
        })
    })();
    found.ok_or_else(|| wire.broken("an answer to IDENTIFY_SYSTEM"))
}

/// Does it write into its log what changes of rows can be read from?
pub(super) async fn check_level(wire: &mut Wire) -> Result<()> {
    let level = wire.value("SHOW wal_level").await.map_err(|t| wire.error(t))?.unwrap_or_default();
    if level == "logical" {
        return Ok(());
    }
    let text = format!("source \"{}\" has wal_level {level}; its changes cannot be followed", wire.source);
    let hint = "Run on it: ALTER SYSTEM SET wal_level = logical; and restart it.";
    Err(Error::new(Kind::NotInState, text).with_hint(hint))
}

/// What stands in the lake must come from this log, and be a part of it still.
pub(super) async fn check_places(wire: &mut Wire, system: &System, pipeline: &str, kept: &[Standing]) -> Result<()> {
    for standing in kept {
        if standing.system_identifier != system.identifier {
            let text = format!("source \"{}\" is another database cluster than the one that was followed", wire.source);
            return Err(gone(pipeline, text, "Point the source at the cluster that it was."));
        }
        let diverged = standing.timeline > system.timeline
            || standing.timeline < system.timeline && !on_timeline(wire, system, standing).await?
            || standing.lsn > system.end;
        if diverged {
            let text = format!("source \"{}\" went back to before what was followed of it", wire.source);
            let detail = format!(
                "the lake has timeline {} up to {}, the source is on timeline {} at {}",
                standing.timeline, standing.lsn, system.timeline, system.end
            );
            let why = "It was restored, or failed over to a server that lacked the last changes.";
            return Err(gone(pipeline, text, why).with_detail(detail));
        }
    }
    Ok(())
}

/// Is what the lake has a part of the history of the timeline that there is now?
async fn on_timeline(wire: &mut Wire, system: &System, standing: &Standing) -> Result<bool> {
    let sql = format!("TIMELINE_HISTORY {}", system.timeline);
    let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
    let history = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten().unwrap_or_default();
    // Lines of: timeline, where the next one branched off, why.
    let branched = history.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let timeline: u32 = fields.next()?.parse().ok()?;
        (timeline == standing.timeline).then_some(())?;
        fields.next()?.parse::<Lsn>().ok()
    });
    Ok(branched.is_some_and(|at| standing.lsn <= at))
}

/// Changes are lost to the lake.
pub(super) fn gone(pipeline: &str, text: String, why: &str) -> Error {
    Error::new(Kind::DataGone, text).with_hint(way_on(pipeline, why))
}

/// A hint that ends in the command by which a pipeline goes on.
pub(super) fn way_on(pipeline: &str, why: &str) -> String {
    let blank = if why.is_empty() { "" } else { " " };
    format!(
        "{why}{blank}After `lakegate ingest pause {pipeline}`, `lakegate ingest resync {pipeline}` takes the tables in anew."
    )
}

/// Makes the publication, or adds the tables that it lacks.
pub(super) async fn publish(wire: &mut Wire, name: &str, tables: &[Table], create: bool, version: u32) -> Result<()> {
    let listed = |of: &[&Table]| of.iter().map(|t| t.quoted()).collect::<Vec<_>>().join(", ");
    let all: Vec<&Table> = tables.iter().filter(|t| !t.gone).collect();
    let root = version >= VIA_ROOT;
    let via_root = if root { "pubviaroot" } else { "false" };
    let sql = format!(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, {via_root} FROM pg_publication WHERE pubname = {}",
        literal(name)
    );
    let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
    let (plain, name) = (name, quoted(name));
    if all.is_empty() {
        let text = format!("source \"{}\" has none of the pipeline's tables", wire.source);
        return Err(Error::new(Kind::UndefinedTable, text).with_hint("Look at `tables` in the pipeline's file."));
    }
    let Some(row) = rows.into_iter().next() else {
        let with = if root { " WITH (publish_via_partition_root = true)" } else { "" };
        let sql = format!("CREATE PUBLICATION {name} FOR TABLE {}{with}", listed(&all));
        return make(wire, &sql, create, "has no publication for the tables").await;
    };
    let is = |at: usize| row.get(at).is_some_and(|value| value.as_deref() == Some("t"));
    let fault = |what: &str, sql: String| {
        let text = format!("publication {name} of source \"{}\" {what}", wire.source);
        Err(Error::new(Kind::NotInState, text).with_hint(format!("Run: {sql};")))
    };
    if !is(0) {
        let sql = format!("ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')");
        return fault("leaves out some changes", sql);
    }
    if !is(1) && tables.iter().any(|t| t.partitioned) {
        let sql = format!("ALTER PUBLICATION {name} SET (publish_via_partition_root = true)");
        return fault("names partitions and not the tables that they are of", sql);
    }
    let published = published(wire, plain).await?;
    let lacking: Vec<&Table> = all.into_iter().filter(|t| !published.contains(&t.full_name())).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let sql = format!("ALTER PUBLICATION {name} ADD TABLE {}", listed(&lacking));
    make(wire, &sql, create, "has a publication that lacks some of the tables").await
}

async fn published(wire: &mut Wire, name: &str) -> Result<Vec<String>> {
    let sql =
        format!("SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = {}", literal(name));
    let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

async fn make(wire: &mut Wire, sql: &str, create: bool, what: &str) -> Result<()> {
    let text = format!("source \"{}\" {what}", wire.source);
    let refused = |kind: Kind, said: String| {
        Err(Error::new(kind, text).with_hint(format!("Run on it, as the tables' owner: {sql};")).with_source(said))
    };
    if !create {
        return refused(Kind::UndefinedObject, "`create` is off".into());
    }
    match wire.query(sql).await {
        Ok(_) => Ok(()),
        Err(Trouble::Refused { code, message }) if code == "42501" => refused(Kind::PermissionDenied, message),
        // Another of us was first.
        Err(Trouble::Refused { code, .. }) if code == "42710" => Ok(()),
        Err(trouble) => Err(wire.error(trouble)),
    }
}

/// `None`: there is no such slot.
pub(super) async fn slot(wire: &mut Wire, name: &str) -> Result<Option<SlotState>> {
    let sql = format!(
        "SELECT plugin, database = current_database(), confirmed_flush_lsn, to_jsonb(s)->>'wal_status', \
         to_jsonb(s)->>'invalidation_reason' FROM pg_replication_slots s WHERE slot_name = {}",
        literal(name)
    );
    let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let field = |at: usize| row.get(at).and_then(Option::as_deref);
    if field(0) != Some("pgoutput") || field(1) != Some("t") {
        let text = format!("slot \"{name}\" of source \"{}\" is not for changes of this database", wire.source);
        return Err(Error::new(Kind::NotInState, text).with_hint("Name another `slot` in the pipeline's file."));
    }
    let lost = field(4).or(field(3).filter(|status| *status == "lost")).map(str::to_string);
    let confirmed = field(2).and_then(|lsn| lsn.parse().ok()).unwrap_or_default();
    Ok(Some(SlotState { confirmed, lost }))
}

/// Makes a slot and with it a moment to copy tables at. `temporary`: gone with the connection.
pub(super) async fn create_slot(
    mut wire: Wire,
    name: &str,
    temporary: bool,
    failover: bool,
    version: u32,
    tables: &[&Table],
) -> Result<Exported> {
    let files = super::copy::files(&mut wire, tables).await?;
    let kind = if temporary { " TEMPORARY" } else { "" };
    let options = match version {
        ..NEW_SYNTAX => "EXPORT_SNAPSHOT",
        FAILOVER.. if failover && !temporary => "(SNAPSHOT 'export', FAILOVER true)",
        _ => "(SNAPSHOT 'export')",
    };
    let sql = format!("CREATE_REPLICATION_SLOT {}{kind} LOGICAL pgoutput {options}", quoted(name));
    wire.be_patient(SLOT_MADE);
    let rows = match wire.query(&sql).await {
        Ok(rows) => rows,
        Err(Trouble::Refused { code, message }) if code == "53400" => {
            let text = format!("source \"{}\" has no room for another replication slot", wire.source);
            let hint =
                "Raise max_replication_slots on it: a pipeline needs one, and another one while tables are copied.";
            return Err(Error::new(Kind::NotInState, text).with_hint(hint).with_source(message));
        }
        Err(Trouble::Refused { code, message }) if code == "42501" => {
            let text = format!("source \"{}\" does not let its role make a replication slot", wire.source);
            let error = Error::new(Kind::PermissionDenied, text).with_source(message);
            return Err(error.with_hint("The role must be allowed to: ALTER ROLE … REPLICATION;"));
        }
        Err(trouble) => return Err(wire.error(trouble)),
    };
    let row = rows.into_iter().next().unwrap_or_default();
    let field = |at: usize| row.get(at).and_then(Option::as_deref);
    let at = field(1).and_then(|lsn| lsn.parse().ok());
    match (at, field(2)) {
        (Some(at), Some(snapshot)) => {
            let snapshot = snapshot.to_string();
            Ok(Exported { _holder: wire, snapshot, at, files })
        }
        _ => Err(wire.broken("an answer to CREATE_REPLICATION_SLOT")),
    }
}
