//! How much a manifest says of each column: the properties `write.metadata.metrics.*`. What a value that cannot be understood
//! stands for is the default.

use std::collections::HashMap;

use iceberg::spec::{Schema, TableMetadata};

const DEFAULT: &str = "write.metadata.metrics.default";
const OF_COLUMN: &str = "write.metadata.metrics.column.";
/// Columns after that many have no metrics where nobody said which they should have: of very wide tables manifests would be
/// larger than what they save.
const INFERRED_MAX: (&str, usize) = ("write.metadata.metrics.max-inferred-column-defaults", 100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its size alone.
    None,
    Counts,
    /// Bounds of so many characters or bytes.
    Truncate(usize),
    Full,
}

/// Of the columns of one table.
pub(super) struct Modes {
    default: Mode,
    is_default_said: bool,
    of: HashMap<i32, Mode>,
    inferred_max: usize,
}

impl Modes {
    pub(super) fn of(metadata: &TableMetadata) -> Self {
        let (properties, schema) = (metadata.properties(), metadata.current_schema());
        let said = properties.get(DEFAULT).and_then(|text| Mode::read(text));
        let default = said.unwrap_or(Mode::Truncate(16));
        let inferred_max = properties.get(INFERRED_MAX.0).and_then(|text| text.parse().ok()).unwrap_or(INFERRED_MAX.1);
        let mut of: HashMap<i32, Mode> =
            sorted_by(metadata, schema).map(|id| (id, default.at_least_bounds())).collect();
        of.extend(properties.iter().filter_map(|(name, text)| {
            let id = schema.field_id_by_name(name.strip_prefix(OF_COLUMN)?)?;
            Some((id, Mode::read(text)?))
        }));
        Self { default, is_default_said: said.is_some(), of, inferred_max }
    }

    /// Of the column that stands at `place` among those that hold values.
    pub(super) fn at(&self, place: usize, id: i32) -> Mode {
        match self.of.get(&id) {
            Some(mode) => *mode,
            None if !self.is_default_said && place >= self.inferred_max => Mode::None,
            None => self.default,
        }
    }
}

/// Files are found by the columns they are sorted by.
fn sorted_by<'a>(metadata: &'a TableMetadata, schema: &'a Schema) -> impl Iterator<Item = i32> + 'a {
    let ids = metadata.default_sort_order().fields.iter().map(|field| field.source_id);
    ids.filter(|id| schema.field_by_id(*id).is_some())
}

impl Mode {
    /// `none`, `counts`, `truncate(16)`, `full`.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            other => {
                let length = other.strip_prefix("truncate(")?.strip_suffix(')')?.trim().parse().ok();
                length.filter(|length| *length > 0).map(Self::Truncate)
            }
        }
    }

    fn at_least_bounds(self) -> Self {
        match self {
            Self::None | Self::Counts => Self::Truncate(16),
            Self::Truncate(_) | Self::Full => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn modes_are_read_as_other_writers_read_them() {
        for (text, expect) in [
            ("none", Some(Mode::None)),
            ("Counts", Some(Mode::Counts)),
            ("truncate(16)", Some(Mode::Truncate(16))),
            ("truncate( 7 )", Some(Mode::Truncate(7))),
            ("full", Some(Mode::Full)),
            ("truncate(0)", None),
            ("truncate(x)", None),
            ("", None),
        ] {
            assert_eq!(Mode::read(text), expect, "{text}");
        }
    }
}
