//! Lines → objects: every name looked up, every filter and mask typed over each table it is about.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::SchemaRef;

use super::{ANY, Bound, Key, Objects, Report, RuleRef};
use crate::policy::file::lines::ColumnMask;
use crate::policy::file::object::{Mistake, Pattern, SOURCE, Segment, Target, nfc};
use crate::policy::file::{Draft, Field, did_you_mean};
use crate::policy::language::Mask;
use crate::policy::{Action, Object, ObjectKind};
use crate::secret::Secret;
use crate::types::{ObjectId, TableName};

/// An object as `decide` looks at it.
#[derive(Debug)]
pub(in crate::policy) struct BoundObject {
    pub id: ObjectId,
    pub name: TableName,
    pub schema: SchemaRef,
    pub column_ids: Vec<Vec<String>>,
    /// Columns that came after the object became restricted, by their place in the schema.
    pub new_columns: BTreeSet<usize>,
    pub raw_columns: BTreeSet<String>,
    /// No `*` covers it.
    pub named_only: bool,
    /// The table that its rows are about, and whether they tell values of it.
    pub about: Option<(ObjectId, bool)>,
    pub key: (u32, u32),
    pub tags: Vec<u32>,
    /// (column, tag)
    pub column_tags: Vec<(usize, u32)>,
}

impl BoundObject {
    /// A column by a `*` or its name; a raw column by its name alone.
    pub(in crate::policy) fn matches_column(&self, segment: &Segment, column: &str) -> bool {
        match segment {
            Segment::Any => !self.raw_columns.contains(column),
            Segment::Exact(name) => *name == nfc(column),
        }
    }

    fn columns_named(&self, name: &str) -> Vec<usize> {
        let fields = self.schema.fields().iter().enumerate();
        fields.filter(|(_, f)| nfc(f.name()) == name).map(|(i, _)| i).collect()
    }
}

/// What binding gives.
pub(super) struct Binding {
    pub objects: Vec<BoundObject>,
    pub bound: Bound,
    /// Each line that can match anything, and by what.
    pub keys: Vec<(RuleRef, Key)>,
}

pub(super) struct Binder<'a> {
    draft: &'a Draft,
    from: &'a Objects,
    key: &'a Secret<Vec<u8>>,
    report: &'a mut Report,
    objects: Vec<BoundObject>,
    numbers: HashMap<String, u32>,
    by_key: HashMap<(u32, u32), usize>,
    tags: HashMap<String, u32>,
    /// Tag → tables; tag → (table, column); tag → tables that lost the tagged column.
    tagged: HashMap<u32, BTreeSet<usize>>,
    tagged_columns: HashMap<u32, BTreeSet<(usize, usize)>>,
    tagged_missing: HashMap<u32, BTreeSet<usize>>,
    bound: Bound,
    keys: Vec<(RuleRef, Key)>,
}

/// Where a line found nothing.
enum Absent {
    /// Its source has not answered: bound later, before any of its tables is visible.
    Unanswered,
    Unknown(String),
}

impl<'a> Binder<'a> {
    pub(super) fn new(draft: &'a Draft, from: &'a Objects, key: &'a Secret<Vec<u8>>, report: &'a mut Report) -> Self {
        let mut binder = Self {
            draft,
            from,
            key,
            report,
            objects: vec![],
            numbers: HashMap::new(),
            by_key: HashMap::new(),
            tags: HashMap::new(),
            tagged: HashMap::new(),
            tagged_columns: HashMap::new(),
            tagged_missing: HashMap::new(),
            bound: Bound::default(),
            keys: vec![],
        };
        from.objects.iter().for_each(|object| binder.add(object));
        binder
    }

    pub(super) fn bind(&mut self) {
        self.bind_tags();
        self.bind_permits();
        self.bind_filters();
        self.bind_masks();
    }

    pub(super) fn finish(self) -> Binding {
        Binding { objects: self.objects, bound: self.bound, keys: self.keys }
    }

    fn add(&mut self, object: &Object) {
        let key = (self.number(&object.name.schema), self.number(&object.name.table));
        let about = match object.kind {
            ObjectKind::MetadataOf { table, values } => Some((table, values)),
            ObjectKind::Table | ObjectKind::Dataset | ObjectKind::Metadata => None,
        };
        let named_only = object.kind == ObjectKind::Metadata || about.is_some() || object.name.table.ends_with("__dlq");
        self.by_key.insert(key, self.objects.len());
        self.objects.push(BoundObject {
            id: object.id,
            name: object.name.clone(),
            schema: object.schema.clone(),
            column_ids: object.column_ids.clone(),
            new_columns: self.from.baselines.new_columns(object),
            raw_columns: object.raw_columns.clone(),
            named_only,
            about,
            key,
            tags: vec![],
            column_tags: vec![],
        });
    }

