//! A folder that files are put into, on this machine or in S3, as an origin: each file once, by its path and what it held,
//! from its first record to its last. What a file's bytes are says `body`; no file is ever changed or removed.

mod body;
mod seen;

use std::collections::VecDeque;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, StringArray};
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::Deserialize;
use serde_json::Value;

use self::body::{Body, Piece, Spot, Trouble, unreachable};
use self::seen::{Id, Seen};
use super::dead::DeadLetter;
use super::lines::{self, Lines, dead_words};
use super::origin::{Again, Kept, Lag, Origin, Part, Place, Room, Shape as TableShape, Taken, Wanted};
use super::position::gone;
use crate::error::{Error, Kind, Result};
use crate::formats::file::{CsvFile, FileFormat as Format};
use crate::lake::{S3Config, Store};
use crate::sources::kafka::ColumnConfig;

/// `[folder]` of a pipeline's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// An absolute path, or `s3://bucket/prefix`.
    pub path: String,
    /// Of the files' names below it; `*` stands for any letters.
    #[serde(default = "default_pattern")]
    pub pattern: String,
    pub format: Format,
    /// The table's name in the target.
    pub table: String,
    /// In the order in which they stand in the table.
    pub columns: Vec<ColumnConfig>,
    /// Which of them tell rows apart.
    #[serde(default)]
    pub key_columns: Vec<String>,
    #[serde(default)]
    pub bad_files: BadFiles,
    /// `[folder.csv]`.
    #[serde(default)]
    pub csv: CsvFile,
    /// The service, where `path` is in S3.
    pub s3: Option<S3Config>,
    /// How often the folder is looked at.
    #[serde(default = "default_look_ms")]
    pub look_ms: u64,
    /// A file on this machine that was changed since is still being written.
    #[serde(default = "default_settle_ms")]
    pub settle_ms: u64,
    /// In the folder at once. Of those that were taken in twice as many are remembered.
    #[serde(default = "default_files_max")]
    pub files_max: usize,
}

/// What becomes of a file that is not what it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadFiles {
    /// Nothing of it is taken in, and nothing behind it, until it is another file or none. Files are read twice for that.
    #[default]
    Stop,
    /// Its bad records are set aside; a file that has none, as a whole. Of Parquet files none has, so that those are read
    /// twice here too. One that cannot be read on after part of it was taken in stops as above.
    DeadLetter,
}

fn default_pattern() -> String {
    "*".into()
}

fn default_look_ms() -> u64 {
    5_000
}

fn default_settle_ms() -> u64 {
    2_000
}

fn default_files_max() -> usize {
    10_000
}

/// The list of files lies in the table's metadata, 27 bytes a file, which every commit writes.
const FILES_MAX: usize = 20_000;

impl Config {
    /// What no pipeline could run with: the key, and what is wrong with it.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = vec![];
        let is_s3 = self.path.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if !is_s3 && !self.path.starts_with('/') {
            faults.push(("path", "`path` in [folder] is an absolute path, or s3://bucket/prefix".to_string()));
        }
        if !is_s3 && self.s3.is_some() {
            faults.push(("s3", "[folder.s3] is of a `path` in S3".to_string()));
        }
        if self.format != Format::Csv && self.csv != CsvFile::default() {
            faults.push(("csv", "[folder.csv] is of `format = \"csv\"`".to_string()));
        }
        if let Some(fault) = self.csv.fault() {
            faults.push(("csv", fault.to_string()));
        }
        if self.pattern.is_empty() {
            faults.push(("pattern", "`pattern` in [folder] fits no name".to_string()));
        }
        if self.look_ms == 0 {
            faults.push(("look_ms", "`look_ms` in [folder] must be above 0".to_string()));
        }
        if !(1..=FILES_MAX).contains(&self.files_max) {
            faults.push(("files_max", format!("`files_max` in [folder] is from 1 to {FILES_MAX}")));
        }
        faults
    }

    fn shape(&self) -> Shape {
        let byte = |character: char| u8::try_from(character).unwrap_or(b',');
        match self.format {
            Format::Json => Shape::Json,
            Format::Parquet => Shape::Parquet,
            Format::Csv => {
                Shape::Csv { quote: byte(self.csv.quote), delimiter: byte(self.csv.delimiter), header: self.csv.header }
            }
        }
    }
}

