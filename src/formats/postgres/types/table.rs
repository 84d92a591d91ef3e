//! The types of PostgreSQL 15's `pg_type`, one a row. It answers no question; `postgres/types.rs` does.

use super::{Shape, TypeRow};

/// One table, two lists: the types, and beside each its array, which differs from row to row in name and alignment only.
macro_rules! types {
    ($($oid:literal $name:literal $array:literal $size:literal $element:literal $category:literal $kind:literal
       $align:literal $by_value:literal $preferred:literal $shape:ident;)*) => {
        pub(super) static TYPES: &[TypeRow] = &[$(TypeRow {
            oid: $oid, name: $name, array: $array, size: $size, element: $element, category: $category, kind: $kind,
            align: $align, by_value: $by_value, preferred: $preferred, shape: Shape::$shape,
        },)*];
        pub(super) static ARRAYS: &[TypeRow] = &[$(TypeRow {
            oid: $array, name: concat!("_", $name), array: 0, size: -1, element: $oid, category: 'A', kind: 'b',
            align: if $align == 'd' { 'd' } else { 'i' }, by_value: false, preferred: false, shape: Shape::Array,
        },)*];
    };
}

// oid name array size element category kind align by_value preferred shape
#[rustfmt::skip]
types! {
      16 "bool"                         1000  1   0 'B' 'b' 'c' true  true  Bool;
      17 "bytea"                        1001 -1   0 'U' 'b' 'i' false false Bytes;
      18 "char"                         1002  1   0 'Z' 'b' 'c' true  false Text;
      19 "name"                         1003 64  18 'S' 'b' 'c' false false Text;
      20 "int8"                         1016  8   0 'N' 'b' 'd' true  false Int8;
      21 "int2"                         1005  2   0 'N' 'b' 's' true  false Int2;
      22 "int2vector"                   1006 -1  21 'A' 'b' 'i' false false Vector;
      23 "int4"                         1007  4   0 'N' 'b' 'i' true  false Int4;
      24 "regproc"                      1008  4   0 'N' 'b' 'i' true  false Oid;
      25 "text"                         1009 -1   0 'S' 'b' 'i' false true  Text;
      26 "oid"                          1028  4   0 'N' 'b' 'i' true  true  Oid;
      27 "tid"                          1010  6   0 'U' 'b' 's' false false Tid;
      28 "xid"                          1011  4   0 'U' 'b' 'i' true  false Oid;
      29 "cid"                          1012  4   0 'U' 'b' 'i' true  false Oid;
      30 "oidvector"                    1013 -1  26 'A' 'b' 'i' false false Vector;
      32 "pg_ddl_command"                  0  8   0 'P' 'p' 'd' true  false Opaque;
     114 "json"                          199 -1   0 'U' 'b' 'i' false false Text;
     142 "xml"                           143 -1   0 'U' 'b' 'i' false false Text;
     194 "pg_node_tree"                    0 -1   0 'Z' 'b' 'i' false false Text;
     269 "table_am_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
     325 "index_am_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
     600 "point"                        1017 16 701 'G' 'b' 'd' false false Spelt;
     601 "lseg"                         1018 32 600 'G' 'b' 'd' false false Spelt;
     602 "path"                         1019 -1   0 'G' 'b' 'd' false false Spelt;
     603 "box"                          1020 32 600 'G' 'b' 'd' false false Spelt;
     604 "polygon"                      1027 -1   0 'G' 'b' 'd' false false Spelt;
     628 "line"                          629 24 701 'G' 'b' 'd' false false Spelt;
     650 "cidr"                          651 -1   0 'I' 'b' 'i' false false Spelt;
     700 "float4"                       1021  4   0 'N' 'b' 'i' true  false Float4;
     701 "float8"                       1022  8   0 'N' 'b' 'd' true  true  Float8;
     705 "unknown"                         0 -2   0 'X' 'p' 'c' false false Text;
     718 "circle"                        719 24   0 'G' 'b' 'd' false false Spelt;
     774 "macaddr8"                      775  8   0 'U' 'b' 'i' false false Spelt;
     790 "money"                         791  8   0 'N' 'b' 'd' true  false Spelt;
     829 "macaddr"                      1040  6   0 'U' 'b' 'i' false false Spelt;
     869 "inet"                         1041 -1   0 'I' 'b' 'i' false true  Spelt;
    1033 "aclitem"                      1034 12   0 'U' 'b' 'i' false false Spelt;
    1042 "bpchar"                       1014 -1   0 'S' 'b' 'i' false false Text;
    1043 "varchar"                      1015 -1   0 'S' 'b' 'i' false false Text;
    1082 "date"                         1182  4   0 'D' 'b' 'i' true  false Date;
    1083 "time"                         1183  8   0 'D' 'b' 'd' true  false Time;
    1114 "timestamp"                    1115  8   0 'D' 'b' 'd' true  false Timestamp;
    1184 "timestamptz"                  1185  8   0 'D' 'b' 'd' true  true  TimestampTz;
    1186 "interval"                     1187 16   0 'T' 'b' 'd' false true  Interval;
    1266 "timetz"                       1270 12   0 'D' 'b' 'd' false false TimeTz;
    1560 "bit"                          1561 -1   0 'V' 'b' 'i' false false Spelt;
    1562 "varbit"                       1563 -1   0 'V' 'b' 'i' false true  Spelt;
    1700 "numeric"                      1231 -1   0 'N' 'b' 'i' false false Numeric;
    1790 "refcursor"                    2201 -1   0 'U' 'b' 'i' false false Text;
    2202 "regprocedure"                 2207  4   0 'N' 'b' 'i' true  false Oid;
    2203 "regoper"                      2208  4   0 'N' 'b' 'i' true  false Oid;
    2204 "regoperator"                  2209  4   0 'N' 'b' 'i' true  false Oid;
    2205 "regclass"                     2210  4   0 'N' 'b' 'i' true  false Oid;
    2206 "regtype"                      2211  4   0 'N' 'b' 'i' true  false Oid;
    2249 "record"                       2287 -1   0 'P' 'p' 'd' false false Record;
    2275 "cstring"                      1263 -2   0 'P' 'p' 'c' false false Text;
    2276 "any"                             0  4   0 'P' 'p' 'i' true  false Opaque;
    2277 "anyarray"                        0 -1   0 'P' 'p' 'd' false false Opaque;
    2278 "void"                            0  4   0 'P' 'p' 'i' true  false Text;
    2279 "trigger"                         0  4   0 'P' 'p' 'i' true  false Opaque;
    2280 "language_handler"                0  4   0 'P' 'p' 'i' true  false Opaque;
    2281 "internal"                        0  8   0 'P' 'p' 'd' true  false Opaque;
    2283 "anyelement"                      0  4   0 'P' 'p' 'i' true  false Opaque;
    2776 "anynonarray"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    2950 "uuid"                         2951 16   0 'U' 'b' 'c' false false Uuid;
    2970 "txid_snapshot"                2949 -1   0 'U' 'b' 'd' false false Spelt;
    3115 "fdw_handler"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    3220 "pg_lsn"                       3221  8   0 'U' 'b' 'd' true  false Lsn;
    3310 "tsm_handler"                     0  4   0 'P' 'p' 'i' true  false Opaque;
    3361 "pg_ndistinct"                    0 -1   0 'Z' 'b' 'i' false false Opaque;
    3402 "pg_dependencies"                 0 -1   0 'Z' 'b' 'i' false false Opaque;
    3500 "anyenum"                         0  4   0 'P' 'p' 'i' true  false Opaque;
    3614 "tsvector"                     3643 -1   0 'U' 'b' 'i' false false Spelt;
    3615 "tsquery"                      3645 -1   0 'U' 'b' 'i' false false Spelt;
    3642 "gtsvector"                    3644 -1   0 'U' 'b' 'i' false false Opaque;
    3734 "regconfig"                    3735  4   0 'N' 'b' 'i' true  false Oid;
    3769 "regdictionary"                3770  4   0 'N' 'b' 'i' true  false Oid;
    3802 "jsonb"                        3807 -1   0 'U' 'b' 'i' false false Versioned;
    3831 "anyrange"                        0 -1   0 'P' 'p' 'd' false false Opaque;
    3838 "event_trigger"                   0  4   0 'P' 'p' 'i' true  false Opaque;
    3904 "int4range"                    3905 -1   0 'R' 'r' 'i' false false Spelt;
    3906 "numrange"                     3907 -1   0 'R' 'r' 'i' false false Spelt;
    3908 "tsrange"                      3909 -1   0 'R' 'r' 'd' false false Spelt;
    3910 "tstzrange"                    3911 -1   0 'R' 'r' 'd' false false Spelt;
    3912 "daterange"                    3913 -1   0 'R' 'r' 'i' false false Spelt;
    3926 "int8range"                    3927 -1   0 'R' 'r' 'd' false false Spelt;
    4072 "jsonpath"                     4073 -1   0 'U' 'b' 'i' false false Versioned;
    4089 "regnamespace"                 4090  4   0 'N' 'b' 'i' true  false Oid;
    4096 "regrole"                      4097  4   0 'N' 'b' 'i' true  false Oid;
    4191 "regcollation"                 4192  4   0 'N' 'b' 'i' true  false Oid;
    4451 "int4multirange"               6150 -1   0 'R' 'm' 'i' false false Spelt;
    4532 "nummultirange"                6151 -1   0 'R' 'm' 'i' false false Spelt;
    4533 "tsmultirange"                 6152 -1   0 'R' 'm' 'd' false false Spelt;
    4534 "tstzmultirange"               6153 -1   0 'R' 'm' 'd' false false Spelt;
    4535 "datemultirange"               6155 -1   0 'R' 'm' 'i' false false Spelt;
    4536 "int8multirange"               6157 -1   0 'R' 'm' 'd' false false Spelt;
    4537 "anymultirange"                   0 -1   0 'P' 'p' 'd' false false Opaque;
    4538 "anycompatiblemultirange"         0 -1   0 'P' 'p' 'd' false false Opaque;
    4600 "pg_brin_bloom_summary"           0 -1   0 'Z' 'b' 'i' false false Opaque;
    4601 "pg_brin_minmax_multi_summary"    0 -1   0 'Z' 'b' 'i' false false Opaque;
    5017 "pg_mcv_list"                     0 -1   0 'Z' 'b' 'i' false false Opaque;
    5038 "pg_snapshot"                  5039 -1   0 'U' 'b' 'd' false false Spelt;
    5069 "xid8"                          271  8   0 'U' 'b' 'd' true  false Xid8;
    5077 "anycompatible"                   0  4   0 'P' 'p' 'i' true  false Opaque;
    5078 "anycompatiblearray"              0 -1   0 'P' 'p' 'd' false false Opaque;
    5079 "anycompatiblenonarray"           0  4   0 'P' 'p' 'i' true  false Opaque;
    5080 "anycompatiblerange"              0 -1   0 'P' 'p' 'd' false false Opaque;
}
