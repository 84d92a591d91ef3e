//! One session's settings: what it set, for itself or for its transaction, over what they are here. Which settings there are
//! is the image's (`catalog::pg_catalog::settings`); which values one takes is `check`'s. Identity and authority are not
//! settings, and no setting configures the engine.

mod check;
mod freshness;
mod name;
mod shared;
mod unit;
mod vector;
mod version;
mod zone;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use uuid::Uuid;

pub(crate) use self::name::joined;
use self::name::{Found, find};
pub(crate) use self::shared::SharedSettings;
pub(crate) use self::vector::{Versions, shown as shown_version, shown_reflection};
pub use crate::catalog::pg_catalog::SERVER_VERSION;
use crate::catalog::pg_catalog::settings::{
    Context, Kind as Values, Setting, reported, setting, settings, unrecognized,
};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{DateOrder, DateOutput, DateStyle, IntervalStyle};
use crate::lake::Freshness;
use crate::types::AsOf;

/// Of all values that a session set, with their names.
const BYTES_MAX: usize = 256 << 10;
/// What a plan, or what was derived for it, depends on.
const TELLING: [&str; 10] = [
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "search_path",
    version::TIME,
    version::VERSION,
    freshness::FRESHNESS,
    freshness::TIMEOUT,
];
/// Where answers may come from.
const FROM: [&str; 3] = [REFLECTIONS, MAX_STALENESS, vector::VECTOR];
/// In whose place is asked.
const WHO: [&str; 2] = ["role", "session_authorization"];
const REFLECTIONS: &str = "lakegate.reflections";
const MAX_STALENESS: &str = "lakegate.max_staleness";
const QUERY_ID: &str = "lakegate.query_id";
/// Of a transaction, and what a new one has.
const OF_TRANSACTION: [(&str, &str); 3] = [
    ("transaction_isolation", "default_transaction_isolation"),
    ("transaction_read_only", "default_transaction_read_only"),
    ("transaction_deferrable", "default_transaction_deferrable"),
];

/// By the image's name, or in lower case for a name of the client's own.
type Named = BTreeMap<Cow<'static, str>, String>;

/// Where a transaction stands, for settings that ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// A statement of the transaction has seen data.
    pub(crate) queried: bool,
    /// Behind a savepoint.
    pub(crate) nested: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Who logged in.
    user: Arc<str>,
    /// In whose place it may ask.
    identities: Arc<BTreeSet<String>>,
    /// May read those that are not for everybody (pg_read_all_settings).
    reads_all: bool,
    /// Set by the session; what is not here is as it started.
    set: Arc<Named>,
    /// Set by SET LOCAL, until the transaction ends.
    local: Arc<Named>,
    /// The startup message's and the configuration's, which RESET goes back to.
    start: Arc<Named>,
    /// What the policy's files say of `lakegate.max_staleness` for who asks, where nothing of the above does.
    staleness_of_role: Option<String>,
    /// Of the last statement that read a table.
    query_id: String,
    /// The startup message is being read.
    starting: bool,
    pub(crate) moment: Moment,
    derived: Derived,
    /// Moves when a telling value changes, so that what was derived from them can be kept.
    version: u64,
    /// Moves when any value may have changed.
    edition: u64,
}

/// Read from their values once.
#[derive(Clone, Copy, Debug)]
struct Derived {
    zone: Tz,
    date_style: DateStyle,
    interval_style: IntervalStyle,
    extra_float_digits: i32,
}

/// Values as they were, to come back to.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    set: Arc<Named>,
    local: Arc<Named>,
}

impl Mark {
    /// How much of it is its own, at worst.
    pub(crate) fn bytes(&self) -> usize {
        const EACH: usize = 64;
        bytes(&self.set) + bytes(&self.local) + (self.set.len() + self.local.len()) * EACH
    }
}