/// What the bytes of its files are.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Json,
    Csv { quote: u8, delimiter: u8, header: bool },
    Parquet,
}

/// A file of the folder.
#[derive(Clone, Debug)]
struct Found {
    /// Below the folder.
    name: String,
    meta: ObjectMeta,
    id: Id,
}

/// A file that is being read.
struct Current {
    file: Found,
    spot: Spot,
    /// `None`: not opened yet. The lock is never waited for: readers of files are not shared between threads, and origins are.
    body: Option<Mutex<Body>>,
}

/// A folder as an origin.
pub(super) struct Folder {
    pipeline: String,
    config: Config,
    lines: Arc<Lines>,
    store: Store,
    root: Path,
    seen: Seen,
    /// That were in the folder when it was looked at, and are to be read, in their order.
    waiting: VecDeque<Found>,
    looked_at: Option<Instant>,
    is_begun: bool,
    current: Option<Current>,
    /// A file that was being read when the table was written, by name and id.
    left: Option<(String, Id, Spot)>,
}

const FILES: &str = "files";
const FILE: &str = "file";

impl Folder {
    /// Connects nothing yet.
    pub(super) fn new(pipeline: &str, config: &Config, lines: &Arc<Lines>) -> Result<Self> {
        let store = Store::connect(&config.path, config.s3.as_ref())?;
        // A bucket's prefixes end with a slash.
        let root = store.path(&format!("{}/", config.path.trim_end_matches('/')))?;
        Ok(Self::over(pipeline, config.clone(), Arc::clone(lines), store, root))
    }

    /// The same at its beginning.
    pub(super) fn again(&self) -> Self {
        let (lines, store) = (Arc::clone(&self.lines), self.store.clone());
        Self::over(&self.pipeline, self.config.clone(), lines, store, self.root.clone())
    }

    fn over(pipeline: &str, config: Config, lines: Arc<Lines>, store: Store, root: Path) -> Self {
        Self {
            pipeline: pipeline.into(),
            config,
            lines,
            store,
            root,
            seen: Seen::default(),
            waiting: VecDeque::new(),
            looked_at: None,
            is_begun: false,
            current: None,
            left: None,
        }
    }

    fn is_local(&self) -> bool {
        self.config.path.starts_with('/')
    }

    /// The files of now, those first that were changed first.
    async fn listed(&self) -> Result<Vec<Found>> {
        let is_local = self.is_local();
        if is_local && !FilePath::new(&self.config.path).is_dir() {
            return Err(
                Error::new(Kind::SourceUnreachable, "the folder is not there").with_source(self.config.path.as_str())
            );
        }
        let settled =
            chrono::Utc::now() - chrono::TimeDelta::milliseconds(i64::try_from(self.config.settle_ms).unwrap_or(0));
        let mut files = vec![];
        let mut listing = self.store.objects().list(Some(&self.root));
        while let Some(meta) = listing.try_next().await.map_err(unreachable)? {
            let parts = meta.location.prefix_match(&self.root).map(|parts| parts.map(|p| p.as_ref().to_string()));
            let name = parts.map(|parts| parts.collect::<Vec<_>>().join("/")).unwrap_or_default();
            let is_hidden = name.split('/').any(|part| part.starts_with('.'));
            if name.is_empty() || is_hidden || !fits(&self.config.pattern, &name) {
                continue;
            }
            if is_local && meta.last_modified > settled {
                continue;
            }
            let changed = meta.last_modified.timestamp_micros().to_string();
            // On a disk the tag tells where a file lies too, which a copy of the disk changes.
            let version = meta.e_tag.as_ref().filter(|_| !is_local).unwrap_or(&changed);
            let id = seen::id(&name, meta.size, version);
            files.push(Found { name, meta, id });
            if files.len() > self.config.files_max {
                let text = format!(
                    "the folder of pipeline \"{}\" holds more than {} files",
                    self.pipeline, self.config.files_max
                );
                let hint = "Move those away that were taken in, or raise `files_max` in [folder].";
                return Err(Error::new(Kind::TooLarge, text).with_hint(hint));
            }
        }
        files.sort_by(|a, b| (a.meta.last_modified, &a.name).cmp(&(b.meta.last_modified, &b.name)));
        Ok(files)
    }

