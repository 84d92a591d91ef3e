//! The pipeline's own kill points, named as `LAKEGATE_FAILPOINT` names them; those of a commit are the lake's.

use crate::lake::reach_named;

/// The arrows of a change's way that are not the lake's, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Changes are read, nothing is written.
    AfterRead,
    /// A data file is begun and not finished.
    MidWrite,
    /// The commit has happened and memory does not know it yet.
    AfterCommit,
    /// The origin is about to be told.
    BeforeConfirm,
    AfterConfirm,
}

pub(super) fn reach(step: Step) {
    reach_named(match step {
        Step::AfterRead => "after_read",
        Step::MidWrite => "mid_write",
        Step::AfterCommit => "after_commit",
        Step::BeforeConfirm => "before_confirm",
        Step::AfterConfirm => "after_confirm",
    });
}
