//! The settings of PostgreSQL [`super::SERVER_VERSION`], as its pg_settings has them, and the few of our own: names, kinds,
//! limits, who may set them, and what they are here. What a session has set is its own ([`SessionSettings`]); how a value
//! is checked is the engine's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use super::rows::{Cell, Rows};
use crate::catalog::visible::View;
use crate::error::{Error, Kind as ErrorKind, Result};

/// Who may set a setting, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Nobody.
    Internal,
    /// With the server's start.
    Postmaster,
    /// The operator, while it runs.
    Sighup,
    /// With the connection's start, a superuser.
    SuperuserBackend,
    /// With the connection's start.
    Backend,
    Superuser,
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Integer,
    Real,
    Text,
    /// One of [`Setting::words`].
    Word,
}

/// A setting; texts as in pg_settings, "" where that has NULL.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub context: Context,
    pub kind: Kind,
    pub unit: &'static str,
    pub min: &'static str,
    pub max: &'static str,
    pub words: Vec<&'static str>,
    boot: &'static str,
    /// What it is here unless a session sets it, in its unit.
    pub value: &'static str,
    flags: &'static str,
    category: &'static str,
    about: &'static str,
    more: &'static str,
}

impl Setting {
    /// Sent as ParameterStatus (GUC_REPORT).
    pub fn is_reported(&self) -> bool {
        self.flags.contains('R')
    }

    /// Takes a list (GUC_LIST_INPUT).
    pub fn is_list(&self) -> bool {
        self.flags.contains('L')
    }

    /// Whose elements are names (GUC_LIST_QUOTE).
    pub fn is_list_of_names(&self) -> bool {
        self.flags.contains('Q')
    }

    /// RESET ALL leaves it as it is.
    pub fn stays(&self) -> bool {
        self.flags.contains('N')
    }

    /// Not for everybody to read (GUC_SUPERUSER_ONLY).
    pub fn is_secret(&self) -> bool {
        self.flags.contains('S')
    }

    /// Neither in SHOW ALL nor in pg_settings.
    pub fn is_hidden(&self) -> bool {
        self.flags.contains('H')
    }

    /// What SHOW ALL says of it.
    pub fn about(&self) -> &'static str {
        self.about
    }
}

/// Rows that PostgreSQL does not show in pg_settings, and ours.
const OTHERS: &str = "\
is_superuser\tinternal\tbool\t\t\t\t\toff\toff\tHR\tUngrouped\tShows whether the current user is a superuser.\t
lakegate.as_of_time\tuser\tstring\t\t\t\t\t\t\t\tClient Connection Defaults / Statement Behavior\tReads tables as they were at this time.\t
lakegate.as_of_version\tuser\tstring\t\t\t\t\t\t\t\tClient Connection Defaults / Statement Behavior\tReads tables at this snapshot, tag or branch.\t
lakegate.cache\tuser\tbool\t\t\t\t\ton\ton\t\tQuery Tuning / Other Planner Options\tAnswers from the result cache where that is exact.\t
lakegate.max_staleness\tuser\tinteger\tms\t-1\t2147483647\t\t-1\t-1\t\tQuery Tuning / Other Planner Options\tAnswers from reflections that are behind their tables by no more than this.\t-1 means as far as the datasets that are read say.
lakegate.query_id\tinternal\tstring\t\t\t\t\t\t\t\tPreset Options\tShows the id of the last statement that read a table.\t
lakegate.reflections\tuser\tbool\t\t\t\t\ton\ton\t\tQuery Tuning / Other Planner Options\tAnswers from reflections where they hold what is asked for.\t
lakegate.snapshot_vector\tuser\tstring\t\t\t\t\t\t\t\tClient Connection Defaults / Statement Behavior\tReads tables of lakes at these snapshots.\t
lakegate.freshness\tuser\tstring\t\t\t\t\tcommitted\tcommitted\t\tClient Connection Defaults / Statement Behavior\tReads tables that pipelines fill with what was taken in and not committed.\t
lakegate.freshness_timeout\tuser\tinteger\tms\t0\t3600000\t\t10000\t10000\t\tClient Connection Defaults / Statement Behavior\tHow long a statement waits for lakegate.freshness.\t
role\tuser\tstring\t\t\t\t\tnone\tnone\tH\tUngrouped\tSets the current role.\t
session_authorization\tuser\tstring\t\t\t\t\t\t\tHR\tUngrouped\tSets the session user name.\t";

static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let lines = include_str!("image/pg_settings.tsv").lines().chain(OTHERS.lines());
    let mut all: Vec<_> = lines.map(|line| of_line(line).expect("a line of pg_settings.tsv has 13 fields")).collect();
    all.sort_by_key(|setting| setting.name.to_ascii_lowercase());
    all
});

/// By its own name and by that in lower case.
static BY_NAME: LazyLock<HashMap<String, &'static Setting>> = LazyLock::new(|| {
    let names = |setting: &'static Setting| [setting.name.to_owned(), setting.name.to_ascii_lowercase()];
    SETTINGS.iter().flat_map(|setting| names(setting).map(|name| (name, setting))).collect()
});

