//! Deletion vectors → the bytes of a Puffin file, and where each of them lies in it. The footer is left uncompressed: there
//! are readers that refuse it otherwise. Nothing is read back from a footer: manifests say where a vector is.

use roaring::RoaringTreemap;
use serde_json::json;

use super::vector;
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"PFA1";
/// The blob's one field: the position of a row.
const POSITION_FIELD: i32 = super::super::schema::DELETED_POSITION;

/// One data file's vector in a Puffin file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lake) struct Placed {
    pub offset: u64,
    pub length: u64,
}

/// A file of these vectors, by the path of their data file; their places in the same order.
pub(in crate::lake) fn file(vectors: &[(&str, &RoaringTreemap)]) -> Result<(Vec<u8>, Vec<Placed>)> {
    let mut bytes = MAGIC.to_vec();
    let (mut blobs, mut places) = (vec![], vec![]);
    for (path, positions) in vectors {
        let blob = vector::encode(positions)?;
        let place = Placed { offset: bytes.len() as u64, length: blob.len() as u64 };
        bytes.extend_from_slice(&blob);
        blobs.push(json!({
            "type": "deletion-vector-v1",
            "fields": [POSITION_FIELD],
            // The specification's word for "inherited from the manifest".
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": place.offset,
            "length": place.length,
            "properties": { "referenced-data-file": path, "cardinality": positions.len().to_string() },
        }));
        places.push(place);
    }
    let created_by = concat!("lakegate ", env!("CARGO_PKG_VERSION"));
    let footer = json!({ "blobs": blobs, "properties": { "created-by": created_by } }).to_string();
    let length = i32::try_from(footer.len()).map_err(|_| Error::unsupported("a commit of so many deletion vectors"))?;
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(footer.as_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(MAGIC);
    Ok((bytes, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_lie_where_it_is_said() {
        let (a, b): (RoaringTreemap, RoaringTreemap) = ([1, 3].into_iter().collect(), (0..9).collect());
        let (bytes, places) = file(&[("x", &a), ("y", &b)]).unwrap();
        for (place, positions) in places.iter().zip([a, b]) {
            let blob = &bytes[place.offset as usize..(place.offset + place.length) as usize];
            assert_eq!(vector::decode(blob, positions.len()).unwrap(), positions);
        }
        let length = i32::from_le_bytes(*bytes[..bytes.len() - 8].last_chunk().unwrap()) as usize;
        let footer = &bytes[bytes.len() - 12 - length..bytes.len() - 12];
        let footer: serde_json::Value = serde_json::from_slice(footer).unwrap();
        assert_eq!(footer["blobs"][1]["properties"], json!({ "referenced-data-file": "y", "cardinality": "9" }));
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&MAGIC[..], &MAGIC[..]));
    }
}
