//! The one moment of a commit: the catalog's rows change or they do not, and where nobody said, the catalog is asked until
//! it is known. What is put into the swap, and what follows from its answer, is decided outside.

use super::super::fault::{Step, reach};
use super::super::{Lake, catalog};
use super::{ATTEMPTS, Attempt, BACKOFF, BACKOFF_MAX, Prepared};
use crate::error::Result;
use crate::metastore::{Also, Swap, SwapError, Swapped};

/// How one swap ended.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lake) enum Answer {
    Done,
    /// Others have changed what it stands on. `unsure`: a send of it may still be on its way, so that no file of it may go.
    Moved {
        unsure: bool,
    },
    /// As above.
    LeaseLost {
        unsure: bool,
    },
    Unknown,
}

impl Lake {
    pub(super) async fn swap(&self, prepared: &[Prepared], attempts: &[Attempt], also: &Also) -> Result<Answer> {
        let swaps: Vec<Swap> = prepared
            .iter()
            .zip(attempts)
            .map(|(p, a)| Swap::Update {
                table: p.staged.base.key.clone(),
                from: p.staged.base.pointer.clone(),
                to: a.table.location.clone(),
            })
            .collect();
        self.swap_until_known(&swaps, also, attempts.first()).await
    }

    /// Sends the swap; where its answer is lost, asks the catalog what became of it. All rows change in one transaction,
    /// so the first one speaks for all; where `first` is none, nothing does and a lost answer stays unknown.
    pub(in crate::lake) async fn swap_until_known(
        &self,
        swaps: &[Swap],
        also: &Also,
        first: Option<&Attempt>,
    ) -> Result<Answer> {
        // an earlier send may have arrived
        let mut unsure = false;
        let answer = self.send_until_known(swaps, also, first, &mut unsure).await?;
        if unsure && answer == Answer::Done {
            self.catalog.settle(swaps, also).await;
        }
        Ok(answer)
    }

    async fn send_until_known(
        &self,
        swaps: &[Swap],
        also: &Also,
        first: Option<&Attempt>,
        unsure: &mut bool,
    ) -> Result<Answer> {
        let from = match swaps.first() {
            Some(Swap::Update { from, .. } | Swap::Delete { from, .. } | Swap::Rename { at: from, .. }) => {
                Some(from.as_str())
            }
            Some(
                Swap::Insert { .. }
                | Swap::InsertView { .. }
                | Swap::CreateNamespace { .. }
                | Swap::DropNamespace { .. }
                | Swap::Hold { .. },
            ) => None,
            None => return Ok(Answer::Done),
        };
        let mut pause = BACKOFF;
        for _ in 0..ATTEMPTS {
            match self.catalog.swap(swaps, also).await {
                Ok(Swapped::Done) => {
                    reach(Step::AfterSwap);
                    return Ok(Answer::Done);
                }
                Ok(Swapped::Moved) => match first {
                    Some(first) if *unsure => return self.ours_or_moved(first).await,
                    Some(_) | None => return Ok(Answer::Moved { unsure: *unsure }),
                },
                Ok(Swapped::LeaseLost) => {
                    let done = match first {
                        Some(first) if *unsure => self.ours_or_moved(first).await? == Answer::Done,
                        Some(_) | None => false,
                    };
                    return Ok(if done { Answer::Done } else { Answer::LeaseLost { unsure: *unsure } });
                }
                Err(SwapError::Before(error)) => return Err(error),
                Err(SwapError::Unknown(error)) => {
                    *unsure = true;
                    tracing::warn!(error = ?error, "the outcome of a commit is unknown, asking the catalog");
                }
            }
            let Some(first) = first else { break };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(BACKOFF_MAX);
            match self.catalog.location(&first.table.key).await {
                Ok(now) if now.as_deref() == Some(first.table.location.as_str()) => return Ok(Answer::Done),
                // Untouched: the same swap may be sent again.
                Ok(now) if now.as_deref() == from => (),
                Ok(_) => return self.ours_or_moved(first).await,
                Err(error) => tracing::warn!(%error, "the catalog does not answer"),
            }
        }
        Ok(Answer::Unknown)
    }

    /// A table that moved may have moved by us: an earlier send of the same swap, and others' commits on top of it. Where
    /// the catalog keeps no history that reaches from there to here, nobody can tell.
    async fn ours_or_moved(&self, attempt: &Attempt) -> Result<Answer> {
        let moved = Answer::Moved { unsure: true };
        let Some(now) = self.table(&attempt.table.key).await? else { return Ok(moved) };
        let ours = &attempt.table;
        if now.location == ours.location || now.metadata.snapshot_by_id(attempt.snapshot_id).is_some() {
            return Ok(Answer::Done);
        }
        if now.uuid() != ours.uuid() {
            return Ok(moved);
        }
        let adds = ours.metadata.snapshot_by_id(attempt.snapshot_id);
        let base = match adds {
            // it changes no rows: as good as done where the table is as it was to be
            None if catalog::says_the_same(&now.metadata, &ours.metadata)? => return Ok(Answer::Done),
            None => return Ok(moved),
            Some(snapshot) => snapshot.parent_snapshot_id(),
        };
        let reaches = match base {
            Some(base) => now.main().any(|snapshot| snapshot.snapshot_id() == base),
            None => now.main().last().is_none_or(|oldest| oldest.parent_snapshot_id().is_none()),
        };
        Ok(if reaches { moved } else { Answer::Unknown })
    }
}
