//! Trees that are as deep as the limits let them be: a worker's stack is too small to copy or drop one. Whoever holds one
//! outside the planner holds it as [`Deep`].

use std::fmt;
use std::ops::Deref;

/// Enough for the deepest tree that `limits` lets through, several times over; where less is left, the work gets a stack
/// of its own. Mapped when it is needed, and touched page by page.
const NEEDED_BYTES: usize = 32 << 20;
const STACK_BYTES: usize = 64 << 20;

/// `work` with room to call itself as deep as such a tree is.
pub(crate) fn on_big_stack<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(NEEDED_BYTES, STACK_BYTES, work)
}

/// A tree that is copied and dropped on a big stack, wherever that happens.
pub(crate) struct Deep<T>(Option<T>);

impl<T> Deep<T> {
    pub(crate) fn new(tree: T) -> Self {
        Self(Some(tree))
    }

    /// For the planner, whose stack is big.
    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect("only dropping takes it out")
    }
}

impl<T> Deref for Deep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only dropping takes it out")
    }
}

impl<T> Drop for Deep<T> {
    fn drop(&mut self) {
        if let Some(tree) = self.0.take() {
            on_big_stack(|| drop(tree));
        }
    }
}

impl<T: Clone> Clone for Deep<T> {
    fn clone(&self) -> Self {
        on_big_stack(|| Self(self.0.clone()))
    }
}

/// Not the tree: printing it would call itself as deep.
impl<T> fmt::Debug for Deep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deep").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    enum Chain {
        End,
        Link(#[allow(dead_code, reason = "it is there to be dropped")] Box<(Chain, [u8; 256])>),
    }

    fn chain(length: usize) -> Chain {
        (0..length).fold(Chain::End, |chain, _| Chain::Link(Box::new((chain, [0; 256]))))
    }

    /// A test's thread has 2 MiB: dropped there, this chain would end the process.
    #[test]
    fn a_deep_tree_is_copied_and_dropped_on_a_stack_of_its_own() {
        let deep = Deep::new(chain(20_000));
        let copy = deep.clone();
        assert!(matches!(*copy, Chain::Link(_)));
        drop(deep);
        assert!(matches!(*copy, Chain::Link(_)));
    }
}
