//! Windows: one pass for all that share partitions, order and frame.

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr as Lowered, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits};

use super::aggregate::filtered_arguments;
use super::order::key_of;
use super::select::found;
use super::{Flow, Lower};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::sql::expr::{Bound, Exclude, Expr, Frame, FrameUnits, Kind, Window};
use crate::sql::functions;

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
        let (args, types) = self.aggregate_arguments(flow, window.proc, &window.arguments)?;
        let filter = window.filter.as_ref().map(|f| self.expr(flow, f)).transpose()?;
        let args = filtered_arguments(args, &types, filter.as_ref());
        let mut partition = vec![];
        for by in &window.partition {
            let value = self.expr(flow, by)?;
            partition.push(key_of(value, by.ty, &by.data_type)?);
        }
        let order = self.sort_keys(flow, &window.order)?;
        let frame = self.frame(flow, &window.frame, !order.is_empty(), e)?;
        let fun = functions::window::window(window.proc, &types, (e.ty, e.data_type.clone()))
            .map_err(|error| error.at(e.at))?;
        let params = WindowFunctionParams {
            args,
            partition_by: partition,
            order_by: order,
            window_frame: frame,
            filter: filter.map(Box::new),
            null_treatment: None,
            distinct: false,
        };
        Ok(Lowered::WindowFunction(Box::new(WindowFunction { fun, params })))
    }

    fn frame(&mut self, flow: &mut Flow, frame: &'a Frame, ordered: bool, e: &Expr) -> Result<WindowFrame> {
        if frame.exclude != Exclude::NoOthers {
            return Err(Error::new(ErrorKind::Unsupported, "EXCLUDE in a window frame is not supported yet").at(e.at));
        }
        let units = match frame.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        let start = self.bound(flow, &frame.start, units, e)?;
        let end = self.bound(flow, &frame.end, units, e)?;
        // peers of a window without ORDER BY are all its rows
        let peers = |b: &WindowFrameBound| matches!(b, WindowFrameBound::CurrentRow);
        if !ordered && units != WindowFrameUnits::Rows && (peers(&start) || peers(&end)) {
            let all = (
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::Following(ScalarValue::UInt64(None)),
            );
            return Ok(WindowFrame::new_bounds(WindowFrameUnits::Rows, all.0, all.1));
        }
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn bound(
        &mut self,
        flow: &mut Flow,
        bound: &'a Bound,
        units: WindowFrameUnits,
        e: &Expr,
    ) -> Result<WindowFrameBound> {
        let unbounded = || match units {
            WindowFrameUnits::Range => ScalarValue::Null,
            WindowFrameUnits::Rows | WindowFrameUnits::Groups => ScalarValue::UInt64(None),
        };
        let mut offset = |of: &'a Expr, what: &str| -> Result<ScalarValue> {
            let Lowered::Literal(value, _) = self.expr(flow, of)? else {
                let text = "an offset of a window frame that is not a constant is not supported yet";
                return Err(Error::new(ErrorKind::Unsupported, text).at(e.at));
            };
            if value.is_null() {
                return Err(Error::new(ErrorKind::NullNotAllowed, format!("frame {what} offset must not be null")));
            }
            match (units, value) {
                (WindowFrameUnits::Range, value) => Ok(value),
                (_, ScalarValue::Int64(Some(n))) => match u64::try_from(n) {
                    Ok(n) => Ok(ScalarValue::UInt64(Some(n))),
                    Err(_) => {
                        Err(Error::new(ErrorKind::FrameOffset, format!("frame {what} offset must not be negative")))
                    }
                },
                (_, value) => Err(Error::internal(format!("a frame offset of {}", value.data_type()))),
            }
        };
        Ok(match bound {
            Bound::UnboundedPreceding => WindowFrameBound::Preceding(unbounded()),
            Bound::UnboundedFollowing => WindowFrameBound::Following(unbounded()),
            Bound::CurrentRow => WindowFrameBound::CurrentRow,
            Bound::Preceding(of) => WindowFrameBound::Preceding(offset(of, "starting")?),
            Bound::Following(of) => WindowFrameBound::Following(offset(of, "ending")?),
        })
    }
}
