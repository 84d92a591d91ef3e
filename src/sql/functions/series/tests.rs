//! Series against PostgreSQL's answers.

use crate::sql::functions::array::tests::{Row, check};
use crate::sql::kernel::Env;

#[test]
#[rustfmt::skip]
fn series_are_as_postgresql_has_them() {
    let rows: &[Row] = &[
        ("generate_series_int4", "int4:1 | int4:3", "integer[]", "{1,2,3}"),
        ("generate_series_int4", "int4:3 | int4:1", "integer[]", "{}"),
        ("generate_series_int4", "int4:2147483646 | int4:2147483647", "integer[]", "{2147483646,2147483647}"),
        ("generate_series_int4", "int4:-2147483648 | int4:-2147483647", "integer[]", "{-2147483648,-2147483647}"),
        ("generate_series_int4", "int4:1 | int4:\\N", "integer[]", "\\N"),
        ("generate_series_step_int4", "int4:1 | int4:10 | int4:3", "integer[]", "{1,4,7,10}"),
        ("generate_series_step_int4", "int4:10 | int4:1 | int4:-4", "integer[]", "{10,6,2}"),
        ("generate_series_step_int4", "int4:1 | int4:3 | int4:0", "integer[]", "!22023 step size cannot equal zero"),
        ("generate_series_step_int4", "int4:2147483645 | int4:2147483647 | int4:2", "integer[]", "{2147483645,2147483647}"),
        ("generate_series_step_int4", "int4:1 | int4:10 | int4:-1", "integer[]", "{}"),
        ("generate_series_step_int4", "int4:5 | int4:5 | int4:-1", "integer[]", "{5}"),
        ("generate_series_step_int4", "int4:5 | int4:5 | int4:9", "integer[]", "{5}"),
        ("generate_series_step_int4", "int4:-2147483648 | int4:2147483647 | int4:2147483647", "integer[]", "{-2147483648,-1,2147483646}"),
        ("generate_series_step_int4", "int4:1 | int4:3 | int4:\\N", "integer[]", "\\N"),
        ("generate_series_step_int8", "int8:9223372036854775806 | int8:9223372036854775807 | int8:1", "bigint[]", "{9223372036854775806,9223372036854775807}"),
        ("generate_series_step_int8", "int8:1 | int8:10 | int8:4", "bigint[]", "{1,5,9}"),
        ("generate_series_step_int8", "int8:-9223372036854775808 | int8:9223372036854775807 | int8:9223372036854775807", "bigint[]", "{-9223372036854775808,-1,9223372036854775806}"),
        ("generate_series_step_int8", "int8:1 | int8:2 | int8:0", "bigint[]", "!22023 step size cannot equal zero"),
        ("generate_series_numeric", "numeric:1 | numeric:3.5", "numeric[]", "{1,2,3}"),
        ("generate_series_numeric", "numeric:1.5 | numeric:4", "numeric[]", "{1.5,2.5,3.5}"),
        ("generate_series_numeric", "numeric:3 | numeric:1", "numeric[]", "{}"),
        ("generate_series_numeric", "numeric:1.00 | numeric:2", "numeric[]", "{1.00,2.00}"),
        ("generate_series_step_numeric", "numeric:0.1 | numeric:1 | numeric:0.30", "numeric[]", "{0.1,0.40,0.70,1.00}"),
        ("generate_series_step_numeric", "numeric:4.0 | numeric:-1 | numeric:-1.5", "numeric[]", "{4.0,2.5,1.0,-0.5}"),
        ("generate_series_step_numeric", "numeric:1 | numeric:3 | numeric:0.0", "numeric[]", "!22023 step size cannot equal zero"),
        ("generate_series_step_numeric", "numeric:NaN | numeric:1 | numeric:1", "numeric[]", "!22023 start value cannot be NaN"),
        ("generate_series_step_numeric", "numeric:1 | numeric:NaN | numeric:1", "numeric[]", "!22023 stop value cannot be NaN"),
        ("generate_series_step_numeric", "numeric:1 | numeric:2 | numeric:NaN", "numeric[]", "!22023 step size cannot be NaN"),
        ("generate_series_step_numeric", "numeric:Infinity | numeric:1 | numeric:1", "numeric[]", "!22023 start value cannot be infinity"),
        ("generate_series_step_numeric", "numeric:1 | numeric:Infinity | numeric:1", "numeric[]", "!22023 stop value cannot be infinity"),
        ("generate_series_step_numeric", "numeric:1 | numeric:2 | numeric:-Infinity", "numeric[]", "!22023 step size cannot be infinity"),
        ("generate_series_step_numeric", "numeric:1 | numeric:2.0005 | numeric:0.5", "numeric[]", "{1,1.5,2.0}"),
        ("generate_series_step_numeric", "numeric:2 | numeric:1.9 | numeric:1", "numeric[]", "{}"),
        ("generate_series_step_numeric", "numeric:1 | numeric:1.9 | numeric:-1", "numeric[]", "{}"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:2020-01-03 | interval:1 day", "timestamp without time zone[]", "{\"2020-01-01 00:00:00\",\"2020-01-02 00:00:00\",\"2020-01-03 00:00:00\"}"),
        ("generate_series_timestamp", "timestamp:2020-01-31 | timestamp:2020-06-01 | interval:1 month", "timestamp without time zone[]", "{\"2020-01-31 00:00:00\",\"2020-02-29 00:00:00\",\"2020-03-29 00:00:00\",\"2020-04-29 00:00:00\",\"2020-05-29 00:00:00\"}"),
        ("generate_series_timestamp", "timestamp:2020-01-03 | timestamp:2020-01-01 | interval:-12 hours", "timestamp without time zone[]", "{\"2020-01-03 00:00:00\",\"2020-01-02 12:00:00\",\"2020-01-02 00:00:00\",\"2020-01-01 12:00:00\",\"2020-01-01 00:00:00\"}"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:2020-01-02 | interval:0", "timestamp without time zone[]", "!22023 step size cannot equal zero"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:2020-01-02 | interval:1 month -30 days", "timestamp without time zone[]", "!22023 step size cannot equal zero"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:2020-01-01 00:00:01 | interval:0.25 seconds", "timestamp without time zone[]", "{\"2020-01-01 00:00:00\",\"2020-01-01 00:00:00.25\",\"2020-01-01 00:00:00.5\",\"2020-01-01 00:00:00.75\",\"2020-01-01 00:00:01\"}"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:2019-01-01 | interval:1 day", "timestamp without time zone[]", "{}"),
        ("generate_series_timestamp", "timestamp:2020-02-29 | timestamp:2024-02-29 | interval:1 year", "timestamp without time zone[]", "{\"2020-02-29 00:00:00\",\"2021-02-28 00:00:00\",\"2022-02-28 00:00:00\",\"2023-02-28 00:00:00\",\"2024-02-28 00:00:00\"}"),
        ("generate_series_timestamp", "timestamp:2020-01-01 | timestamp:\\N | interval:1 day", "timestamp without time zone[]", "\\N"),
        ("generate_series_timestamptz", "timestamptz:2020-01-01 00:00+00 | timestamptz:2020-01-03 00:00+00 | interval:1 day", "timestamp with time zone[]", "{\"2020-01-01 00:00:00+00\",\"2020-01-02 00:00:00+00\",\"2020-01-03 00:00:00+00\"}"),
        ("generate_series_timestamptz", "timestamptz:2020-01-01 00:00+00 | timestamptz:2020-01-01 06:00+00 | interval:2 hours", "timestamp with time zone[]", "{\"2020-01-01 00:00:00+00\",\"2020-01-01 02:00:00+00\",\"2020-01-01 04:00:00+00\",\"2020-01-01 06:00:00+00\"}"),
    ];
    check(rows, &Env::plain());
}