    fn number(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(ANY - 1);
        *self.numbers.entry(nfc(name)).or_insert(next)
    }

    fn bind_tags(&mut self) {
        let draft = self.draft;
        for line in &draft.lines.tags {
            let next = u32::try_from(self.tags.len()).unwrap_or(u32::MAX);
            let tag = *self.tags.entry(line.tag.clone()).or_insert(next);
            let Target::Tables(pattern) = &line.target else { continue };
            let Some(at) = self.exact(pattern, &line.object) else { continue };
            match self.exact_column(at, pattern, &line.object) {
                ColumnFound::WholeTable => {
                    self.tagged.entry(tag).or_default().insert(at);
                }
                ColumnFound::Columns(columns) => {
                    self.tagged_columns.entry(tag).or_default().extend(columns.into_iter().map(|c| (at, c)));
                }
                ColumnFound::Gone => {
                    self.tagged_missing.entry(tag).or_default().insert(at);
                }
            }
        }
        for (tag, tables) in &self.tagged {
            for at in tables {
                self.objects.get_mut(*at).into_iter().for_each(|o| o.tags.push(*tag));
            }
        }
        for (tag, columns) in &self.tagged_columns {
            for (at, column) in columns {
                self.objects.get_mut(*at).into_iter().for_each(|o| o.column_tags.push((*column, *tag)));
            }
        }
        for object in &mut self.objects {
            object.tags.sort_unstable();
            object.column_tags.sort_unstable();
        }
    }

    fn bind_permits(&mut self) {
        let draft = self.draft;
        for (i, line) in (0u32..).zip(&draft.lines.permits) {
            let rule = RuleRef::Permit(i);
            match &line.target {
                Target::Admin => {}
                Target::Source(name) => self.check_source(name, &line.object),
                Target::Tag(tag) => {
                    self.tag_key(rule, tag, &line.object);
                    if line.action != Action::Select {
                        self.warn_of_columns_only(tag, &line.object);
                    }
                    if !line.allow {
                        self.withhold_tagged(rule, tag);
                    }
                    if line.denies_select() {
                        let columns = self.tags.get(tag).and_then(|t| self.tagged_columns.get(t));
                        let tables: Vec<usize> = columns.into_iter().flatten().map(|(at, _)| *at).collect();
                        self.restrict(tables, &line.subject);
                    }
                }
                Target::Tables(pattern) if line.action == Action::Create => self.check_schema(pattern, &line.object),
                Target::Tables(pattern) if pattern.exact_table().is_some() => {
                    let Some(at) = self.exact(pattern, &line.object) else { continue };
                    self.table_key(rule, pattern);
                    match self.exact_column(at, pattern, &line.object) {
                        ColumnFound::Gone if !line.allow => {
                            self.bound.withheld.insert((rule, at));
                        }
                        ColumnFound::Columns(_) if line.denies_select() => self.restrict([at], &line.subject),
                        ColumnFound::WholeTable if line.denies_select() => {
                            let any = pattern.column.as_ref().map(|c| self.columns(at, c)).unwrap_or_default();
                            self.restrict(any.first().map(|_| at), &line.subject);
                        }
                        ColumnFound::Gone | ColumnFound::Columns(_) | ColumnFound::WholeTable => {}
                    }
                }
                Target::Tables(pattern) => {
                    self.table_key(rule, pattern);
                    let tables = self.matched(pattern);
                    self.warn_where_nothing_matches(&tables, pattern, pattern.column.as_ref(), &line.object);
                    if let (Some(column), true) = (&pattern.column, line.denies_select()) {
                        let has = |at: &usize| !self.columns(*at, column).is_empty();
                        let tables: Vec<usize> = tables.into_iter().filter(has).collect();
                        self.restrict(tables, &line.subject);
                    }
                }
            }
        }
    }

