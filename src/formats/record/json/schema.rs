//! Connect's frame `{"schema": …, "payload": …}`: the schema, which a connector writes into every record alike, read once
//! for as long as its text stays the same. It says how columns are written, never which ones there are.

use serde::Deserialize;

use super::cursor::Cursor;
use crate::formats::record::Declared;
use crate::formats::record::given::{Decimals, How, Problem};

/// Schemas that are remembered of a slice of records.
const KNOWN_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The schema is the row's.
    Row,
    /// The row's schema is that of its member `after`.
    Event,
}

/// Texts of schemas and what each says of the columns.
#[derive(Default)]
pub(super) struct Known(Vec<(String, Vec<How>)>);

/// A schema of Connect, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schema {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    field: Option<String>,
    fields: Vec<Schema>,
    items: Option<Box<Schema>>,
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    scale: Option<String>,
}

impl Known {
    /// Stands at the payload afterwards, if there is a frame; which schema it is, and whether there is a frame to close.
    pub(super) fn unwrap(
        &mut self,
        cursor: &mut Cursor<'_>,
        declared: &Declared,
        of: Of,
    ) -> Result<(Option<usize>, bool), Problem> {
        let mut ahead = cursor.clone();
        if ahead.peek() != Some(b'{') || !ahead.open(b'{', b'}')? || ahead.name()?.raw != "schema" {
            return Ok((None, false));
        }
        ahead.peek();
        // The last one first: it is nearly always the same again.
        let known = self.0.iter().rposition(|(text, _)| ahead.take(text));
        let set = match known {
            Some(set) => Some(set),
            None => {
                let text = ahead.value()?;
                match text {
                    "null" => None,
                    _ => self.learn(text, declared, of),
                }
            }
        };
        if !ahead.more(b'}')? || ahead.name()?.raw != "payload" {
            return Ok((None, false));
        }
        *cursor = ahead;
        Ok((set, true))
    }

    /// What the schema says, or else the declaration.
    pub(super) fn hows<'k>(&'k self, set: Option<usize>, declared: &'k Declared) -> &'k [How] {
        set.and_then(|set| self.0.get(set)).map_or(&declared.hows, |(_, hows)| hows)
    }

    fn learn(&mut self, text: &str, declared: &Declared, of: Of) -> Option<usize> {
        let schema: Schema = serde_json::from_str(text).ok()?;
        if !matches!(schema.kind.as_str(), "struct") && of == Of::Event {
            return None;
        }
        let row = match of {
            Of::Row => Some(&schema),
            Of::Event => schema.fields.iter().find(|field| field.field.as_deref() == Some("after")),
        };
        let mut hows = declared.hows.clone();
        for (how, column) in hows.iter_mut().zip(&declared.declaration.columns) {
            let mut at = row;
            for name in &column.path {
                at = at.and_then(|of| of.fields.iter().find(|field| field.field.as_deref() == Some(name)));
            }
            if let Some(schema) = at {
                *how = schema.how(*how);
            }
        }
        // A key that is one value is its key column's.
        if let (true, [column]) = (row.is_some_and(|row| row.kind != "struct"), declared.declaration.key.as_slice())
            && let (Some(how), Some(row)) = (hows.get_mut(*column), row)
        {
            *how = row.how(*how);
        }
        if self.0.len() == KNOWN_MAX {
            self.0.remove(0);
        }
        self.0.push((text.to_owned(), hows));
        Some(self.0.len() - 1)
    }
}

impl Schema {
    fn how(&self, how: How) -> How {
        let of = self.items.as_deref().unwrap_or(self);
        let scale = of.parameters.scale.as_ref().and_then(|scale| scale.parse().ok());
        let decimals = match of.kind.as_str() {
            "string" => Decimals::String,
            _ => Decimals::Precise,
        };
        let how = How { decimals, ..how };
        of.name.as_ref().map_or(how, |name| how.named(name, scale))
    }
}
