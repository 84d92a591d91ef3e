//! Work of a call that no cancel reaches and that grows faster than what it is given: it is counted, and given up in time.

use std::cell::Cell;

use crate::error::{Error, Kind, Result};

/// Of a whole batch: some seconds. Tests come to it sooner.
const STEPS_MAX: usize = if cfg!(test) { 5_000_000 } else { 500_000_000 };

#[derive(Debug)]
pub(super) struct Steps {
    left: Cell<usize>,
    /// What the error says.
    what: &'static str,
}

impl Steps {
    pub(super) fn new(what: &'static str) -> Self {
        Self { left: Cell::new(STEPS_MAX), what }
    }

    /// 54001 where there are not so many left. To be asked before they are made.
    pub(super) fn take(&self, steps: usize) -> Result<()> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.ok_or_else(|| Error::new(Kind::TooComplex, self.what))?);
        Ok(())
    }
}