impl Settings {
    /// `search_path`: where names without a schema are looked for unless the client says otherwise. Until
    /// [`Settings::started`], what is set is where RESET goes back to.
    pub(crate) fn new(user: &str, search_path: &str) -> Self {
        let start = [("session_authorization", user), ("search_path", search_path)];
        let start: Named = start.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let derived = Derived {
            zone: Tz::UTC,
            date_style: DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy },
            interval_style: IntervalStyle::Postgres,
            extra_float_digits: 1,
        };
        let none = Arc::new(Named::new());
        Self {
            user: user.into(),
            identities: Arc::default(),
            reads_all: false,
            set: Arc::clone(&none),
            local: none,
            start: Arc::new(start),
            staleness_of_role: None,
            query_id: String::new(),
            starting: true,
            moment: Moment::default(),
            derived,
            version: 0,
            edition: 0,
        }
    }

    /// Whoever administrates reads them all.
    pub(crate) fn read_all(&mut self, is_admin: bool) {
        self.reads_all = is_admin;
    }

    /// Names that `role` and `session_authorization` take besides the session's own.
    pub(crate) fn identify(&mut self, identities: BTreeSet<String>) {
        if *self.identities != identities {
            self.identities = Arc::new(identities);
        }
    }

    /// A statement begins that reads a table.
    pub(crate) fn query(&mut self, id: Uuid) {
        self.query_id = id.to_string();
    }

    /// What it is for who asks now; `None`: nothing is said.
    pub(crate) fn stale_by_role(&mut self, ms: Option<i64>) {
        let of_role = ms.map(|ms| ms.to_string());
        if self.staleness_of_role != of_role {
            let before = self.telling();
            self.staleness_of_role = of_role;
            self.changed(&before);
        }
    }

    /// In whose place the session asks: `role` goes before `session_authorization`.
    pub(crate) fn acts_for(&self) -> Option<&str> {
        let role = Some(self.value("role")).filter(|role| !matches!(*role, "none" | ""));
        let name = role.unwrap_or(self.value("session_authorization"));
        (name != &*self.user).then_some(name)
    }

    pub(crate) fn started(&mut self) {
        Arc::make_mut(&mut self.start)
            .extend(std::mem::take(&mut self.set).iter().map(|(n, v)| (n.clone(), v.clone())));
        self.starting = false;
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    // --- values

    /// As SHOW says it. 42704 for a name that is none, 42501 for one that is not for everybody to read.
    pub(crate) fn shown(&self, name: &str) -> Result<String> {
        match find(name)? {
            Found::Known(setting) if setting.is_secret() && !self.reads_all => {
                let text = format!(
                    "must be superuser or have privileges of pg_read_all_settings to examine \"{}\"",
                    setting.name
                );
                Err(Error::new(Kind::PermissionDenied, text))
            }
            Found::Known(setting) => Ok(self.shown_of(setting)),
            Found::Custom(own) => self.custom(&own).map(str::to_string).ok_or_else(|| unrecognized(name)),
        }
    }

    /// The image's name of a setting, for the column that SHOW gives it.
    pub(crate) fn proper_name(name: &str) -> &str {
        setting(name).map_or(name, |setting| setting.name)
    }

    fn shown_of(&self, setting: &Setting) -> String {
        let kept = self.kept(setting);
        match setting.kind {
            Values::Integer | Values::Real => unit::shown(setting, kept),
            Values::Bool | Values::Text | Values::Word => kept.to_string(),
        }
    }

    /// In its unit.
    pub(crate) fn kept<'a>(&'a self, setting: &'a Setting) -> &'a str {
        if setting.name == QUERY_ID {
            return &self.query_id;
        }
        if let Some(value) = self.local.get(setting.name).or_else(|| self.set.get(setting.name)) {
            return value;
        }
        // outside of a block it is what the next one has
        match OF_TRANSACTION.iter().find(|(name, _)| *name == setting.name) {
            Some((_, default)) => self.value(default),
            None => self.reset_value(setting),
        }
    }

    fn reset_value<'a>(&'a self, setting: &'a Setting) -> &'a str {
        let of_role = || self.staleness_of_role.as_ref().filter(|_| setting.name == MAX_STALENESS);
        self.start.get(setting.name).or_else(of_role).map_or(setting.value, String::as_str)
    }

    fn custom(&self, name: &str) -> Option<&str> {
        [&self.local, &self.set, &self.start].into_iter().find_map(|values| values.get(name)).map(String::as_str)
    }

    /// Of a setting of the image, in its unit; "" where there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        setting(name).map_or("", |setting| match self.local.get(setting.name).or_else(|| self.set.get(setting.name)) {
            Some(value) => value,
            None => self.reset_value(setting),
        })
    }

    /// Of a setting of the image, where a transaction's modes are what the next one has outside of a block.
    pub(crate) fn kept_word(&self, name: &str) -> String {
        setting(name).map_or_else(String::new, |setting| self.kept(setting).to_string())
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        setting(name).is_some_and(|setting| self.kept(setting) == "on")
    }

    /// What RESET goes back to, and PostgreSQL's word for where the value is from.
    fn origin(&self, setting: &Setting) -> (&'static str, String) {
        let source = match () {
            () if self.local.contains_key(setting.name) || self.set.contains_key(setting.name) => "session",
            () if setting.context == Context::Internal => "override",
            () if self.start.contains_key(setting.name) && setting.name != "search_path" => "client",
            () if self.staleness_of_role.is_some() && setting.name == MAX_STALENESS => "user",
            () => "default",
        };
        (source, self.reset_value(setting).to_string())
    }

    /// (name, value, description) of all, for SHOW ALL.
    pub(crate) fn all(&self) -> Vec<(&'static str, String, &'static str)> {
        let shown =
            settings().iter().filter(|setting| !setting.is_hidden() && (self.reads_all || !setting.is_secret()));
        shown.map(|setting| (setting.name, self.shown_of(setting), setting.about())).collect()
    }

    /// ParameterStatus pairs.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        reported().iter().map(|setting| (setting.name, self.kept(setting)))
    }

    pub(crate) fn time_zone(&self) -> Tz {
        self.derived.zone
    }

    pub(crate) fn date_style(&self) -> DateStyle {
        self.derived.date_style
    }

    pub(crate) fn interval_style(&self) -> IntervalStyle {
        self.derived.interval_style
    }

    pub(crate) fn extra_float_digits(&self) -> i32 {
        self.derived.extra_float_digits
    }

    /// Milliseconds; 0 is off.
    pub(crate) fn statement_timeout_ms(&self) -> u64 {
        self.value("statement_timeout").parse().unwrap_or(0)
    }

    /// Schemas for names without one, `$user` replaced.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let names = check::identifiers(self.value("search_path")).unwrap_or_default();
        let user = |name: String| if name == "$user" { self.user.to_string() } else { name };
        names.into_iter().map(user).filter(|name| !name.is_empty()).collect()
    }

    /// The version that tables are read at; `None`: as they are now.
    pub(crate) fn as_of(&self) -> Option<AsOf> {
        version::of(self)
    }

    /// The versions at which single tables are read.
    pub(crate) fn versions(&self) -> Versions {
        vector::read(self.value(vector::VECTOR)).unwrap_or_default()
    }

    /// Reflections may answer.
    pub(crate) fn uses_reflections(&self) -> bool {
        self.is_on(REFLECTIONS)
    }

    /// How old an answer may be; `None`: nobody says, and it is the datasets' to say.
    pub(crate) fn max_staleness_ms(&self) -> Option<i64> {
        self.value(MAX_STALENESS).parse().ok().filter(|ms| *ms >= 0)
    }

    /// How fresh tables are read that a pipeline fills.
    pub(crate) fn freshness(&self) -> Freshness {
        freshness::of(self.value(freshness::FRESHNESS)).unwrap_or_default()
    }

    /// How long a statement waits for it.
    pub(crate) fn freshness_timeout(&self) -> Duration {
        Duration::from_millis(self.value(freshness::TIMEOUT).parse().unwrap_or(0))
    }

    /// Values that can change what a cached answer holds.
    pub(crate) fn fingerprint(&self) -> String {
        TELLING.map(|name| self.value(name)).join("|")
    }

    // --- changes

    /// Sets a value as SET takes it, or SET LOCAL; `None` is DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let setting = match find(name)? {
            Found::Known(setting) => setting,
            Found::Custom(own) => {
                return match value {
                    Some(value) => self.put(own.into(), value.into(), local),
                    // PostgreSQL keeps it, empty
                    None if self.custom(&own).is_some() => {
                        let value = self.start.get(own.as_str()).cloned().unwrap_or_default();
                        self.put(own.into(), value, local)
                    }
                    None => Ok(()),
                };
            }
        };
        self.may_set(setting)?;
        if value.is_none() && !local && setting.name == MAX_STALENESS {
            self.follow_role();
            return Ok(());
        }
        let value = match value {
            Some(value) => check::check(self, setting, value)?,
            None => match OF_TRANSACTION.iter().find(|(name, _)| *name == setting.name) {
                Some((_, default)) => self.value(default).to_string(),
                None => self.reset_value(setting).to_string(),
            },
        };
        let of_transaction = OF_TRANSACTION.iter().any(|(name, _)| *name == setting.name);
        if of_transaction {
            self.may_change(setting.name, &value)?;
        }
        self.put(setting.name.into(), value, local || of_transaction)?;
        // a role is one of the identity's before, as SetSessionAuthorization of miscinit.c has it
        match setting.name == "session_authorization" && self.value("role") != "none" {
            true => self.put("role".into(), "none".into(), local),
            false => Ok(()),
        }
    }

    /// What is said of roles may be another thing later: what goes back to it is not kept as if it had been set.
    fn follow_role(&mut self) {
        let before = self.telling();
        for values in [&mut self.set, &mut self.local] {
            Arc::make_mut(values).remove(MAX_STALENESS);
        }
        self.changed(&before);
    }

    /// As they were when the session began.
    pub(crate) fn reset_all(&mut self) {
        let stays = |name: &str| setting(name).is_some_and(Setting::stays);
        let kept =
            |values: &Named| values.iter().filter(|(n, _)| stays(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
        let (set, local) = (Arc::new(kept(&self.set)), Arc::new(kept(&self.local)));
        self.restore(Mark { set, local });
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { set: Arc::clone(&self.set), local: Arc::clone(&self.local) }
    }

    pub(crate) fn restore(&mut self, mark: Mark) {
        let before = self.telling();
        (self.set, self.local) = (mark.set, mark.local);
        self.changed(&before);
    }

    /// The transaction is over, and with it what was set for it.
    pub(crate) fn end_local(&mut self) {
        if !self.local.is_empty() {
            self.restore(Mark { set: Arc::clone(&self.set), local: Arc::default() });
        }
    }

    /// A block has modes of its own, whatever becomes of the defaults.
    pub(crate) fn begin_block(&mut self) {
        let local = Arc::make_mut(&mut self.local);
        for (name, default) in OF_TRANSACTION {
            if let (Some(default), false) =
                (self.set.get(default).or(self.start.get(default)), local.contains_key(name))
            {
                local.insert(name.into(), default.clone());
            }
        }
    }

    fn put(&mut self, name: Cow<'static, str>, value: String, local: bool) -> Result<()> {
        let before = self.telling();
        if local {
            Arc::make_mut(&mut self.local).insert(name, value);
        } else {
            if self.local.contains_key(&name) {
                Arc::make_mut(&mut self.local).remove(&name);
            }
            Arc::make_mut(&mut self.set).insert(name, value);
        }
        if bytes(&self.set) + bytes(&self.local) > BYTES_MAX {
            // the transaction that this ends takes the value back
            return Err(Error::new(Kind::TooLarge, format!("settings take more than {BYTES_MAX} bytes")));
        }
        self.changed(&before);
        Ok(())
    }

    fn telling(&self) -> Vec<String> {
        TELLING.iter().chain(&FROM).chain(&WHO).map(|name| self.value(name).to_string()).collect()
    }

    fn changed(&mut self, before: &[String]) {
        self.edition += 1;
        if self.telling() == *before {
            return;
        }
        self.version += 1;
        self.derived = Derived {
            zone: zone::of_setting(self.value("TimeZone")),
            date_style: check::date_style_of(self.value("DateStyle")),
            interval_style: check::interval_style_of(self.value("IntervalStyle")),
            extra_float_digits: self.value("extra_float_digits").parse().unwrap_or(1),
        };
    }

    /// 55P02 and 42501 as PostgreSQL has them for whoever is no superuser.
    fn may_set(&self, setting: &Setting) -> Result<()> {
        let name = setting.name;
        let fixed = |why: &str| Err(Error::new(Kind::FixedParameter, format!("parameter \"{name}\" cannot be {why}")));
        match setting.context {
            Context::User => Ok(()),
            Context::Backend if self.starting => Ok(()),
            Context::Superuser => Err(denied(name)),
            Context::SuperuserBackend if self.starting => Err(denied(name)),
            Context::Internal => fixed("changed"),
            Context::Postmaster => fixed("changed without restarting the server"),
            Context::Sighup => fixed("changed now"),
            Context::SuperuserBackend | Context::Backend => fixed("set after connection start"),
        }
    }

    /// 25001 where a transaction's mode may no longer be this one.
    fn may_change(&self, name: &str, value: &str) -> Result<()> {
        let Moment { queried, nested } = self.moment;
        let now = setting(name).map_or("", |setting| self.kept(setting));
        let text = match name {
            "transaction_isolation" if value == now => return Ok(()),
            "transaction_isolation" if queried => "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            "transaction_isolation" if nested => {
                "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"
            }
            "transaction_read_only" if value == "on" || now == "off" => return Ok(()),
            "transaction_read_only" if nested => {
                "cannot set transaction read-write mode inside a read-only transaction"
            }
            "transaction_read_only" if queried => "transaction read-write mode must be set before any query",
            "transaction_deferrable" if nested => {
                "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction"
            }
            "transaction_deferrable" if queried => "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
            _ => return Ok(()),
        };
        Err(Error::new(Kind::ActiveTransaction, text))
    }
}

fn bytes(values: &Named) -> usize {
    values.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn denied(name: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("permission denied to set parameter \"{name}\""))
}

#[cfg(test)]
mod tests;