    fn bind_filters(&mut self) {
        let draft = self.draft;
        for (i, line) in (0u32..).zip(&draft.lines.filters) {
            if let Target::Tag(tag) = &line.target {
                self.warn_of_columns_only(tag, &line.object);
            }
            let (mut fits, mut misfits) = (vec![], vec![]);
            for at in self.tables_of(RuleRef::Filter(i), &line.target, &line.object) {
                let Some(object) = self.objects.get(at) else { continue };
                match line.condition.bind(&object.schema, &draft.users.attributes) {
                    Ok(typed) => fits.push((at, typed)),
                    Err(mistake) => misfits.push((at, mistake)),
                }
                if line.condition.hides_rows() {
                    self.restrict([at], &line.subject);
                }
            }
            let what = format!("the table is withheld from `{}`", line.subject.text);
            self.unfit(&line.target, &line.text, &misfits, !fits.is_empty(), &what);
            self.bound.filters.extend(misfits.into_iter().map(|(at, _)| ((i, at), None)));
            self.bound.filters.extend(fits.into_iter().map(|(at, typed)| ((i, at), Some(typed))));
        }
    }

    fn bind_masks(&mut self) {
        let draft = self.draft;
        for (i, line) in (0u32..).zip(&draft.lines.masks) {
            let rule = RuleRef::Mask(i);
            let tables = self.tables_of(rule, &line.target, &line.object);
            let mut columns: BTreeSet<(usize, usize)> =
                tables.iter().flat_map(|at| self.columns(*at, &line.column)).collect();
            if let Target::Tag(tag) = &line.target {
                let tagged = self.tags.get(tag).and_then(|t| self.tagged_columns.get(t));
                let tagged = tagged.into_iter().flatten().copied();
                columns.extend(tagged.filter(|(at, column)| self.is_column(*at, *column, &line.column)));
                self.withhold_tagged(rule, tag);
                if columns.is_empty() && self.tags.contains_key(tag) {
                    let what = format!("nothing with `tag:{tag}` has a column `{}`", line.column);
                    self.warn(&line.column_field, what);
                }
            }
            self.report_missing_columns(rule, line, &tables, &columns);
            let (mut fits, mut misfits) = (false, vec![]);
            for (at, column) in columns {
                let Some(field) = self.objects.get(at).and_then(|o| o.schema.fields().get(column)).cloned() else {
                    continue;
                };
                let Some(schema) = self.objects.get(at).map(|o| o.schema.clone()) else { continue };
                let typed = line.mask.bind(&field, &schema, &draft.users.attributes, self.key);
                fits |= typed.is_ok();
                let typed = typed.map_err(|mistake| misfits.push((at, mistake))).ok();
                self.bound.masks.entry((i, at)).or_default().push((column, typed));
                if line.mask != Mask::Unmasked {
                    self.restrict([at], &line.subject);
                }
            }
            let what = format!("the column is withheld from `{}`", line.subject.text);
            self.unfit(&line.target, &line.text, &misfits, fits, &what);
        }
    }

    fn restrict(&mut self, tables: impl IntoIterator<Item = usize>, subject: &Field) {
        for at in tables {
            let first = self.bound.restricted.entry(at).or_insert((subject.line, subject.column));
            *first = (subject.line, subject.column).min(*first);
        }
    }

    /// A column that a mask names and no table of its pattern has.
    fn report_missing_columns(
        &mut self,
        rule: RuleRef,
        line: &ColumnMask,
        tables: &[usize],
        columns: &BTreeSet<(usize, usize)>,
    ) {
        let (Target::Tables(pattern), true) = (&line.target, columns.is_empty() && !tables.is_empty()) else {
            return;
        };
        match (pattern.exact_table(), &line.column) {
            (Some(_), Segment::Exact(name)) => {
                for at in tables {
                    self.unknown(line.column_field.line, line.column_field.column, self.no_column(*at, name));
                    self.bound.withheld.insert((rule, *at));
                }
            }
            _ => self.warn_where_nothing_matches(tables, pattern, Some(&line.column), &line.column_field),
        }
    }

    /// The tables a `p2` or `p3` line is about, and its key.
    fn tables_of(&mut self, rule: RuleRef, target: &Target, field: &Field) -> Vec<usize> {
        match target {
            Target::Source(_) | Target::Admin => vec![],
            Target::Tag(tag) => {
                self.tag_key(rule, tag, field);
                let tagged = self.tags.get(tag).and_then(|t| self.tagged.get(t));
                tagged.into_iter().flatten().copied().collect()
            }
            Target::Tables(pattern) if pattern.exact_table().is_some() => match self.exact(pattern, field) {
                Some(at) => {
                    self.table_key(rule, pattern);
                    vec![at]
                }
                None => vec![],
            },
            Target::Tables(pattern) => {
                self.table_key(rule, pattern);
                let tables = self.matched(pattern);
                self.warn_where_nothing_matches(&tables, pattern, None, field);
                tables
            }
        }
    }

