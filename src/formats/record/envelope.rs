//! What an envelope says beside the row, and what follows from it for columns: how values are written where no schema says
//! so, and the placeholders of values that were left out. The formats find it in their bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::given::{Decimals, How, Unit};
use super::types::{self, Ty, oid};
use super::{Column, Declaration, Envelope, Position};

/// How a column's values are written as far as the declaration tells.
pub(super) fn how(declaration: &Declaration, column: &Column, ty: Ty) -> How {
    let connect = declaration.envelope != Envelope::None;
    let of = types::element(ty.oid).unwrap_or(ty.oid);
    let unit = match of {
        _ if column.unit.is_some() => column.unit,
        oid::TIMESTAMP | oid::TIMESTAMPTZ if !connect => Some(Unit::Millis),
        oid::DATE if connect => Some(Unit::Days),
        // Debezium's `adaptive`: as fine as the column.
        oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ if connect => match ty.typmod {
            0..=3 => Some(Unit::Millis),
            _ => Some(Unit::Micros),
        },
        oid::INTERVAL if connect => Some(Unit::Micros),
        _ => None,
    };
    let decimals = if connect { declaration.decimals } else { Decimals::String };
    How { unit, scale: None, decimals, encoding: column.encoding, connect }
}

/// What Debezium writes in the place of a value that it does not have, in each form.
#[derive(Clone, Debug)]
pub(super) struct Placeholder {
    pub(super) text: String,
    base64: String,
    hex: String,
    /// Lists of it as Connect's JSON has them: of texts, of numbers, of uuids.
    lists: [String; 3],
}

/// Java's `UUID.nameUUIDFromBytes` of the placeholder that Debezium has by itself.
const OF_UUIDS: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

impl Placeholder {
    pub(super) fn new(text: &str) -> Self {
        let bytes: Vec<String> = text.bytes().map(|byte| byte.cast_signed().to_string()).collect();
        let quoted = serde_json::Value::from(text).to_string();
        Self {
            text: text.to_owned(),
            base64: STANDARD.encode(text),
            hex: text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            lists: [format!("[{quoted}]"), format!("[{}]", bytes.join(",")), format!("[\"{OF_UUIDS}\"]")],
        }
    }

    /// A string in the place of any value.
    pub(super) fn is_text(&self, text: &str) -> bool {
        text.len() >= self.text.len() && (text == self.text || text == self.base64 || text == self.hex)
    }

    pub(super) fn is_bytes(&self, bytes: &[u8]) -> bool {
        bytes == self.text.as_bytes()
    }

    /// A list in JSON that `text` begins with.
    pub(super) fn list<'p>(&'p self, text: &str) -> Option<&'p str> {
        self.lists.iter().map(String::as_str).find(|list| text.starts_with(list))
    }

    /// A list of these texts.
    pub(super) fn is_text_of_list(&self, text: &str) -> bool {
        text == self.text || text == OF_UUIDS
    }

    /// An object in JSON: hstore's map of it to itself, a geometry of its bytes.
    pub(super) fn is_document(&self, document: &str) -> bool {
        let map = || -> Option<bool> {
            let map: std::collections::BTreeMap<String, String> = serde_json::from_str(document).ok()?;
            Some(map.len() == 1 && map.iter().all(|(key, value)| *key == self.text && *value == self.text))
        };
        (document.contains(&self.text) && map().unwrap_or(false)) || self.is_geometry(document)
    }

    fn is_geometry(&self, document: &str) -> bool {
        #[derive(serde::Deserialize)]
        struct Geometry {
            wkb: String,
        }
        document.contains(&self.base64)
            && serde_json::from_str(document).is_ok_and(|Geometry { wkb }| wkb == self.base64)
    }
}

/// What an event says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) ts_ms: Option<i64>,
    pub(super) ts_us: Option<i64>,
    pub(super) ts_ns: Option<i64>,
    pub(super) position: Position,
}

impl Said {
    /// In microseconds, by the finest that is said.
    pub(super) fn at_micros(&self) -> Option<i64> {
        let coarse = || self.ts_ms.and_then(|ms| ms.checked_mul(1_000));
        self.ts_us.or_else(|| self.ts_ns.map(|ns| ns.div_euclid(1_000))).or_else(coarse)
    }
}

/// `["before","own"]`, either of which may be null.
pub(super) fn sequence(text: &str) -> Option<(u64, u64)> {
    let [before, own]: [Option<String>; 2] = serde_json::from_str(text).ok()?;
    let number = |text: Option<String>| text.map_or(Some(0), |text| text.parse().ok());
    Some((number(before)?, number(own)?))
}
