//! Windows: one pass for all that share partitions, order and frame.

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr as Lowered, LogicalPlanBuilder, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits,
};

use super::aggregate::filtered_arguments;
use super::order::key_of;
use super::select::found;
use super::{Flow, Lower, special};
use crate::error::Result;
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Bound, Exclude, Expr, Frame, FrameUnits, Kind, Sort, Window};
use crate::sql::functions;
use crate::sql::functions::window::framed::{self, Edge};
use crate::sql::image::Kind as ProcKind;

impl<'a> Lower<'a> {
    pub(super) fn windows(&mut self, flow: Flow, above: &[&'a Expr]) -> Result<Flow> {
        let all = found(above, &|e| matches!(e.kind, Kind::Window(_)));
        if all.is_empty() {
            return Ok(flow);
        }
        let mut flow = flow;
        // DataFusion sorts once for a node: those of one order belong together
        let mut nodes: Vec<(&Window, Vec<Lowered>)> = vec![];
        let mut computed = vec![];
        for e in all {
            let Kind::Window(window) = &e.kind else { continue };
            let name = self.fresh(window.proc.name);
            let call = self.window(&mut flow, window, e)?.alias(&name);
            match nodes.iter_mut().find(|(known, _)| known.partition == window.partition && known.order == window.order)
            {
                Some((_, calls)) => calls.push(call),
                None => nodes.push((window, vec![call])),
            }
            computed.push((e.clone(), Column::new_unqualified(name)));
        }
        let mut flow = flow.map(|plan| {
            let nodes = nodes.into_iter().map(|(_, calls)| calls);
            Ok(nodes.into_iter().try_fold(LogicalPlanBuilder::from(plan), LogicalPlanBuilder::window)?.build()?)
        })?;
        flow.computed.extend(computed);
        Ok(flow)
    }

    fn window(&mut self, flow: &mut Flow, window: &'a Window, e: &Expr) -> Result<Lowered> {
        let (mut args, mut types) = self.aggregate_arguments(flow, window.proc, &window.arguments)?;
        if window.arguments.len() > 2 && window.proc.kind == ProcKind::Window {
            for at in [0, 2] {
                let (ty, lies) = types[at].clone();
                if lies != e.data_type {
                    args[at] = special::lie(args[at].clone(), ty, &lies, &e.data_type);
                    types[at].1 = e.data_type.clone();
                }
            }
        }
        let filter = window.filter.as_ref().map(|f| self.expr(flow, f)).transpose()?;
        let args = filtered_arguments(args, &types, filter.as_ref());
        let mut partition = vec![];
        for by in &window.partition {
            let value = self.expr(flow, by)?;
            partition.push(key_of(value, by.ty, &by.data_type)?);
        }
        let order = self.sort_keys(flow, &window.order)?;
        let wanted = (e.ty, e.data_type.clone());
        let native = self.frame(flow, &window.frame, &window.order)?;
        let (mut args, mut filter, mut framed) = (args, filter, None);
        if native.is_none() {
            let frame = self.framed(flow, window, &order, &mut args, &mut filter)?;
            framed = functions::window::framed::framed(window.proc, &types, wanted.clone(), frame)
                .map_err(|error| error.at(e.at))?;
        }
        // a function that numbers rows pays no heed to a frame
        args.truncate(if framed.is_some() { args.len() } else { types.len() });
        let fun = match framed {
            Some(framed) => framed,
            None => functions::window::window(window.proc, &types, wanted).map_err(|error| error.at(e.at))?,
        };
        let params = WindowFunctionParams {
            args,
            partition_by: partition,
            window_frame: native.unwrap_or_else(super::order::whole),
            order_by: order,
            filter: filter.map(Box::new),
            null_treatment: None,
            distinct: false,
        };
        Ok(Lowered::WindowFunction(Box::new(WindowFunction { fun, params })))
    }

    /// `None`: it is not one of DataFusion's frames.
    fn frame(&mut self, flow: &mut Flow, frame: &'a Frame, order: &[Sort]) -> Result<Option<WindowFrame>> {
        if frame.exclude != Exclude::NoOthers {
            return Ok(None);
        }
        let offset = |bound: &Bound| matches!(bound, Bound::Preceding(_) | Bound::Following(_));
        if frame.units == FrameUnits::Range && (offset(&frame.start) || offset(&frame.end)) {
            return Ok(None);
        }
        let units = match frame.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            // without an offset it is the same, and asks nothing of the type
            FrameUnits::Range if order.iter().any(|sort| !ranges(&sort.by)) => WindowFrameUnits::Groups,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        let start = self.bound(flow, &frame.start, units, "starting")?;
        let end = self.bound(flow, &frame.end, units, "ending")?;
        let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
        if is_empty(&start, &end) {
            return Ok(None);
        }
        // peers of a window without ORDER BY are all its rows
        let peers = |b: &WindowFrameBound| matches!(b, WindowFrameBound::CurrentRow);
        if order.is_empty() && units != WindowFrameUnits::Rows && (peers(&start) || peers(&end)) {
            let all = (
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::Following(ScalarValue::UInt64(None)),
            );
            return Ok(Some(WindowFrame::new_bounds(WindowFrameUnits::Rows, all.0, all.1)));
        }
        Ok(Some(WindowFrame::new_bounds(units, start, end)))
    }

    /// `None` for an offset that is not known yet.
    fn bound(
        &mut self,
        flow: &mut Flow,
        bound: &'a Bound,
        units: WindowFrameUnits,
        what: &str,
    ) -> Result<Option<WindowFrameBound>> {
        let unbounded = || match units {
            WindowFrameUnits::Range => ScalarValue::Null,
            WindowFrameUnits::Rows | WindowFrameUnits::Groups => ScalarValue::UInt64(None),
        };
        let mut offset = |of: &'a Expr, what: &str| -> Result<Option<ScalarValue>> {
            match self.expr(flow, of)? {
                Lowered::Literal(ScalarValue::Int64(Some(n)), _) => match u64::try_from(n) {
                    Ok(n) => Ok(Some(ScalarValue::UInt64(Some(n)))),
                    Err(_) => Err(framed::negative(what)),
                },
                Lowered::Literal(value, _) if value.is_null() => Err(framed::null(what)),
                _ => Ok(None),
            }
        };
        Ok(match bound {
            Bound::UnboundedPreceding => Some(WindowFrameBound::Preceding(unbounded())),
            Bound::UnboundedFollowing => Some(WindowFrameBound::Following(unbounded())),
            Bound::CurrentRow => Some(WindowFrameBound::CurrentRow),
            Bound::Preceding(of) => offset(of, what)?.map(WindowFrameBound::Preceding),
            Bound::Following(of) => offset(of, what)?.map(WindowFrameBound::Following),
        })
    }

