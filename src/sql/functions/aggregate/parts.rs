//! A group's value made of the values of its parts, as a table of sums and counts has them: which aggregates can be made so,
//! and the aggregates that do it. A sum of floats is none of them, since its last bit follows the order of its rows.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::logical_expr::{AggregateUDF, Signature, Volatility};
use num_bigint::BigInt;

use super::state::{Saved, State, stated};
use super::sum::{Column, Numerics, Whole, column};
use super::{ANY, Aggregate, How, Of, Plain, SET};
use crate::error::{Error, Result};
use crate::pgtype::{self, Ty};
use crate::sql::functions::numeric::exact::divide;
use crate::sql::image::{self, Proc};
use crate::sql::kernel::Env;
use crate::sql::numeric::Numeric;

/// `sum(integer)`, which is never given bigints.
const SUM_OF_INTEGERS: u32 = 2108;

/// How an aggregate's value over a group comes of those over its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The parts' counts are added; of no parts it is 0.
    Count,
    /// The parts' sums are added.
    Sum,
    /// Of their sums and counts of the same values.
    Average,
    /// The same aggregate over the parts' values.
    Itself,
}

/// `None` for an aggregate whose parts do not tell it, and where they tell it but for the last digit or the spelling.
pub(crate) fn merge(udf: &AggregateUDF) -> Option<Merge> {
    let Aggregate { of, how, cares, .. } = of(udf)?;
    let row = image::aggregate(of.proc.oid)?;
    Some(match (row.transition, row.last) {
        ("int8inc" | "int8inc_any", _) => Merge::Count,
        ("int2_sum" | "int4_sum", _)
        | ("int8_avg_accum", "numeric_poly_sum")
        | ("numeric_avg_accum", "numeric_sum") => Merge::Sum,
        ("int2_avg_accum" | "int4_avg_accum" | "int8_avg_accum", _) | ("numeric_avg_accum", _) => Merge::Average,
        // of equal values that look different one would be taken by chance
        _ if *cares == SET && matches!(how, How::Native(_)) => Merge::Itself,
        _ if *cares == SET && super::end(row.transition).is_none() => Merge::Itself,
        _ => return None,
    })
}

/// What it was resolved for.
pub(crate) fn arguments_of(udf: &AggregateUDF) -> Option<&[(Ty, DataType)]> {
    of(udf).map(|aggregate| aggregate.of.arguments.as_slice())
}

fn of(udf: &AggregateUDF) -> Option<&Aggregate> {
    (udf.inner().as_ref() as &dyn Any).downcast_ref()
}

/// The aggregate that gives of the parts' counts, or sums, what `udf` gives of their rows; an average takes two arguments,
/// the sums, which lie as `sums` says, and the counts. Where `udf` is merged by itself it is `udf`.
pub(crate) fn of_parts(udf: &Arc<AggregateUDF>, sums: Option<&DataType>) -> Result<Arc<AggregateUDF>> {
    let unknown = || Error::internal(format!("{} is not made of parts", udf.name()));
    let whole = of(udf).ok_or_else(unknown)?;
    let result = whole.of.result.clone();
    let counts = (Ty::INT8, DataType::Int64);
    let mut proc = whole.of.proc;
    let (how, arguments): (Box<dyn Plain>, _) = match merge(udf).ok_or_else(unknown)? {
        Merge::Itself => return Ok(Arc::clone(udf)),
        Merge::Count => {
            // a count of counts would be another one's equal
            proc = image::proc(SUM_OF_INTEGERS).ok_or_else(unknown)?;
            (stated(count), vec![counts])
        }
        Merge::Sum if result.1 == DataType::Int64 => (stated(Whole::<Int64Type>::sum_bigint), vec![result.clone()]),
        Merge::Sum => (stated(Numerics::sum), vec![result.clone()]),
        Merge::Average => {
            let sums = sums.ok_or_else(unknown)?.clone();
            let ty = if sums == DataType::Int64 { Ty::INT8 } else { Ty::of(pgtype::oid::NUMERIC) };
            (stated(Parts::average), vec![(ty, sums), counts])
        }
    };
    Ok(Arc::new(AggregateUDF::new_from_impl(made(proc, arguments, result, how))))
}

fn made(proc: &'static Proc, arguments: Vec<(Ty, DataType)>, result: (Ty, DataType), how: Box<dyn Plain>) -> Aggregate {
    let field = Arc::new(pgtype::field(proc.name, result.0, result.1.clone()));
    let of = Arc::new(Of { proc, arguments, result, field, env: Env::plain() });
    let signature = Signature::user_defined(Volatility::Immutable);
    Aggregate { of, how: How::Plain(Arc::from(how)), cares: ANY, signature }
}

/// No table has more rows than a bigint counts.
fn count(counts: &Whole<Int64Type>) -> Result<Option<i64>> {
    Ok(Some(counts.sum_bigint()?.unwrap_or(0)))
}

/// The sums and the counts of a group's parts.
#[derive(Clone, Debug, Default)]
struct Parts {
    sum: Numerics,
    count: u64,
}

/// Integers are sums of integers.
enum Sums<'a> {
    Whole(&'a Int64Array),
    Numeric(Column<'a>),
}

impl State for Parts {
    type Input<'a> = (Sums<'a>, &'a Int64Array);

    fn input(arguments: &[ArrayRef]) -> Option<Self::Input<'_>> {
        let [sums, counts] = arguments else { return None };
        let sums = match sums.data_type() {
            DataType::Int64 => Sums::Whole(sums.as_primitive_opt()?),
            _ => Sums::Numeric(column(sums)?),
        };
        Some((sums, counts.as_primitive_opt()?))
    }

    fn add(&mut self, (sums, counts): &Self::Input<'_>, row: usize) -> Result<()> {
        let count = counts.value(row);
        self.count += u64::try_from(count).map_err(|_| Error::internal("a negative count"))?;
        match sums {
            Sums::Numeric(column) => self.sum.add(column, row),
            Sums::Whole(sums) => {
                self.sum.count += 1;
                self.sum.sum.add(&BigInt::from(sums.value(row)), 0);
                Ok(())
            }
        }
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        self.count += other.count;
        self.sum.merge(other.sum)
    }

    fn save(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.count.to_le_bytes());
        self.sum.save(to);
    }

    fn load(from: &mut Saved<'_>) -> Option<Self> {
        Some(Self { count: from.u64()?, sum: Numerics::load(from)? })
    }

    fn heap(&self) -> usize {
        self.sum.heap()
    }
}

impl Parts {
    /// As `avg` divides.
    fn average(&self) -> Result<Option<Numeric>> {
        let Some(sum) = self.sum.sum()? else { return Ok(None) };
        divide(&sum, &Numeric::new(BigInt::from(self.count), 0)).map(Some)
    }
}
