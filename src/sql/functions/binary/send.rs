//! The send functions of types: a value's binary form on the wire, as bytea.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::formats::postgres::{self, SendSpelt};
use crate::pgtype::{self, Ty, oid};
use crate::sql::functions::range;
use crate::sql::kernel::{Arg, Call, Env, Kernel};

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

/// The send function of a type whose values lie in their own spelling.
pub(crate) fn spelt_binary(type_oid: u32) -> Option<SendSpelt> {
    let send = super::super::kernel(match type_oid {
        oid::BIT | oid::VARBIT => "bit_send",
        oid::CIDR => "cidr_send",
        oid::INET => "inet_send",
        oid::MACADDR | oid::MACADDR8 => "macaddr_send",
        oid::MONEY => "cash_send",
        _ if range::is(type_oid) => "range_send",
        _ => return None,
    })?;
    // nothing of a session is in how these lie
    let env = Env::plain();
    let (types, result_type) = ([Ty::of(type_oid)], Ty::of(oid::BYTEA));
    let result = pgtype::field("sent", result_type, DataType::Binary);
    Some(Box::new(move |text: &str| {
        let args = [Arg::constant(Arc::new(StringArray::from(vec![text])))];
        let sent = send(&Call { args: &args, types: &types, rows: 1, result: &result, result_type, env: &env })?;
        let sent = sent.as_binary_opt::<i32>().filter(|sent| !sent.is_empty());
        let wrong = || Error::internal(format!("no bytes were sent for a value of type {type_oid}"));
        sent.map(|sent| sent.value(0).to_vec()).ok_or_else(wrong)
    }))
}

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
