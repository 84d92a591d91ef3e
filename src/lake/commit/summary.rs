//! What a snapshot says of itself: files and rows that came and went, and the totals. They are kept by our own arithmetic,
//! because the crate's refuses some operations.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{DataContentType, DataFile, DataFileFormat};

use super::action::Change;

/// Numbers by the names that the specification's appendix F has for them.
pub(super) fn counts(before: Option<&HashMap<String, String>>, change: &Change) -> HashMap<String, String> {
    let added = change.data.iter().chain(&change.deletes).map(|(_, file)| file);
    let (added, removed) = (Sums::of(added), Sums::of(change.removed.values().map(|e| &e.file)));
    let mut said = HashMap::new();
    // Said even where it is none, as other writers do.
    for name in ["added-data-files", "added-records", "added-files-size"] {
        said.insert(name.to_string(), "0".to_string());
    }
    for (sums, came) in [(&added, true), (&removed, false)] {
        said.extend(sums.0.iter().map(|(what, n)| (what.name(came).to_string(), n.to_string())));
    }
    let totals = [
        ("total-data-files", What::DataFiles),
        ("total-records", What::Rows),
        ("total-files-size", What::Bytes),
        ("total-delete-files", What::DeleteFiles),
        ("total-position-deletes", What::Positions),
        ("total-equality-deletes", What::Keys),
    ];
    for (name, what) in totals {
        // A total that the snapshot before did not know is not made up.
        let total = match before {
            None => Some(0),
            Some(before) => before.get(name).and_then(|total| total.parse::<u64>().ok()),
        };
        let total = total.and_then(|t| t.checked_add(added.get(what))).and_then(|t| t.checked_sub(removed.get(what)));
        said.extend(total.map(|t| (name.to_string(), t.to_string())));
    }
    said
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    DataFiles,
    Rows,
    Bytes,
    DeleteFiles,
    PositionFiles,
    Vectors,
    KeyFiles,
    Positions,
    Keys,
}

impl What {
    fn name(self, came: bool) -> &'static str {
        match (self, came) {
            (Self::DataFiles, true) => "added-data-files",
            (Self::DataFiles, false) => "deleted-data-files",
            (Self::Rows, true) => "added-records",
            (Self::Rows, false) => "deleted-records",
            (Self::Bytes, true) => "added-files-size",
            (Self::Bytes, false) => "removed-files-size",
            (Self::DeleteFiles, true) => "added-delete-files",
            (Self::DeleteFiles, false) => "removed-delete-files",
            (Self::PositionFiles, true) => "added-position-delete-files",
            (Self::PositionFiles, false) => "removed-position-delete-files",
            (Self::Vectors, true) => "added-dvs",
            (Self::Vectors, false) => "removed-dvs",
            (Self::KeyFiles, true) => "added-equality-delete-files",
            (Self::KeyFiles, false) => "removed-equality-delete-files",
            (Self::Positions, true) => "added-position-deletes",
            (Self::Positions, false) => "removed-position-deletes",
            (Self::Keys, true) => "added-equality-deletes",
            (Self::Keys, false) => "removed-equality-deletes",
        }
    }
}

#[derive(Default)]
struct Sums(BTreeMap<What, u64>);

impl Sums {
    fn of<'a>(files: impl Iterator<Item = &'a DataFile>) -> Self {
        let mut sums = Self::default();
        for file in files {
            let rows = file.record_count();
            match (file.content_type(), file.file_format()) {
                (DataContentType::Data, _) => sums.add(&[(What::DataFiles, 1), (What::Rows, rows)]),
                (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                    sums.add(&[(What::DeleteFiles, 1), (What::Vectors, 1), (What::Positions, rows)]);
                }
                (DataContentType::PositionDeletes, _) => {
                    sums.add(&[(What::DeleteFiles, 1), (What::PositionFiles, 1), (What::Positions, rows)]);
                }
                (DataContentType::EqualityDeletes, _) => {
                    sums.add(&[(What::DeleteFiles, 1), (What::KeyFiles, 1), (What::Keys, rows)]);
                }
            }
            // Several vectors share a file: what a vector adds is its own part of it.
            let own = file.content_size_in_bytes().and_then(|bytes| u64::try_from(bytes).ok());
            sums.add(&[(What::Bytes, own.unwrap_or_else(|| file.file_size_in_bytes()))]);
        }
        sums
    }

    fn add(&mut self, counts: &[(What, u64)]) {
        for (what, n) in counts {
            let sum = self.0.entry(*what).or_default();
            *sum = sum.saturating_add(*n);
        }
    }

    fn get(&self, what: What) -> u64 {
        self.0.get(&what).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::DataFileBuilder;

    use super::*;

    fn file(rows: u64, bytes: u64) -> (i32, DataFile) {
        let mut builder = DataFileBuilder::default();
        builder.content(DataContentType::Data).file_path("f".into()).file_format(DataFileFormat::Parquet);
        (0, builder.record_count(rows).file_size_in_bytes(bytes).build().unwrap())
    }

    #[test]
    fn totals_grow_and_unknown_ones_stay_unknown() {
        let change = |data| Change { data, ..Change::default() };
        let first = counts(None, &change(vec![file(4, 60), file(6, 40)]));
        assert_eq!(first["total-records"], "10");
        let second = counts(Some(&first), &change(vec![file(5, 50)]));
        assert_eq!((second["added-records"].as_str(), second["total-records"].as_str()), ("5", "15"));
        assert_eq!((second["total-data-files"].as_str(), second["total-files-size"].as_str()), ("3", "150"));
        let foreign = HashMap::from([("total-records".to_string(), "7".to_string())]);
        let third = counts(Some(&foreign), &change(vec![file(5, 50)]));
        assert_eq!((third.get("total-records").map(String::as_str), third.get("total-data-files")), (Some("12"), None));
    }
}
