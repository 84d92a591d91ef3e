//! Which function an operator, a name or a cast is: chapter 10 of PostgreSQL's documentation, parse_oper.c, parse_func.c
//! (`func_select_candidate`) and parse_coerce.c, over the rows of `image`. It knows no scope.

use std::cell::RefCell;

use super::kernel::Env;
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;

/// What coercion may look at and decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) env: &'a Env,
    pub(crate) parameters: &'a Parameters,
}

/// Types of `$1 …`: declared by the client, else given by the first place that needs one.
#[derive(Debug, Default)]
pub(crate) struct Parameters(RefCell<Vec<Option<Ty>>>);

impl Parameters {
    pub(crate) fn declared(types: Vec<Option<Ty>>) -> Self {
        Self(RefCell::new(types))
    }

    /// `None`: nothing has typed it yet. Numbers count from 1.
    pub(crate) fn get(&self, number: usize) -> Option<Ty> {
        self.0.borrow().get(number.wrapping_sub(1)).copied().flatten()
    }

    /// The parameter stands in the statement.
    pub(crate) fn meet(&self, number: usize) {
        let mut types = self.0.borrow_mut();
        if types.len() < number {
            types.resize(number, None);
        }
    }

    /// 42P08 where another place gave another type.
    pub(crate) fn settle(&self, number: usize, ty: Ty, at: usize) -> Result<()> {
        self.meet(number);
        let mut types = self.0.borrow_mut();
        let slot = number.checked_sub(1).and_then(|i| types.get_mut(i));
        let slot = slot.ok_or_else(|| Error::internal("parameter zero"))?;
        match slot {
            Some(known) if known.oid != ty.oid => {
                let text = format!("inconsistent types deduced for parameter ${number}");
                let detail = format!("{} versus {}", ty.name(), known.name());
                Err(Error::new(Kind::AmbiguousParameter, text).with_detail(detail).at(at))
            }
            Some(_) => Ok(()),
            None => {
                *slot = Some(Ty::of(ty.oid));
                Ok(())
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Option<Ty>> {
        self.0.borrow().clone()
    }
}
