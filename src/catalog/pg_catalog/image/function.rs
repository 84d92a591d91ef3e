//! Functions as catalogs show them: what pg_get_functiondef and its relatives write, and information_schema tells. How a
//! function is chosen and computed is `sql`'s.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::fixed::lines;
use crate::catalog::pg_catalog::types::format_type;
use crate::types::Identifier;

/// `pg_language.oid` of SQL.
const SQL: u32 = 14;
const ANY: u32 = 2276;
const RECORD: u32 = 2249;

/// A row of pg_proc.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) oid: u32,
    pub(crate) name: &'static str,
    pub(crate) schema: u32,
    pub(crate) language: u32,
    /// `f`, `p`, `a`, `w`.
    pub(crate) kind: &'static str,
    pub(crate) strict: bool,
    pub(crate) set: bool,
    pub(crate) leakproof: bool,
    pub(crate) volatility: &'static str,
    pub(crate) result: u32,
    row: Vec<&'static str>,
}

/// One of all arguments, those that come out too.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) type_oid: u32,
    /// `i`, `o`, `b`, `v`, `t`.
    pub(crate) mode: &'static str,
    default: Option<&'static str>,
}

static FUNCTIONS: LazyLock<BTreeMap<u32, Function>> =
    LazyLock::new(|| lines("pg_proc").filter_map(function).map(|function| (function.oid, function)).collect());

/// Every function, by oid.
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    FUNCTIONS.values()
}

pub(crate) fn function_by_oid(oid: u32) -> Option<&'static Function> {
    FUNCTIONS.get(&oid)
}

fn function(line: &'static str) -> Option<Function> {
    let row: Vec<&'static str> = line.split('\t').collect();
    let number = |at: usize| row.get(at)?.parse::<u32>().ok();
    let holds = |at: usize| row.get(at).map(|text| *text == "t");
    Some(Function {
        oid: number(0)?,
        name: row.get(1)?,
        schema: number(2)?,
        language: number(4)?,
        kind: row.get(9)?,
        leakproof: holds(11)?,
        strict: holds(12)?,
        set: holds(13)?,
        volatility: row.get(14)?,
        result: number(18)?,
        row,
    })
}

