//! OVER: windows by name and by specification, and their frames (parse_agg.c, `transformWindowFuncCall`; parse_clause.c,
//! `transformWindowDefinitions` and `transformFrameOffset`).

use datafusion::sql::sqlparser::ast::{self, WindowFrameBound, WindowFrameUnits, WindowType};

use super::Binder;
use super::name::folded;
use super::scope::{Place, Scope};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Bound, Exclude, Expr, Frame, FrameUnits, Kind as Node, Sort, Window};
use crate::sql::image::{self, CastContext};
use crate::sql::parse::encoding;
use crate::sql::resolve::cast;
use crate::sql::resolve::function::Resolved;

impl Binder<'_> {
    pub(super) fn window(
        &self,
        found: Resolved,
        filter: Option<Expr>,
        over: &WindowType,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let spec = match over {
            WindowType::NamedWindow(name) => self.named_window(name, scope)?,
            WindowType::WindowSpec(spec) => self.completed(spec, scope)?,
        };
        let partition = scope.at_place(Place::WindowPartition, || {
            let keys = spec.partition_by.iter().map(|ast| {
                let key = cast::unknown_to_text(self.cx, self.expr(ast, scope)?)?;
                self.comparable(&key, "=")?;
                Ok(key)
            });
            keys.collect::<Result<Vec<_>>>()
        })?;
        let (keys, excluded_by) = encoding::without_exclusion(&spec.order_by);
        let order = scope.at_place(Place::WindowOrder, || {
            keys.iter().map(|key| self.sort_over(key, scope)).collect::<Result<Vec<_>>>()
        })?;
        let frame = scope.at_place(Place::WindowFrame, || self.frame(spec.window_frame.as_ref(), &order, at, scope))?;
        let frame = Frame { exclude: excluded(excluded_by), ..frame };
        let data_type = crate::sql::functions::window_lies_as(found.proc, &found.arguments).unwrap_or(found.data_type);
        let window = Window { proc: found.proc, arguments: found.arguments, filter, partition, order, frame };
        Ok(Expr::lying(Node::Window(Box::new(window)), found.ty, data_type, at))
    }

    fn named_window(&self, name: &ast::Ident, scope: &Scope<'_>) -> Result<ast::WindowSpec> {
        let wanted = folded(name);
        let found = scope.windows.borrow().iter().find(|(n, _)| *n == wanted).map(|(_, spec)| spec.clone());
        let missing = || {
            let text = format!("window \"{wanted}\" does not exist");
            Error::new(Kind::UndefinedObject, text).at(self.at(name.span))
        };
        self.completed(&found.ok_or_else(missing)?, scope)
    }

    /// `(w ORDER BY x)`: the partition of w, and its order if it has one.
    fn completed(&self, spec: &ast::WindowSpec, scope: &Scope<'_>) -> Result<ast::WindowSpec> {
        let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
        let base = self.named_window(name, scope)?;
        let (keys, excluded) = encoding::without_exclusion(&spec.order_by);
        let at = self.at(name.span);
        let refused = |text: String| Err(Error::new(Kind::Windowing, text).at(at));
        let shown = folded(name);
        if !spec.partition_by.is_empty() {
            return refused(format!("cannot override PARTITION BY clause of window \"{shown}\""));
        }
        if !keys.is_empty() && !base.order_by.is_empty() {
            return refused(format!("cannot override ORDER BY clause of window \"{shown}\""));
        }
        if base.window_frame.is_some() {
            return refused(format!("cannot copy window \"{shown}\" because it has a frame clause"));
        }
        // what a frame leaves out stands at the end
        let mut order_by = if keys.is_empty() { base.order_by } else { keys.to_vec() };
        order_by.extend(excluded.map(encoding::exclusion));
        Ok(ast::WindowSpec {
            window_name: None,
            partition_by: base.partition_by,
            order_by,
            window_frame: spec.window_frame.clone(),
        })
    }

    fn frame(&self, frame: Option<&ast::WindowFrame>, order: &[Sort], at: usize, scope: &Scope<'_>) -> Result<Frame> {
        let Some(frame) = frame else {
            return Ok(Frame {
                units: FrameUnits::Range,
                start: Bound::UnboundedPreceding,
                end: Bound::CurrentRow,
                exclude: Exclude::NoOthers,
            });
        };
        let refused = |text: &str| Err(Error::new(Kind::Windowing, text).at(at));
        let units = match frame.units {
            WindowFrameUnits::Rows => FrameUnits::Rows,
            WindowFrameUnits::Range => FrameUnits::Range,
            WindowFrameUnits::Groups => FrameUnits::Groups,
        };
        let current = WindowFrameBound::CurrentRow;
        let end_ast = frame.end_bound.as_ref().unwrap_or(&current);
        if units == FrameUnits::Groups && order.is_empty() {
            return refused("GROUPS mode requires an ORDER BY clause");
        }
        let bound = |bound: &WindowFrameBound| {
            Ok::<_, Error>(match bound {
                WindowFrameBound::CurrentRow => Bound::CurrentRow,
                WindowFrameBound::Preceding(None) => Bound::UnboundedPreceding,
                WindowFrameBound::Following(None) => Bound::UnboundedFollowing,
                WindowFrameBound::Preceding(Some(by)) => {
                    Bound::Preceding(Box::new(self.offset(by, units, order, at, scope)?))
                }
                WindowFrameBound::Following(Some(by)) => {
                    Bound::Following(Box::new(self.offset(by, units, order, at, scope)?))
                }
            })
        };
        let (start, end) = self.alike_offsets(bound(&frame.start_bound)?, bound(end_ast)?)?;
        Ok(Frame { units, start, end, exclude: Exclude::NoOthers })
    }

    /// Offsets of one type: integers alone come in several, and an integer key takes int8 beside its own.
    fn alike_offsets(&self, start: Bound, end: Bound) -> Result<(Bound, Bound)> {
        let ty = |bound: &Bound| match bound {
            Bound::Preceding(by) | Bound::Following(by) => Some(by.ty.oid),
            Bound::UnboundedPreceding | Bound::CurrentRow | Bound::UnboundedFollowing => None,
        };
        let wide = |by: Box<Expr>| Ok::<_, Error>(Box::new(cast::implicit(self.cx, *by, Ty::INT8)?));
        let widened = |bound: Bound| {
            Ok::<_, Error>(match bound {
                Bound::Preceding(by) => Bound::Preceding(wide(by)?),
                Bound::Following(by) => Bound::Following(wide(by)?),
                other => other,
            })
        };
        match (ty(&start), ty(&end)) {
            (Some(one), Some(other)) if one != other => Ok((widened(start)?, widened(end)?)),
            _ => Ok((start, end)),
        }
    }

    fn offset(&self, by: &ast::Expr, units: FrameUnits, order: &[Sort], at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let offset = self.expr(by, scope)?;
        let place = offset.at;
        if offset.any(&|e| matches!(e.kind, Node::Column(_))) {
            let what = match units {
                FrameUnits::Rows => "ROWS",
                FrameUnits::Range => "RANGE",
                FrameUnits::Groups => "GROUPS",
            };
            let text = format!("argument of {what} must not contain variables");
            return Err(Error::new(Kind::InvalidColumnReference, text).at(place));
        }
        let wanted = match units {
            FrameUnits::Rows | FrameUnits::Groups => Ty::INT8,
            FrameUnits::Range => {
                let [key] = order else {
                    let text = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
                    return Err(Error::new(Kind::Windowing, text).at(at));
                };
                let key = if key.by.ty.oid == oid::VARCHAR { Ty::TEXT } else { key.by.ty };
                range_offset(key, offset.ty, place)?
            }
        };
        let (ty, text) = (offset.ty, if units == FrameUnits::Rows { "ROWS" } else { "GROUPS" });
        let wrong = || {
            let text = format!("argument of {text} must be type bigint, not type {}", ty.name());
            Error::new(Kind::TypeMismatch, text).at(place)
        };
        cast::coerce(self.cx, offset, wanted, CastContext::Implicit)?.ok_or_else(wrong)
    }
}

