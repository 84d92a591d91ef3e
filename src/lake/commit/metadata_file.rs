//! A table's metadata → the bytes of its file and the name of it: where the table wants its metadata, numbered on from the
//! file before, in gzip where the table asks for that. It writes nothing.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::TableMetadata;

use super::super::{TableKey, shown};
use super::snapshot::metadata_path;
use crate::error::{Error, Kind, Result};

const CODEC: &str = "write.metadata.compression-codec";

/// Name and bytes.
pub(super) fn metadata_file(
    key: &TableKey,
    metadata: &TableMetadata,
    before: Option<&str>,
) -> Result<(String, Vec<u8>)> {
    let json = serde_json::to_vec(metadata).map_err(|e| Error::internal("metadata as JSON").with_source(e))?;
    let (ending, bytes) = match metadata.properties().get(CODEC).map(|codec| codec.to_lowercase()).as_deref() {
        None | Some("none" | "") => ("", json),
        Some("gzip") => (".gz", gzip(&json)?),
        Some(_) => {
            let message = format!("property \"{CODEC}\" of table {} has a value that is not supported", shown(key));
            return Err(Error::new(Kind::Unsupported, message));
        }
    };
    let version = before.map_or(0, |before| version(before).saturating_add(1));
    let name = format!("{version:05}-{}{ending}.metadata.json", uuid::Uuid::new_v4());
    Ok((metadata_path(metadata, &name), bytes))
}

/// The number that a metadata file's name begins with, `00012-….metadata.json` or `v12.metadata.json`; 0 for another name.
fn version(location: &str) -> u32 {
    let name = location.rsplit('/').next().unwrap_or_default();
    let name = name.strip_prefix('v').unwrap_or(name);
    let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
    name.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut packed = GzEncoder::new(vec![], Compression::default());
    let done = packed.write_all(bytes).and_then(|()| packed.finish());
    done.map_err(|e| Error::internal("gzip in memory").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn files_are_numbered_on_from_whatever_was_before() {
        for (name, expect) in [
            ("s3://b/t/metadata/00012-00000000-0000-0000-0000-000000000000.metadata.json", 12),
            ("file:///w/t/metadata/v7.metadata.json", 7),
            ("v7.gz.metadata.json", 7),
            ("elsewhere.json", 0),
            ("", 0),
            ("99999999999-x.metadata.json", 0),
        ] {
            assert_eq!(version(name), expect, "{name}");
        }
    }
}