impl Function {
    fn cell(&self, at: usize) -> Option<&'static str> {
        self.row.get(at).copied().filter(|text| *text != "\\N")
    }

    fn items(&self, at: usize) -> Vec<&'static str> {
        let inner = self.cell(at).map(|text| text.trim_start_matches('{').trim_end_matches('}')).unwrap_or_default();
        inner.split([',', ' ']).filter(|item| !item.is_empty()).map(|item| item.trim_matches('"')).collect()
    }

    pub(crate) fn specific_name(&self) -> String {
        format!("{}_{}", self.name, self.oid)
    }

    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        let (types, modes, names) = (self.items(20), self.items(21), self.items(22));
        let types = if types.is_empty() { self.items(19) } else { types };
        let mut all: Vec<Parameter> = types
            .iter()
            .enumerate()
            .map(|(at, text)| Parameter {
                name: names.get(at).copied().unwrap_or_default(),
                type_oid: text.parse().unwrap_or(0),
                mode: modes.get(at).copied().unwrap_or("i"),
                default: None,
            })
            .collect();
        // defaults are those of the last arguments that go in
        let defaults: Vec<&'static str> = self.cell(23).map(|text| text.split(", ").collect()).unwrap_or_default();
        let inputs = all.iter_mut().filter(|p| matches!(p.mode, "i" | "b" | "v")).rev();
        inputs.zip(defaults.into_iter().rev()).for_each(|(parameter, default)| parameter.default = Some(default));
        all
    }

    /// `pg_get_function_arg_default`, by place from 0 among those that go in.
    pub(crate) fn default_of(&self, place: usize) -> Option<&'static str> {
        let inputs = self.parameters().into_iter().filter(|p| matches!(p.mode, "i" | "b" | "v"));
        inputs.map(|p| p.default).nth(place).flatten()
    }

    /// `pg_get_function_arguments`; without defaults `pg_get_function_identity_arguments`. Columns of a table are the result's.
    pub(crate) fn arguments(&self, with_defaults: bool) -> String {
        let shown = self.parameters().into_iter().filter(|p| p.mode != "t");
        let one = |p: Parameter| {
            let mode = match p.mode {
                "o" => "OUT ",
                "b" => "INOUT ",
                "v" => "VARIADIC ",
                _ => "",
            };
            let name = if p.name.is_empty() { String::new() } else { format!("{} ", Identifier(p.name)) };
            let default = p.default.filter(|_| with_defaults).map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
            format!("{mode}{name}{}{default}", type_text(p.type_oid))
        };
        let all: Vec<String> = shown.map(one).collect();
        // the arguments that are aggregated follow the direct ones
        match super::fixed::ordered_set_arguments(self.oid) {
            Some(direct) => {
                let (before, after) = all.split_at(direct.min(all.len()));
                // a hypothetical set's VARIADIC "any" stands on both sides
                let after = if after.is_empty() { &before[before.len().saturating_sub(1)..] } else { after };
                let between = if before.is_empty() { "ORDER BY " } else { " ORDER BY " };
                format!("{}{between}{}", before.join(", "), after.join(", "))
            }
            None => all.join(", "),
        }
    }

    /// `pg_get_function_result`; `None` for a procedure.
    pub(crate) fn result_text(&self) -> Option<String> {
        if self.kind == "p" {
            return None;
        }
        let columns: Vec<Parameter> = self.parameters().into_iter().filter(|p| p.mode == "t").collect();
        if !columns.is_empty() {
            let one = |p: Parameter| format!("{} {}", Identifier(p.name), type_text(p.type_oid));
            return Some(format!("TABLE({})", columns.into_iter().map(one).collect::<Vec<_>>().join(", ")));
        }
        Some(format!("{}{}", if self.set { "SETOF " } else { "" }, type_text(self.result)))
    }

    /// `pg_get_function_sqlbody`, without what COPY escapes.
    pub(crate) fn sql_body(&self) -> Option<String> {
        self.cell(27).map(super::copy::unescaped)
    }

    /// `pg_get_functiondef`; `None` for an aggregate, which has none.
    pub(crate) fn definition(&self) -> Option<String> {
        if self.kind == "a" {
            return None;
        }
        let schema = crate::catalog::visible::system_schema_name(self.schema).unwrap_or("public");
        let what = if self.kind == "p" { "PROCEDURE" } else { "FUNCTION" };
        let mut text =
            format!("CREATE OR REPLACE {what} {schema}.{}({})\n", Identifier(self.name), self.arguments(true));
        if let Some(result) = self.result_text() {
            text += &format!(" RETURNS {result}\n");
        }
        let language = match self.language {
            12 => "internal",
            SQL => "sql",
            _ => "c",
        };
        text += &format!(" LANGUAGE {language}\n");
        let mut traits = vec![];
        traits.extend((self.kind == "w").then_some("WINDOW".to_owned()));
        traits.extend(match self.volatility {
            "i" => Some("IMMUTABLE".to_owned()),
            "s" => Some("STABLE".to_owned()),
            _ => None,
        });
        traits.extend(match self.cell(15) {
            Some("s") => Some("PARALLEL SAFE".to_owned()),
            Some("r") => Some("PARALLEL RESTRICTED".to_owned()),
            _ => None,
        });
        traits.extend(self.strict.then_some("STRICT".to_owned()));
        traits.extend(self.leakproof.then_some("LEAKPROOF".to_owned()));
        let usual_cost = if matches!(language, "internal" | "c") { "1" } else { "100" };
        traits.extend(self.cell(5).filter(|cost| *cost != usual_cost).map(|cost| format!("COST {cost}")));
        let usual_rows = if self.set { "1000" } else { "0" };
        traits.extend(self.cell(6).filter(|rows| *rows != usual_rows).map(|rows| format!("ROWS {rows}")));
        if let Some(support) = self.cell(8).and_then(|oid| function_by_oid(oid.parse().ok()?)) {
            traits.push(format!("SUPPORT {}", support.name));
        }
        if !traits.is_empty() {
            text += &format!(" {}\n", traits.join(" "));
        }
        match self.sql_body() {
            Some(body) => text += &format!("{body}\n"),
            None => {
                let source = super::copy::unescaped(self.cell(25).unwrap_or_default());
                let tag = if self.kind == "p" { "$procedure$" } else { "$function$" };
                let library = self.cell(26).map(|library| format!("'{library}', ")).unwrap_or_default();
                text += &format!("AS {library}{tag}{source}{tag}\n");
            }
        }
        Some(text)
    }
}

fn type_text(oid: u32) -> String {
    match oid {
        ANY => "\"any\"".to_owned(),
        RECORD => "record".to_owned(),
        oid => format_type(oid, None),
    }
}