    fn table_key(&mut self, rule: RuleRef, pattern: &Pattern) {
        let number = |segment: &Segment| match segment {
            Segment::Any => Some(ANY),
            Segment::Exact(name) => self.numbers.get(name).copied(),
        };
        if let (Some(schema), Some(table)) = (number(&pattern.schema), number(&pattern.table)) {
            self.keys.push((rule, Key::Table(schema, table)));
        }
    }

    fn tag_key(&mut self, rule: RuleRef, tag: &str, field: &Field) {
        match self.tags.get(tag) {
            Some(number) => self.keys.push((rule, Key::Tag(*number))),
            None => {
                let tags: Vec<&str> = self.tags.keys().map(String::as_str).collect();
                let what = format!("no object carries `tag:{tag}`{}", did_you_mean(tag, &tags));
                self.warn(field, what);
            }
        }
    }

    /// What is about tables, said of a tag that only columns carry, never applies.
    fn warn_of_columns_only(&mut self, tag: &str, field: &Field) {
        let number = self.tags.get(tag);
        let on_tables = number.is_some_and(|n| self.tagged.contains_key(n));
        let on_columns = number.is_some_and(|n| self.tagged_columns.contains_key(n));
        if on_columns && !on_tables {
            self.warn(field, format!("`tag:{tag}` is on columns only; this line is about tables"));
        }
    }

    /// A deny or mask on a tag whose column is gone from a table: the table is withheld with it.
    fn withhold_tagged(&mut self, rule: RuleRef, tag: &str) {
        let missing = self.tags.get(tag).and_then(|t| self.tagged_missing.get(t));
        self.bound.withheld.extend(missing.into_iter().flatten().map(|at| (rule, *at)));
    }

    /// The object an exact line names; reports where there is none.
    fn exact(&mut self, pattern: &Pattern, field: &Field) -> Option<usize> {
        let (schema, table) = pattern.exact_table()?;
        match self.find(schema, table) {
            Ok(at) => Some(at),
            Err(Absent::Unanswered) => None,
            Err(Absent::Unknown(what)) => {
                self.unknown(field.line, field.column, what);
                None
            }
        }
    }

    fn find(&self, schema: &str, table: &str) -> Result<usize, Absent> {
        let number = |name: &str| self.numbers.get(name).copied();
        if let (Some(schema), Some(table)) = (number(schema), number(table))
            && let Some(at) = self.by_key.get(&(schema, table))
        {
            return Ok(*at);
        }
        if self.from.unanswered.contains(schema) || self.from.awaits(schema, table) {
            return Err(Absent::Unanswered);
        }
        let name = TableName::new(schema, table).to_string();
        let is_ours = schema == "lakegate";
        if !is_ours && !self.from.schemas.contains(schema) && !self.from.objects.iter().any(|o| o.name.schema == schema)
        {
            let schemas: Vec<&str> = self.from.schemas.iter().map(String::as_str).chain(["lakegate"]).collect();
            return Err(Absent::Unknown(format!("there is no schema `{schema}`{}", did_you_mean(schema, &schemas))));
        }
        let names: Vec<String> = self.objects.iter().map(|o| o.name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["lakegate.admin"]).collect();
        Err(Absent::Unknown(format!("there is no table `{name}`{}", did_you_mean(&name, &names))))
    }

    fn exact_column(&mut self, at: usize, pattern: &Pattern, field: &Field) -> ColumnFound {
        let Some(Segment::Exact(name)) = &pattern.column else {
            return ColumnFound::WholeTable;
        };
        let columns = self.objects.get(at).map(|o| o.columns_named(name)).unwrap_or_default();
        if columns.is_empty() {
            let what = self.no_column(at, name);
            self.unknown(field.line, field.column_of(pattern.column_at), what);
            return ColumnFound::Gone;
        }
        ColumnFound::Columns(columns)
    }

    fn no_column(&self, at: usize, name: &str) -> String {
        let Some(object) = self.objects.get(at) else { return String::new() };
        let columns: Vec<&str> = object.schema.fields().iter().map(|f| f.name().as_str()).collect();
        format!("`{}` has no column `{name}`{}", object.name, did_you_mean(name, &columns))
    }

    /// What a pattern with a `*` is about.
    fn matched(&self, pattern: &Pattern) -> Vec<usize> {
        let is_match = |o: &BoundObject| {
            !o.named_only && pattern.schema.matches(&nfc(&o.name.schema)) && pattern.table.matches(&nfc(&o.name.table))
        };
        self.objects.iter().enumerate().filter(|(_, o)| is_match(o)).map(|(i, _)| i).collect()
    }

