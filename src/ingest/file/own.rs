//! What a pipeline's file says of rows that come to it by themselves, columns and all. It connects to nothing.

use std::sync::Arc;

use super::super::batch::Commit;
use super::super::lines::{Lines, declared};
use super::super::posts::BadLines;
use super::super::pulled::{Every, How, NullCursors, Pull};
use super::super::table;
use super::{Feed, Known, Mode, OWN, Own, Style, Written, is_plain};
use crate::document::Document;
use crate::formats::file::FileFormat;
use crate::formats::record::{Csv, Format};
use crate::sources::kafka::ColumnConfig;

/// A batch of what somebody waits for is cut after this, unless the file says otherwise.
const HTTP_AGE_MS: u64 = 200;

fn word(of: Own) -> &'static str {
    OWN.iter().find(|(_, own)| *own == of).map_or("", |(word, _)| word)
}

/// As the file says it, with what is usual for its kind.
pub(super) fn commit(written: &Written, document: &Document<'_>) -> Commit {
    match written.own() {
        Some(Own::Http) if !document.has(&["commit", "age_ms"]) => Commit { age_ms: HTTP_AGE_MS, ..written.commit },
        Some(Own::Http | Own::Folder | Own::Table) | None => written.commit,
    }
}

/// Keys of other kinds of pipelines, beside a source.
pub(super) fn nothing(written: &Written, origin: &Known<'_>, document: &mut Document<'_>) {
    others(written, None, &format!("source `{}`", origin.name), document);
}

/// Sections of other kinds than this one.
fn others(written: &Written, own: Option<Own>, what: &str, document: &mut Document<'_>) {
    let given = [
        ("http", Own::Http, written.http.is_some()),
        ("folder", Own::Folder, written.folder.is_some()),
        ("table", Own::Table, written.table.is_some()),
    ];
    for (section, of, _) in given.iter().filter(|(_, of, given)| *given && own != Some(*of)) {
        document.fault_at(&[section], format!("[{section}] is of `origin = \"{}\"`, not of {what}", word(*of)));
    }
}

/// Keys of sources and of other kinds, beside something that is no source.
fn no_source(written: &Written, own: Own, document: &mut Document<'_>) {
    others(written, Some(own), &format!("`origin = \"{}\"`", written.origin), document);
    let given = [
        ("topics", !written.topics.is_empty()),
        ("tables", !written.tables.is_empty()),
        ("replication", written.replication.is_some()),
        // Only rows come, and none goes.
        ("delete", written.delete.is_some() && written.write == Style::Upsert),
    ];
    for (key, _) in given.iter().filter(|(_, given)| *given) {
        document.fault_at(&[key], format!("`{key}` says nothing to `origin = \"{}\"`", written.origin));
    }
}

/// The table of rows that are sent.
pub(super) fn http(pipeline: &str, written: &Written, document: &mut Document<'_>) -> Vec<(String, Feed)> {
    no_source(written, Own::Http, document);
    let Some(http) = &written.http else {
        document.fault_at(&[], "`origin = \"http\"` needs [http], which says the table and its columns");
        return vec![];
    };
    for (key, what) in http.faults() {
        document.fault_at(&["http", key], what);
    }
    if http.bad_lines == BadLines::Refuse && document.has(&["dead_letter"]) {
        let text = "[dead_letter] is of lines that are set aside; say `bad_lines = \"dead_letter\"` in [http]";
        document.fault_at(&["dead_letter"], text);
    }
    let columns = Columns { section: "http", table: &http.table, columns: &http.columns, key: &http.key_columns };
    let lines = columns.lines(format!("http/{pipeline}"), Format::Json, Csv::default(), written, document);
    lines.into_iter().map(|lines| (http.table.clone(), Feed::Http { http: http.clone(), lines })).collect()
}

/// The table of the rows of a folder's files.
pub(super) fn folder(written: &Written, document: &mut Document<'_>) -> Vec<(String, Feed)> {
    no_source(written, Own::Folder, document);
    let Some(folder) = &written.folder else {
        document.fault_at(&[], "`origin = \"folder\"` needs [folder], which says where it is and what is in it");
        return vec![];
    };
    for (key, what) in folder.faults() {
        document.fault_at(&["folder", key], what);
    }
    let format = match folder.format {
        FileFormat::Csv => Format::Csv,
        // Parquet has columns of its own, which go by name.
        FileFormat::Json | FileFormat::Parquet => Format::Json,
    };
    let columns =
        Columns { section: "folder", table: &folder.table, columns: &folder.columns, key: &folder.key_columns };
    let lines = columns.lines(folder.path.clone(), format, folder.csv.lines(), written, document);
    lines.into_iter().map(|lines| (folder.table.clone(), Feed::Folder { folder: folder.clone(), lines })).collect()
}