    /// Looks for files, if it is time to.
    async fn look(&mut self) -> Result<()> {
        let every = Duration::from_millis(self.config.look_ms);
        if self.looked_at.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        let files = self.listed().await?;
        self.looked_at = Some(Instant::now());
        self.seen.there(files.iter().map(|file| &file.id), today());
        // At most half of them are in the folder, so that a file that was just moved away is remembered for a while.
        self.seen.forget_above(2 * self.config.files_max, &files.iter().map(|file| file.id).collect());
        let current = self.current.as_ref().map(|current| current.file.id);
        self.waiting = files.into_iter().filter(|f| !self.seen.has(&f.id) && Some(f.id) != current).collect();
        Ok(())
    }

    /// The file that was left in its midst, before all others.
    fn go_on(&mut self) -> Result<()> {
        let Some((name, id, spot)) = &self.left else { return Ok(()) };
        let Some(at) = self.waiting.iter().position(|file| file.id == *id) else {
            let text =
                format!("file \"{name}\" was taken in up to line {}, and is gone or another one by now", spot.line);
            return Err(gone(&self.pipeline, text));
        };
        if let Some(file) = self.waiting.remove(at) {
            self.current = Some(Current { file, spot: *spot, body: None });
        }
        self.left = None;
        Ok(())
    }

    fn here(&self) -> Place {
        let mut place: serde_json::Map<String, Value> =
            [(FILES.to_string(), self.seen.text().into())].into_iter().collect();
        let current = self.current.as_ref().filter(|current| current.spot != Spot::default());
        if let Some(Current { file, spot, .. }) = current {
            let id: String = file.id.iter().map(|byte| format!("{byte:02x}")).collect();
            let file = serde_json::json!({ "name": file.name, "id": id, "at": spot.at, "line": spot.line });
            place.insert(FILE.to_string(), file);
        }
        Place(place)
    }

    /// Sets what is remembered to a place's; an empty one is the beginning.
    fn stand(&mut self, place: Option<&Place>) -> Result<()> {
        (self.seen, self.left, self.current, self.looked_at) = (Seen::default(), None, None, None);
        let Some(place) = place.filter(|place| !place.0.is_empty()) else { return Ok(()) };
        let read = || {
            let seen = Seen::read(place.0.get(FILES)?.as_str()?)?;
            let left = match place.0.get(FILE) {
                None => None,
                Some(file) => {
                    let id = unhex(file.get("id")?.as_str()?)?;
                    let spot = Spot { at: file.get("at")?.as_u64()?, line: file.get("line")?.as_u64()? };
                    Some((file.get("name")?.as_str()?.to_string(), id, spot))
                }
            };
            Some((seen, left))
        };
        let unread = || gone(&self.pipeline, "the position in the table is not that of a folder".into());
        (self.seen, self.left) = read().ok_or_else(unread)?;
        Ok(())
    }

    /// From the next file, or from the one that is open.
    async fn piece(&self, current: &mut Current, room: Room) -> Result<Piece, Trouble> {
        let piece = self.read_on(current, room).await;
        // In S3 what is read is one version. On a disk a file may change under its reader: then nothing that was read of it
        // counts, good or bad.
        if self.is_local() {
            body::unchanged(self.store.objects(), &current.file.meta).await?;
        }
        piece
    }

    async fn read_on(&self, current: &mut Current, room: Room) -> Result<Piece, Trouble> {
        let (objects, shape) = (self.store.objects(), self.config.shape());
        if current.body.is_none() {
            let is_checked = self.config.bad_files == BadFiles::Stop || self.config.format == Format::Parquet;
            if is_checked && current.spot == Spot::default() {
                self.whole(&current.file, room).await?;
            }
            let meta = &current.file.meta;
            let body = Body::open(objects, meta, &self.lines, &shape, current.spot).await?;
            current.body = Some(Mutex::new(body));
        }
        let Some(body) = &mut current.body else {
            return Err(Error::internal("a file that is open and is not").into());
        };
        let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
        body.next(room.changes, room.bytes, self.lines.schema()).await
    }

