//! The table properties that maintenance heeds: Iceberg's own, and the keeper's. What a value that cannot be understood
//! stands for is its default; it fails nothing.

use std::collections::HashMap;
use std::str::FromStr;

/// The keeper looks after the table. Set on tables that are made here; others are left alone without it.
pub const KEEPER_ENABLED: &str = "lakegate.keeper.enabled";
/// At most so many snapshots of main are kept, however young: each stands in every metadata file.
const SNAPSHOTS_MAX: (&str, u64) = ("lakegate.keeper.snapshots-max", 100);
/// So many files of a size in one partition become one.
const FILES_MAX: (&str, u64) = ("lakegate.keeper.files-max", 16);
/// Percent of a file's rows after whose deletion it is written again.
const DELETED_PERCENT: (&str, u64) = ("lakegate.keeper.deleted-percent", 20);
const TARGET_BYTES: (&str, u64) = ("write.target-file-size-bytes", 512 << 20);
const SNAPSHOT_AGE_MS: (&str, i64) = ("history.expire.max-snapshot-age-ms", 5 * 24 * 60 * 60 * 1000);
const SNAPSHOTS_MIN: (&str, u64) = ("history.expire.min-snapshots-to-keep", 1);
const REF_AGE_MS: (&str, i64) = ("history.expire.max-ref-age-ms", i64::MAX);
/// Whether files of the table may be deleted at all.
const GC_ENABLED: &str = "gc.enabled";

/// Of one table.
#[derive(Clone, Copy)]
pub(super) struct Properties<'a>(pub &'a HashMap<String, String>);

impl Properties<'_> {
    pub(super) fn is_kept(self) -> bool {
        self.0.get(KEEPER_ENABLED).is_some_and(|enabled| enabled == "true")
    }

    /// At least what the format's own property says.
    pub(super) fn snapshots_max(self) -> usize {
        size(self.number(SNAPSHOTS_MAX)).max(self.snapshots_min())
    }

    pub(super) fn files_max(self) -> usize {
        size(self.number(FILES_MAX)).max(2)
    }

    pub(super) fn deleted_percent(self) -> u64 {
        self.number(DELETED_PERCENT).clamp(1, 100)
    }

    pub(super) fn target_bytes(self) -> u64 {
        self.number(TARGET_BYTES).max(1)
    }

    pub(super) fn snapshot_age_ms(self) -> i64 {
        self.number(SNAPSHOT_AGE_MS)
    }

    pub(super) fn snapshots_min(self) -> usize {
        size(self.number(SNAPSHOTS_MIN)).max(1)
    }

    pub(super) fn ref_age_ms(self) -> i64 {
        self.number(REF_AGE_MS)
    }

    pub(super) fn may_delete_files(self) -> bool {
        self.0.get(GC_ENABLED).is_none_or(|enabled| enabled != "false")
    }

    fn number<T: FromStr>(self, (name, default): (&str, T)) -> T {
        self.0.get(name).and_then(|text| text.trim().parse().ok()).unwrap_or(default)
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
