//! How far the answer of one statement may be behind its tables: what its session says and what the datasets say that it
//! reads. What is stored, and how old that is, it does not know.

/// What is said on the way from a statement to its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// A table is reached by no dataset that says anything.
    plain: bool,
    /// The least that datasets say.
    least_ms: Option<i64>,
}

impl Said {
    /// Of a table that is named.
    pub(crate) const TABLE: Self = Self { plain: true, least_ms: None };

    pub(crate) fn and(self, other: Self) -> Self {
        let least_ms = self.least_ms.into_iter().chain(other.least_ms).min();
        Self { plain: self.plain || other.plain, least_ms }
    }

    /// The same, read through a dataset that says this.
    pub(crate) fn through(self, max_staleness_ms: Option<i64>) -> Self {
        match max_staleness_ms {
            None => self,
            Some(ms) => Self { plain: false, ..self.and(Self { plain: false, least_ms: Some(ms) }) },
        }
    }

    /// `None`: the answer is exact. It is never older than the session asks for, nor than any dataset allows that is read. A
    /// session that asks for nothing gets what datasets allow, and for a table that is read through none of these, nothing.
    pub(crate) fn bound_ms(self, session_ms: Option<i64>) -> Option<i64> {
        let bound = match session_ms {
            None if self.plain => None,
            None => self.least_ms,
            Some(ms) => Some(self.least_ms.map_or(ms, |least| least.min(ms))),
        };
        bound.filter(|ms| *ms > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_an_older_answer_than_anybody_asked_for() {
        let table = Said::TABLE;
        let (five, one, silent) = (table.through(Some(5)), table.through(Some(1)), table.through(None));
        for (said, session, bound) in [
            // tables alone
            (table, None, None),
            (table, Some(7), Some(7)),
            (table, Some(0), None),
            // a dataset allows, a session wants less or more
            (five, None, Some(5)),
            (five, Some(2), Some(2)),
            (five, Some(9), Some(5)),
            (five, Some(0), None),
            (table.through(Some(0)), Some(9), None),
            // of several the strictest
            (five.and(one), None, Some(1)),
            (five.and(one), Some(3), Some(1)),
            // what stands beside one that allows has not been asked about
            (five.and(table), None, None),
            (five.and(table), Some(9), Some(5)),
            (five.and(silent), None, None),
            // one within another
            (silent.through(Some(4)), None, Some(4)),
            (one.through(Some(4)), None, Some(1)),
            (five.through(Some(4)), None, Some(4)),
            (five.through(None), None, Some(5)),
            (five.and(table).through(Some(4)), None, Some(4)),
            // no table at all
            (Said::default(), None, None),
        ] {
            assert_eq!(said.bound_ms(session), bound, "{said:?} {session:?}");
        }
    }
}