    /// Reads all of it, and lets it go.
    async fn whole(&self, file: &Found, room: Room) -> Result<(), Trouble> {
        let (objects, shape) = (self.store.objects(), self.config.shape());
        let mut body = Body::open(objects, &file.meta, &self.lines, &shape, Spot::default()).await?;
        loop {
            let piece = body.next(room.changes, room.bytes, self.lines.schema()).await?;
            if let Some(bad) = piece.bad.first() {
                return Err(Trouble::Bad { line: Some(bad.line), what: dead_words(&bad.fault).1 });
            }
            if piece.is_last {
                return Ok(());
            }
        }
    }

    fn taken(&mut self, mut current: Current, piece: Piece) -> Taken {
        let file = &current.file;
        let at_micros = file.meta.last_modified.timestamp_micros();
        let rows = piece.lines.len();
        let part = (rows > 0).then(|| Part {
            table: 0,
            at_micros: Int64Array::from_value(at_micros, rows),
            positions: StringArray::from_iter_values(piece.lines.iter().map(|line| format!("{line:019}"))),
            sources: StringArray::from_iter_values(std::iter::repeat_n(&file.name, rows)),
            beside: vec![],
            changed: piece.changed,
            place: None,
        });
        let dead = piece.bad.into_iter().map(|bad| {
            let (class, message) = dead_words(&bad.fault);
            dead(file, Some(bad.line), class, message, bad.raw)
        });
        let dead = dead.collect();
        let (name, is_last) = (file.name.clone(), piece.is_last);
        current.spot = piece.next;
        if is_last {
            self.seen.add(file.id, today());
            tracing::info!(pipeline = self.pipeline, file = name, lines = piece.next.line, "file taken in");
        } else {
            self.current = Some(current);
        }
        let ms = at_micros / 1_000;
        Taken {
            parts: part.into_iter().collect(),
            dead,
            // A file without a row is taken in too: with it the position moves.
            records: piece.records.max(usize::from(is_last)),
            span_ms: Some((ms, ms)),
            place: Some(self.here()),
            whole: None,
            reshaped: false,
        }
    }

    fn troubled(&mut self, current: Current, trouble: Trouble) -> Result<Taken> {
        let file = &current.file;
        match (trouble, self.config.bad_files) {
            (Trouble::Failed(error), _) => Err(error),
            // Before anything of it was taken in it is a file that is not there.
            (Trouble::Gone(_), _) if current.spot == Spot::default() => {
                self.looked_at = None;
                Ok(Taken { place: Some(self.here()), ..Taken::default() })
            }
            (Trouble::Gone(error), _) => {
                let text = format!("file \"{}\" went when it was taken in up to line {}", file.name, current.spot.line);
                Err(gone(&self.pipeline, text).with_source(error))
            }
            (Trouble::Bad { line, what }, BadFiles::DeadLetter) if current.spot == Spot::default() => {
                let dead = vec![dead(file, line, "malformed", what, vec![])];
                self.seen.add(file.id, today());
                Ok(Taken { dead, records: 1, place: Some(self.here()), ..Taken::default() })
            }
            // The rest of it would be lost without a word, were it passed.
            (Trouble::Bad { line, what }, BadFiles::Stop | BadFiles::DeadLetter) => {
                let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
                let text = format!("file \"{}\"{line}: {what}", file.name);
                let hint = match current.spot == Spot::default() {
                    true => {
                        "Nothing of it was taken in. Correct it, move it away, or say `bad_files = \"dead_letter\"` in [folder]."
                    }
                    false => {
                        "What is before that was taken in. Put the rest into a file of its own and move this one away; then resume."
                    }
                };
                Err(Error::new(Kind::InvalidText, text).with_hint(hint))
            }
        }
    }
}

