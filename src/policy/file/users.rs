//! users.toml → who can log in, with which verifier and which attributes, and how far answers may be behind for users and
//! roles that say nothing. It proves no password.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{Faults, SourceFile, did_you_mean, object};
use crate::age;
use crate::policy::scram;
use crate::secret::Secret;

/// What `[attributes]` may declare; text, int8, bool, date, and lists of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) struct AttributeType {
    pub scalar: Scalar,
    pub list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Scalar {
    Text,
    Int8,
    Bool,
    Date,
}

/// The words of users.toml.
const TYPES: &[(&str, Scalar, bool)] = &[
    ("text", Scalar::Text, false),
    ("text[]", Scalar::Text, true),
    ("int8", Scalar::Int8, false),
    ("int8[]", Scalar::Int8, true),
    ("bool", Scalar::Bool, false),
    ("date", Scalar::Date, false),
    ("date[]", Scalar::Date, true),
];

impl AttributeType {
    pub(in crate::policy) fn name(self) -> &'static str {
        let found = TYPES.iter().find(|(_, scalar, list)| *scalar == self.scalar && *list == self.list);
        found.map_or("bool[]", |(name, ..)| name)
    }
}

/// One value of an attribute; a list has several, or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Value {
    Text(String),
    Int8(i64),
    Bool(bool),
    /// As written, ISO.
    Date(String),
}

#[derive(Clone, Debug)]
pub(in crate::policy) struct User {
    pub verifier: Secret<String>,
    pub attributes: BTreeMap<String, Vec<Value>>,
    /// Users in whose place it may ask.
    pub may_act_for: BTreeSet<String>,
    /// What `lakegate.max_staleness` is where its session says nothing.
    pub max_staleness_ms: Option<i64>,
}

/// One `[role.NAME]`.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Role {
    /// As of a user.
    pub max_staleness_ms: Option<i64>,
    /// Where it stands.
    pub file: String,
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Users {
    pub attributes: BTreeMap<String, AttributeType>,
    pub users: BTreeMap<String, User>,
    pub roles: BTreeMap<String, Role>,
}

/// Reads what can be read; every fault and every warning.
pub(super) fn read(source: &SourceFile, faults: &mut Faults, warnings: &mut Faults) -> Users {
    let bytes = source.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&source.bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default()).into_owned();
            let (line, column) = place(&good, good.len());
            faults.push(&source.name, line, column, "a byte that is not UTF-8; save the file as UTF-8".into());
            return Users::default();
        }
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { source, text, faults, warnings, read: Users::default(), acting: vec![] };
    for error in errors {
        let at = error.span().map_or(0, |s| s.start);
        // the parser's message may quote several lines; the first says it
        reader.fault(at..at, error.message().lines().next().unwrap_or("not TOML").to_owned());
    }
    reader.root(root.get_ref());
    reader.read
}

struct Reader<'a, 'b> {
    source: &'a SourceFile,
    text: &'a str,
    faults: &'b mut Faults,
    warnings: &'b mut Faults,
    read: Users,
    /// Whom `may_act_for` names, and where.
    acting: Vec<(Range<usize>, String)>,
}

const MAX_STALENESS: &str = "max_staleness";

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

impl Reader<'_, '_> {
    fn fault(&mut self, at: Range<usize>, what: String) {
        let (line, column) = place(self.text, at.start);
        self.faults.push(&self.source.name, line, column, what);
    }

