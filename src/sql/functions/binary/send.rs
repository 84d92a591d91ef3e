//! The send functions of types: a value's binary form on the wire, as bytea.

use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::error::Result;
use crate::formats::postgres;
use crate::pgtype::{self, Ty};
use crate::sql::kernel::{Call, Kernel};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("boolsend", send),
    ("int2send", send),
    ("int4send", send),
    ("int8send", send),
    ("oidsend", send),
    ("float4send", send),
    ("float8send", send),
    ("numeric_send", send),
    ("textsend", send),
    ("varcharsend", send),
    ("bpcharsend", send),
    ("namesend", send),
    ("byteasend", send),
    ("date_send", send),
    ("time_send", send),
    ("timetz_send", send),
    ("timestamp_send", send),
    ("timestamptz_send", send),
    ("interval_send", send),
    ("uuid_send", send),
    ("json_send", send),
    ("jsonb_send", send),
    ("array_send", send),
    ("anyarray_send", send),
    ("anycompatiblearray_send", send),
    ("charsend", send),
    ("record_send", send),
    ("tidsend", send),
    ("xidsend", send),
    ("xid8send", send),
    ("cidsend", send),
    ("pg_lsn_send", send),
    ("oidvectorsend", send),
    ("int2vectorsend", send),
    ("regprocsend", send),
    ("regproceduresend", send),
    ("regopersend", send),
    ("regoperatorsend", send),
    ("regclasssend", send),
    ("regtypesend", send),
    ("regnamespacesend", send),
    ("regrolesend", send),
    ("regcollationsend", send),
    ("regconfigsend", send),
    ("regdictionarysend", send),
    ("jsonpath_send", send),
];

fn send(call: &Call<'_>) -> Result<ArrayRef> {
    let arg = call.arg(0)?;
    let ty = call.types.first().copied().unwrap_or(Ty::TEXT);
    let field = pgtype::field("value", ty, arg.array.data_type().clone());
    let sent: ArrayRef = Arc::new(postgres::bytes(&field, &arg.array, &call.env.style())?);
    if !arg.constant || call.rows == 1 {
        return Ok(sent);
    }
    let rows = arrow::array::UInt32Array::from(vec![0; call.rows]);
    Ok(arrow::compute::take(&sent, &rows, None)?)
}