/// A table that is read at times.
pub(super) fn table(written: &Written, document: &mut Document<'_>) -> Vec<(String, Feed)> {
    no_source(written, Own::Table, document);
    let Some(config) = &written.table else {
        // One that could not be read is told of already.
        if !document.has(&["table"]) {
            let text = "`origin = \"table\"` needs [table], which says which one it is and how often it is read";
            document.fault_at(&[], text);
        }
        return vec![];
    };
    let every = Every::read(&config.every).map_err(|what| document.fault_at(&["table", "every"], what));
    if document.has(&["dead_letter"]) {
        document.fault_at(&["dead_letter"], "[dead_letter] is of records that are no rows; a table has none");
    }
    let Some(name) = config.table() else {
        document.fault_at(&["table", "name"], format!("`{}` is no table; write `schema.table`", config.name));
        return vec![];
    };
    let (key, target) = (["table", "to"], config.to.clone().unwrap_or_else(|| name.table.clone()));
    if !is_plain(&target) {
        let key = if document.has(&key) { key } else { ["table", "name"] };
        document
            .fault_at(&key, format!("`{target}` cannot name a table of the lake; say in `to` what it is called there"));
        return vec![];
    }
    if (name.schema.as_str(), name.table.as_str()) == (written.target.as_str(), target.as_str()) {
        document.fault_at(&["table", "name"], format!("{name} would be filled from itself"));
        return vec![];
    }
    let how = match (written.mode, &config.cursor) {
        (Some(Mode::Incremental), Some(cursor)) => {
            How::Since { cursor: cursor.clone(), null_cursors: config.null_cursors }
        }
        (Some(Mode::Incremental), None) => {
            let text = "`mode = \"incremental\"` needs `cursor` in [table]: a column that only grows";
            document.fault_at(&["table"], text);
            return vec![];
        }
        (Some(Mode::FullRefresh), None) => How::Whole,
        (Some(Mode::FullRefresh), Some(_)) => {
            document.fault_at(&["table", "cursor"], "`cursor` says nothing to `mode = \"full_refresh\"`");
            return vec![];
        }
        // told of already
        (Some(Mode::Cdc) | None, _) => return vec![],
    };
    if config.null_cursors == NullCursors::LeaveOut && config.cursor.is_none() {
        document.fault_at(&["table", "null_cursors"], "`null_cursors` is of a `cursor`");
    }
    let replaces = written.write == Style::Upsert;
    if !config.key_columns.is_empty() && !replaces {
        let text = "`key_columns` in [table] is of `write = \"upsert\"`: nothing else tells rows apart";
        document.fault_at(&["table", "key_columns"], text);
    }
    let Ok(every) = every else { return vec![] };
    let key_columns = config.key_columns.clone();
    let pull = Pull {
        table: name,
        at: document.place_of(&["table", "name"]),
        target: target.clone(),
        how,
        key_columns,
        replaces,
        every,
    };
    vec![(target, Feed::Table(pull))]
}

/// A table as a section of the file declares it.
struct Columns<'a> {
    section: &'static str,
    table: &'a str,
    columns: &'a [ColumnConfig],
    key: &'a [String],
}

impl Columns<'_> {
    fn lines(
        &self,
        name: String,
        format: Format,
        csv: Csv,
        written: &Written,
        document: &mut Document<'_>,
    ) -> Option<Arc<Lines>> {
        if !is_plain(self.table) {
            document.fault_at(&[self.section, "table"], format!("`{}` cannot name a table", self.table));
            return None;
        }
        if self.key.is_empty() && written.write == Style::Upsert {
            let text = format!("`key_columns` in [{}] must say by which columns rows are told apart", self.section);
            document.fault_at(&["write"], text);
            return None;
        }
        let topic = declared(self.columns, self.key, format, csv);
        let lines = Lines::new(name, self.table, topic);
        let lines = lines.map_err(|what| document.fault_at(&[self.section, "columns"], what)).ok()?;
        // The table can have these columns beside its own.
        let judged = table::columns(&lines.shape(), written.writes());
        judged.map_err(|e| document.fault_at(&[self.section, "columns"], e.message())).ok()?;
        Some(Arc::new(lines))
    }
}