    fn root(&mut self, root: &DeTable<'_>) {
        let keys = ["attributes", "role", "user"];
        for (key, value) in in_order(root) {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("attributes", DeValue::Table(table)) => self.attributes(table),
                ("attributes", other) => self.fault(value.span(), wrong("attributes", "a table", other)),
                ("user", DeValue::Table(_)) => {}
                ("user", other) => self.fault(value.span(), wrong("user", "tables `[user.NAME]`", other)),
                ("role", DeValue::Table(roles)) => {
                    for (name, role) in in_order(roles) {
                        self.role(name, role);
                    }
                }
                ("role", other) => self.fault(value.span(), wrong("role", "tables `[role.NAME]`", other)),
                (other, _) => self.fault(key.span(), unknown("key", other, &keys)),
            }
        }
        // users last: their attributes are judged by the declarations, wherever these stand
        if let Some(DeValue::Table(users)) = root.get("user").map(Spanned::get_ref) {
            for (name, user) in in_order(users) {
                self.user(name, user);
            }
        }
        for (at, name) in std::mem::take(&mut self.acting) {
            if !self.read.users.contains_key(&name) {
                let (line, column) = place(self.text, at.start);
                let what = format!("may_act_for: there is no user `{name}`");
                self.warnings.push(&self.source.name, line, column, what);
            }
        }
    }

    fn attributes(&mut self, table: &DeTable<'_>) {
        let names: Vec<&str> = TYPES.iter().map(|(name, ..)| *name).collect();
        for (key, value) in in_order(table) {
            let DeValue::String(word) = value.get_ref() else {
                self.fault(value.span(), wrong(key.get_ref(), "the name of a type", value.get_ref()));
                continue;
            };
            if !is_attribute_name(key.get_ref()) {
                self.fault(
                    key.span(),
                    format!("attribute `{}`: lower-case letters, digits and `_` only", key.get_ref()),
                );
                continue;
            }
            match TYPES.iter().find(|(name, ..)| *name == word.as_ref()) {
                Some((_, scalar, list)) => {
                    let kind = AttributeType { scalar: *scalar, list: *list };
                    self.read.attributes.insert(key.get_ref().to_string(), kind);
                }
                None => self.fault(value.span(), unknown("type", word, &names)),
            }
        }
    }

    fn user(&mut self, name: &Key<'_>, user: &Spanned<DeValue<'_>>) {
        if let Err(mistake) = object::parse_subject(name.get_ref()) {
            self.fault(name.span(), format!("user `{}`: {}", name.get_ref(), mistake.text));
        }
        let DeValue::Table(table) = user.get_ref() else {
            return self.fault(user.span(), wrong(name.get_ref(), "a table `[user.NAME]`", user.get_ref()));
        };
        let mut read = User {
            verifier: Secret::new(String::new()),
            attributes: BTreeMap::new(),
            may_act_for: BTreeSet::new(),
            max_staleness_ms: None,
        };
        let keys = ["scram", "attributes", "may_act_for", MAX_STALENESS];
        for (key, value) in in_order(table) {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("scram", DeValue::String(text)) => match scram::check_verifier(text) {
                    Ok(()) => read.verifier = Secret::new(text.to_string()),
                    Err(what) => {
                        self.fault(value.span(), format!("scram: {what}; make one with `lakegate policy user add`"))
                    }
                },
                ("scram", other) => self.fault(value.span(), wrong("scram", "text", other)),
                ("attributes", DeValue::Table(attributes)) => read.attributes = self.values(attributes),
                ("attributes", other) => self.fault(value.span(), wrong("attributes", "a table", other)),
                ("may_act_for", DeValue::Array(names)) => read.may_act_for = self.others(name.get_ref(), names),
                ("may_act_for", other) => self.fault(value.span(), wrong("may_act_for", "a list of users", other)),
                (MAX_STALENESS, _) => read.max_staleness_ms = self.staleness(value),
                (other, _) => self.fault(key.span(), unknown("key", other, &keys)),
            }
        }
        if !table.contains_key("scram") {
            let what = format!("user `{}` has no `scram`; make one with `lakegate policy user add`", name.get_ref());
            self.fault(name.span(), what);
        }
        self.read.users.insert(name.get_ref().to_string(), read);
    }

    /// Which roles there are policy.csv says.
    fn role(&mut self, name: &Key<'_>, role: &Spanned<DeValue<'_>>) {
        if let Err(mistake) = object::parse_subject(name.get_ref()) {
            self.fault(name.span(), format!("role `{}`: {}", name.get_ref(), mistake.text));
        }
        let DeValue::Table(table) = role.get_ref() else {
            return self.fault(role.span(), wrong(name.get_ref(), "a table `[role.NAME]`", role.get_ref()));
        };
        let (line, column) = place(self.text, name.span().start);
        let mut read = Role { max_staleness_ms: None, file: self.source.name.clone(), line, column };
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                MAX_STALENESS => read.max_staleness_ms = self.staleness(value),
                other => self.fault(key.span(), unknown("key", other, &[MAX_STALENESS])),
            }
        }
        self.read.roles.insert(name.get_ref().to_string(), read);
    }

    fn staleness(&mut self, value: &Spanned<DeValue<'_>>) -> Option<i64> {
        let DeValue::String(text) = value.get_ref() else {
            self.fault(value.span(), wrong(MAX_STALENESS, "a text as `5 min`", value.get_ref()));
            return None;
        };
        match age::read_ms(text) {
            Ok(ms) => Some(ms),
            Err(what) => {
                self.fault(value.span(), format!("{MAX_STALENESS}: {what}"));
                None
            }
        }
    }

    /// Names of users; which of them there are is known once all are read.
    fn others(&mut self, own: &str, names: &DeArray<'_>) -> BTreeSet<String> {
        let mut read = BTreeSet::new();
        for name in names.iter() {
            match name.get_ref() {
                DeValue::String(text) if text.as_ref() == own => {
                    self.fault(name.span(), format!("user `{own}` acts for itself without being allowed to"));
                }
                DeValue::String(text) => {
                    if let Err(mistake) = object::parse_subject(text) {
                        self.fault(name.span(), format!("may_act_for: `{text}`: {}", mistake.text));
                    }
                    self.acting.push((name.span(), text.to_string()));
                    read.insert(text.to_string());
                }
                other => self.fault(name.span(), wrong("may_act_for", "a list of users", other)),
            }
        }
        read
    }

    fn values(&mut self, table: &DeTable<'_>) -> BTreeMap<String, Vec<Value>> {
        let mut read = BTreeMap::new();
        for (key, value) in in_order(table) {
            let Some(kind) = self.read.attributes.get(key.get_ref().as_ref()).copied() else {
                let names: Vec<String> = self.read.attributes.keys().cloned().collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.fault(key.span(), unknown("attribute", key.get_ref(), &names));
                continue;
            };
            let parsed = match (kind.list, value.get_ref()) {
                (true, DeValue::Array(items)) => items.iter().map(|v| scalar(kind.scalar, v)).collect(),
                (true, _) => None,
                (false, _) => scalar(kind.scalar, value).map(|v| vec![v]),
            };
            match parsed {
                Some(values) => {
                    read.insert(key.get_ref().to_string(), values);
                }
                None => self.fault(value.span(), wrong(key.get_ref(), kind.name(), value.get_ref())),
            }
        }
        read
    }
}

fn scalar(kind: Scalar, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match (kind, value.get_ref()) {
        (Scalar::Text, DeValue::String(text)) => Some(Value::Text(text.to_string())),
        (Scalar::Int8, DeValue::Integer(n)) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(Value::Int8),
        (Scalar::Bool, DeValue::Boolean(b)) => Some(Value::Bool(*b)),
        (Scalar::Date, DeValue::Datetime(d)) if d.date.is_some() && d.time.is_none() => {
            Some(Value::Date(d.to_string()))
        }
        (Scalar::Text | Scalar::Int8 | Scalar::Bool | Scalar::Date, _) => None,
    }
}

/// The keys as they stand in the file, so that faults come in its order.
fn in_order<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(&'a Key<'i>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn is_attribute_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn wrong(key: &str, expected: &str, found: &DeValue<'_>) -> String {
    format!("`{key}` is {expected}, found {}", found.type_str())
}

fn unknown(what: &str, found: &str, valid: &[&str]) -> String {
    let list = if valid.is_empty() { "none is declared".into() } else { format!("expected {}", valid.join(", ")) };
    format!("{what} `{found}` is unknown, {list}{}", did_you_mean(found, valid))
}

/// Line and column (both from 1, in characters) of a byte of the text.
fn place(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
