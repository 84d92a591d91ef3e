//! Where a test may kill the process: where `LAKEGATE_FAILPOINT` names a step, it aborts there as if its power had gone.
//! `after_swap` dies the first time, `after_swap@3` the third. It injects no errors. A release build has no such steps: the
//! tests kill real processes, which are built as the tests are, with debug assertions.

/// The arrows of a commit, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Data files are in the store, nothing refers to them.
    AfterUpload,
    AfterManifest,
    AfterList,
    AfterMetadata,
    /// The commit has happened and nobody was told.
    AfterSwap,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::AfterUpload => "after_upload",
            Step::AfterManifest => "after_manifest",
            Step::AfterList => "after_list",
            Step::AfterMetadata => "after_metadata",
            Step::AfterSwap => "after_swap",
        }
    }
}

/// The process has come to `step`.
pub fn reach(step: Step) {
    reach_named(step.name());
}

/// As [`reach`], for the steps of those who commit: a name is one step's in the whole process.
#[cfg(not(debug_assertions))]
pub fn reach_named(_: &str) {}

#[cfg(debug_assertions)]
pub fn reach_named(step: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How often the wanted step was reached; a process has one wanted step.
    static PASSES: AtomicU64 = AtomicU64::new(0);
    if let Ok(wanted) = std::env::var("LAKEGATE_FAILPOINT")
        && due(step, &wanted, || PASSES.fetch_add(1, Ordering::Relaxed) + 1)
    {
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
fn due(step: &str, wanted: &str, pass: impl FnOnce() -> u64) -> bool {
    let (name, nth) = wanted.split_once('@').unwrap_or((wanted, "1"));
    name == step && nth.parse() == Ok(pass())
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::due;

    #[test]
    fn only_the_named_pass_of_the_named_step_is_due() {
        assert!(due("after_swap", "after_swap", || 1));
        assert!(!due("after_swap", "after_swap", || 2));
        assert!(due("after_swap", "after_swap@3", || 3));
        assert!(!due("after_list", "after_swap", || 1));
        assert!(!due("after_swap", "after_swap@x", || 1));
    }
}