/// As the grammar spells it.
fn excluded(what: Option<&str>) -> Exclude {
    match what {
        Some("CURRENT ROW") => Exclude::CurrentRow,
        Some("GROUP") => Exclude::Group,
        Some("TIES") => Exclude::Ties,
        _ => Exclude::NoOthers,
    }
}

/// The offset's type of the `in_range` function for that key.
fn range_offset(key: Ty, offset: Ty, at: usize) -> Result<Ty> {
    let offers: Vec<u32> = image::procs("in_range")
        .iter()
        .filter(|p| p.arguments.first() == Some(&key.oid))
        .filter_map(|p| p.arguments.get(2).copied())
        .collect();
    if offers.is_empty() {
        let text = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}", key.name());
        return Err(Error::new(Kind::Unsupported, text).at(at));
    }
    if offers.contains(&offset.oid) {
        return Ok(Ty::of(offset.oid));
    }
    let coerces = |to: u32| cast::can_coerce(&[offset.oid], &[to], CastContext::Implicit);
    let only = match offers.as_slice() {
        [only] => Some(*only).filter(|only| coerces(*only)),
        _ if offset.is_unknown() => offers.iter().copied().find(|o| *o == key.oid),
        _ => offers.iter().copied().find(|o| coerces(*o)),
    };
    let wrong = || {
        let text = format!(
            "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {} and offset type {}",
            key.name(),
            offset.name()
        );
        let hint = "Cast the offset value to an appropriate type.";
        Error::new(Kind::Unsupported, text).with_hint(hint).at(at)
    };
    only.map(Ty::of).ok_or_else(wrong)
}