fn dead(file: &Found, line: Option<u64>, class: &'static str, message: String, raw: Vec<u8>) -> DeadLetter {
    DeadLetter {
        source: file.name.clone(),
        partition: 0,
        offset: line.and_then(|line| i64::try_from(line).ok()).unwrap_or(0),
        at_ms: Some(file.meta.last_modified.timestamp_millis()),
        class,
        message,
        key: None,
        headers: vec![],
        raw,
    }
}

/// Counted from 1970.
fn today() -> u32 {
    u32::try_from(chrono::Utc::now().timestamp() / 86_400).unwrap_or(0)
}

fn unhex(text: &str) -> Option<Id> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let id: Vec<u8> = (0..text.len() / 2).map(byte).collect::<Option<_>>()?;
    id.try_into().ok()
}

/// `*` stands for any letters, the other characters for themselves.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[async_trait]
impl Origin for Folder {
    async fn tables(&mut self) -> Result<Vec<TableShape>> {
        Ok(vec![self.lines.shape()])
    }

    async fn begin(&mut self, kept: &Kept) -> Result<()> {
        self.is_begun = true;
        self.stand(kept.tables.first().and_then(Option::as_ref))?;
        self.look().await?;
        self.go_on()
    }

    async fn read(&mut self, room: Room) -> Result<Taken> {
        let next = match self.current.take() {
            Some(current) => Some(current),
            None => {
                self.look().await?;
                let file = self.waiting.pop_front();
                file.map(|file| Current { file, spot: Spot::default(), body: None })
            }
        };
        let Some(mut current) = next else {
            tokio::time::sleep(room.wait).await;
            return Ok(Taken { place: Some(self.here()), ..Taken::default() });
        };
        match self.piece(&mut current, room).await {
            Ok(piece) => Ok(self.taken(current, piece)),
            Err(trouble) => self.troubled(current, trouble),
        }
    }

    async fn still(&mut self) -> Result<()> {
        Ok(())
    }

    async fn lag(&mut self, place: Option<&Place>) -> Result<Lag> {
        if !self.is_begun {
            self.stand(place)?;
            self.look().await?;
        }
        let current = self.current.as_ref().map(|c| c.file.meta.size.saturating_sub(c.spot.at)).unwrap_or(0);
        Ok(Lag { records: None, bytes: Some(self.waiting.iter().map(|file| file.meta.size).sum::<u64>() + current) })
    }

    async fn place(&mut self, wanted: Wanted<'_>) -> Result<Place> {
        match wanted {
            Wanted::Earliest => self.stand(None)?,
            // What is there now is left out.
            Wanted::Latest => {
                self.stand(None)?;
                let files = self.listed().await?;
                files.iter().for_each(|file| self.seen.add(file.id, today()));
            }
            // And the rest of a file that went in its midst.
            Wanted::At(place) => {
                self.stand(Some(place))?;
                if let Some((_, id, _)) = self.left.take() {
                    self.seen.add(id, today());
                }
            }
            Wanted::Range(_) => {
                let text = "the history does not say which files were taken in";
                return Err(Error::new(Kind::InvalidText, text));
            }
        }
        Ok(self.here())
    }

    fn range(&self, place: &Place) -> String {
        match place.0.get(FILE) {
            Some(file) => {
                let name = file.get("name").and_then(Value::as_str).unwrap_or_default();
                format!("{name}:{}", file.get("line").and_then(Value::as_u64).unwrap_or(0))
            }
            None => {
                let seen = place.0.get(FILES).and_then(Value::as_str).and_then(Seen::read);
                format!("{} files", seen.map_or(0, |seen| seen.len()))
            }
        }
    }

    async fn again(&mut self, letters: &[DeadLetter]) -> Result<Again> {
        match self.config.shape() {
            Shape::Json | Shape::Csv { header: false, .. } => lines::again(&self.lines, letters, |_| true),
            // A line by itself does not say in which order its fields stand.
            Shape::Csv { header: true, .. } | Shape::Parquet => {
                Err(Error::unsupported("taking in again single records of files whose first line names the columns"))
            }
        }
    }

    async fn acknowledge(&mut self, _: &Place) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