/// Every setting, by name.
pub fn settings() -> &'static [Setting] {
    &SETTINGS
}

/// The setting of this name, whatever its case.
pub fn setting(name: &str) -> Option<&'static Setting> {
    // most are asked for as they lie there
    BY_NAME.get(name).or_else(|| BY_NAME.get(&name.to_ascii_lowercase())).copied()
}

/// Those that are sent as ParameterStatus.
pub fn reported() -> &'static [&'static Setting] {
    static REPORTED: LazyLock<Vec<&Setting>> =
        LazyLock::new(|| SETTINGS.iter().filter(|setting| setting.is_reported()).collect());
    &REPORTED
}

fn of_line(line: &'static str) -> Option<Setting> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let [name, context, kind, unit, min, max, words, boot, value, flags, category, about, more]: [&'static str; 13] =
        fields.try_into().ok()?;
    let context = match context {
        "internal" => Context::Internal,
        "postmaster" => Context::Postmaster,
        "sighup" => Context::Sighup,
        "superuser-backend" => Context::SuperuserBackend,
        "backend" => Context::Backend,
        "superuser" => Context::Superuser,
        "user" => Context::User,
        _ => return None,
    };
    let kind = match kind {
        "bool" => Kind::Bool,
        "integer" => Kind::Integer,
        "real" => Kind::Real,
        "string" => Kind::Text,
        "enum" => Kind::Word,
        _ => return None,
    };
    let words = if words.is_empty() { vec![] } else { words.split(',').collect() };
    Some(Setting { name, context, kind, unit, min, max, words, boot, value, flags, category, about, more })
}

/// What a session has set.
pub trait SessionSettings: fmt::Debug + Send + Sync {
    /// In the setting's unit; what RESET goes back to; PostgreSQL's word for where the value is from.
    fn state(&self, setting: &Setting) -> (String, String, &'static str);

    /// As SHOW says it. 42704 where there is none of this name, 42501 where it is not for this session.
    fn shown(&self, name: &str) -> Result<String>;

    /// As SET does, or SET LOCAL; `None` is DEFAULT. Gives what SHOW says afterwards.
    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String>;
}

/// A session's settings as everything that answers from them has them: as they are now. The default are those of a session
/// that set nothing, and never can.
#[derive(Clone, Debug)]
pub struct Handle(Arc<dyn SessionSettings>);

impl Handle {
    pub fn new(settings: Arc<dyn SessionSettings>) -> Self {
        Self(settings)
    }
}

impl std::ops::Deref for Handle {
    type Target = dyn SessionSettings;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl Default for Handle {
    fn default() -> Self {
        Self(Arc::new(Unset))
    }
}

#[derive(Debug)]
struct Unset;

impl SessionSettings for Unset {
    fn state(&self, setting: &Setting) -> (String, String, &'static str) {
        (setting.value.into(), setting.value.into(), "default")
    }

    fn shown(&self, name: &str) -> Result<String> {
        setting(name).map(|setting| setting.value.to_string()).ok_or_else(|| unrecognized(name))
    }

    fn set(&self, name: &str, _: Option<&str>, _: bool) -> Result<String> {
        Err(unrecognized(name))
    }
}

/// 42704.
pub fn unrecognized(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

pub(super) fn pg_settings(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    let or_null = |text: &'static str| if text.is_empty() { Cell::Null } else { text.into() };
    let is_shown = |setting: &&Setting| !setting.is_hidden() && (view.is_admin || !setting.is_secret());
    for setting in settings().iter().filter(is_shown) {
        let (value, reset, source) = view.settings.state(setting);
        let words = match setting.words.as_slice() {
            [] => Cell::Null,
            words => Cell::texts(words.iter().copied()),
        };
        rows.push([
            ("name", setting.name.into()),
            ("setting", value.into()),
            ("unit", or_null(setting.unit)),
            ("category", setting.category.into()),
            ("short_desc", setting.about.into()),
            ("extra_desc", or_null(setting.more)),
            ("context", word_of(setting.context).into()),
            ("vartype", kind_of(setting.kind).into()),
            ("source", source.into()),
            ("min_val", or_null(setting.min)),
            ("max_val", or_null(setting.max)),
            ("enumvals", words),
            ("boot_val", setting.boot.into()),
            ("reset_val", reset.into()),
            ("pending_restart", false.into()),
        ])?;
    }
    Ok(())
}

fn word_of(context: Context) -> &'static str {
    match context {
        Context::Internal => "internal",
        Context::Postmaster => "postmaster",
        Context::Sighup => "sighup",
        Context::SuperuserBackend => "superuser-backend",
        Context::Backend => "backend",
        Context::Superuser => "superuser",
        Context::User => "user",
    }
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Integer => "integer",
        Kind::Real => "real",
        Kind::Text => "string",
        Kind::Word => "enum",
    }
}