    fn columns(&self, at: usize, segment: &Segment) -> Vec<(usize, usize)> {
        let count = self.objects.get(at).map_or(0, |o| o.schema.fields().len());
        (0..count).filter(|column| self.is_column(at, *column, segment)).map(|column| (at, column)).collect()
    }

    fn is_column(&self, at: usize, column: usize, segment: &Segment) -> bool {
        let object = self.objects.get(at);
        object.is_some_and(|o| o.schema.fields().get(column).is_some_and(|f| o.matches_column(segment, f.name())))
    }

    fn warn_where_nothing_matches(
        &mut self,
        tables: &[usize],
        pattern: &Pattern,
        column: Option<&Segment>,
        field: &Field,
    ) {
        let has_column = |at: &usize| column.is_none_or(|c| !self.columns(*at, c).is_empty());
        let unanswered = self.from.unanswered.iter().any(|schema| pattern.schema.matches(schema));
        let awaited = self.from.awaited.iter().any(|(schema, _)| pattern.schema.matches(schema));
        if unanswered || awaited || tables.iter().any(has_column) {
            return;
        }
        let what = match (&pattern.schema, tables.is_empty(), column) {
            (Segment::Exact(schema), true, _) if !self.from.schemas.contains(schema) => {
                let schemas: Vec<&str> = self.from.schemas.iter().map(String::as_str).collect();
                format!("there is no schema `{schema}`{}", did_you_mean(schema, &schemas))
            }
            (_, false, Some(Segment::Exact(name))) => format!("no table of this pattern has a column `{name}`"),
            _ => format!("`{}` matches nothing", field.text),
        };
        self.warn(field, what);
    }

    fn check_schema(&mut self, pattern: &Pattern, field: &Field) {
        if let Segment::Exact(schema) = &pattern.schema
            && !self.from.schemas.contains(schema)
            && !self.from.awaited.iter().any(|(of, _)| of == schema)
        {
            let schemas: Vec<&str> = self.from.schemas.iter().map(String::as_str).collect();
            let what = format!("there is no schema `{schema}`{}", did_you_mean(schema, &schemas));
            self.warn(field, what);
        }
    }

    fn check_source(&mut self, name: &str, field: &Field) {
        if !self.from.sources.contains(name) {
            let sources: Vec<&str> = self.from.sources.iter().map(String::as_str).collect();
            let what = format!("there is no PostgreSQL source `{name}`{}", did_you_mean(name, &sources));
            self.unknown(field.line, field.column_of(SOURCE.len()), what);
        }
    }

    /// A filter or mask that does not fit tables it is about. In a line that is new that is a mistake, for it must fit them
    /// all. In one in force a table came or changed since, and so it is where the line was edited and fits others: what it
    /// cannot judge is withheld, and said.
    fn unfit(&mut self, target: &Target, text: &Field, misfits: &[(usize, Mistake)], fits: bool, withheld: &str) {
        let exact = matches!(target, Target::Tables(p) if p.exact_table().is_some());
        let edited = fits && self.draft.about(text.line).is_some_and(|about| self.from.in_force.contains(&about));
        for (at, mistake) in misfits {
            let what = match self.objects.get(*at).filter(|_| !exact) {
                Some(object) => format!("{} (for `{}`)", mistake.text, object.name),
                None => mistake.text.clone(),
            };
            let (line, column) = (text.line, text.column_of(mistake.at));
            match edited || self.is_in_force(line) {
                true => {
                    let what = format!("{what}; {withheld}");
                    self.report.warnings.push(&self.draft.policy_file, line, column, what);
                }
                false => self.report.faults.push(&self.draft.policy_file, line, column, what),
            }
        }
    }

    fn warn(&mut self, field: &Field, what: String) {
        self.report.warnings.push(&self.draft.policy_file, field.line, field.column, what);
    }

    fn is_in_force(&self, line: u32) -> bool {
        self.draft.print(line).is_some_and(|print| self.from.in_force.contains(&print))
    }

    /// A fault in a new line; in one that is in force a warning, for then it is the world that changed.
    fn unknown(&mut self, line: u32, column: u32, what: String) {
        let list = if self.is_in_force(line) { &mut self.report.warnings } else { &mut self.report.faults };
        list.push(&self.draft.policy_file, line, column, what);
    }
}

enum ColumnFound {
    WholeTable,
    /// One, unless two are spelt alike but for their composition.
    Columns(Vec<usize>),
    Gone,
}