    /// A frame of ours; what it reads stands after the call's own arguments.
    fn framed(
        &mut self,
        flow: &mut Flow,
        window: &'a Window,
        order: &[SortExpr],
        args: &mut Vec<Lowered>,
        filter: &mut Option<Lowered>,
    ) -> Result<framed::Frame> {
        let filtered = filter.is_some();
        args.extend(filter.take());
        args.extend(order.iter().map(|sort| sort.expr.clone()));
        let frame = &window.frame;
        let edge = |bound: &Bound| match bound {
            Bound::UnboundedPreceding => Edge::UnboundedPreceding,
            Bound::Preceding(_) => Edge::Preceding,
            Bound::CurrentRow => Edge::CurrentRow,
            Bound::Following(_) => Edge::Following,
            Bound::UnboundedFollowing => Edge::UnboundedFollowing,
        };
        let offsets = [&frame.start, &frame.end].into_iter().filter_map(|bound| match bound {
            Bound::Preceding(of) | Bound::Following(of) => Some(of.as_ref()),
            Bound::UnboundedPreceding | Bound::CurrentRow | Bound::UnboundedFollowing => None,
        });
        let offsets: Vec<&'a Expr> = offsets.collect();
        let mut range = None;
        if let (FrameUnits::Range, [key], Some(offset)) = (frame.units, window.order.as_slice(), offsets.first()) {
            // as `in_range` reads it
            let lies = pgtype::arrow(key.by.ty.oid).unwrap_or_else(|| key.by.data_type.clone());
            let value = self.expr(flow, &key.by)?;
            args.push(special::lie(value, key.by.ty, &key.by.data_type, &lies));
            let (key_ty, offset) = (Ty::of(key.by.ty.oid), Ty::of(offset.ty.oid));
            let (descending, nulls_first) = (key.descending, key.nulls_first);
            range = Some(framed::RangeKey { key: key_ty, offset, descending, nulls_first });
        }
        for offset in offsets {
            let value = self.expr(flow, offset)?;
            let lies = pgtype::arrow(offset.ty.oid).unwrap_or_else(|| offset.data_type.clone());
            args.push(special::lie(value, offset.ty, &offset.data_type, &lies));
        }
        let (start, end) = (edge(&frame.start), edge(&frame.end));
        let (units, exclude, keys) = (frame.units, frame.exclude, order.len());
        Ok(framed::Frame { units, start, end, exclude, filtered, keys, range })
    }
}

/// A frame that ends before it starts, which DataFusion refuses.
fn is_empty(start: &WindowFrameBound, end: &WindowFrameBound) -> bool {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let number = |value: &ScalarValue| match value {
        ScalarValue::UInt64(n) => *n,
        _ => None,
    };
    match (start, end) {
        (Following(a), Following(b)) => matches!((number(a), number(b)), (Some(a), Some(b)) if a > b),
        (Preceding(a), Preceding(b)) => matches!((number(a), number(b)), (Some(a), Some(b)) if a < b),
        (Following(a), CurrentRow) => number(a).is_some_and(|a| a > 0),
        (CurrentRow, Preceding(b)) => number(b).is_some_and(|b| b > 0),
        _ => false,
    }
}

/// Types by whose order DataFusion finds the peers of a RANGE frame.
fn ranges(e: &Expr) -> bool {
    !super::order::has_key(e.ty, &e.data_type)
        && matches!(e.data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32)
}
