//! Each function called as DataFusion calls it, its answer or its SQLSTATE. No statement is planned here.

use datafusion::config::ConfigOptions;

use super::*;
use crate::catalog::pg_catalog::settings::Handle;
use crate::catalog::visible::{BOOTSTRAP, Declared, Role, Sight, VisibleTable};
use crate::engine::settings::{Settings, SharedSettings};
use crate::types::TableName;
use arrow::datatypes::Schema;

fn settings(search_path: &str) -> Handle {
    SharedSettings::new(Settings::new("ann", search_path)).handle()
}

/// ann, an analyst, with one table that she may fill and one dataset; crm stands on her path.
fn view() -> Arc<View> {
    let table = |schema: &str, table: &str, oid, kind| VisibleTable {
        name: TableName::new(schema, table),
        oid,
        kind,
        schema: Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)])),
        may_insert: kind == 'r',
        may_update: false,
        may_delete: false,
        owner: BOOTSTRAP.0.to_string(),
        definition: None,
        declared: Declared::default(),
    };
    Arc::new(View {
        database: "shop".into(),
        user: "ann".into(),
        sight: Arc::new(Sight {
            roles: vec![
                Role { name: BOOTSTRAP.0.into(), oid: BOOTSTRAP.1, login: false, admin: true, member_of: vec![] },
                Role { name: "analyst".into(), oid: 20_001, login: false, admin: false, member_of: vec![] },
                Role { name: "ann".into(), oid: 20_002, login: true, admin: false, member_of: vec!["analyst".into()] },
            ],
            schemas: vec![
                ("Odd Name".into(), 20_005),
                ("crm".into(), 20_003),
                ("information_schema".into(), 13_207),
                ("pg_catalog".into(), 11),
                ("reports".into(), 20_004),
            ],
            creatable: ["crm".to_string()].into(),
            tables: vec![
                table("Odd Name", "a\"b", 30_004, 'r'),
                table("crm", "customers", 30_001, 'r'),
                table("crm", "pg_class", 30_003, 'r'),
                table("reports", "sums", 30_002, 'v'),
            ],
            ..Sight::default()
        }),
        settings: settings("\"$user\", CRM, nowhere"),
        pid: 4711,
        ..View::default()
    })
}

/// An argument as SQL would give it.
trait Given {
    fn given(self) -> ScalarValue;
}

impl Given for &str {
    fn given(self) -> ScalarValue {
        ScalarValue::Utf8View(Some(self.into()))
    }
}

impl Given for i64 {
    fn given(self) -> ScalarValue {
        ScalarValue::Int64(Some(self))
    }
}

impl Given for u32 {
    fn given(self) -> ScalarValue {
        ScalarValue::UInt32(Some(self))
    }
}

impl Given for bool {
    fn given(self) -> ScalarValue {
        ScalarValue::Boolean(Some(self))
    }
}

impl Given for () {
    fn given(self) -> ScalarValue {
        ScalarValue::Null
    }
}

impl Given for Vec<Option<&str>> {
    fn given(self) -> ScalarValue {
        let items: Vec<_> = self.into_iter().map(|t| ScalarValue::Utf8(t.map(Into::into))).collect();
        ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
    }
}

/// Plans and calls as DataFusion does; the answer, or the SQLSTATE.
fn call(name: &str, arguments: Vec<ScalarValue>) -> String {
    let functions = scalar(&view());
    let function = functions.iter().find(|f| f.name() == name).expect(name);
    let given: Vec<DataType> = arguments.iter().map(ScalarValue::data_type).collect();
    let answer = function.coerce_types(&given).and_then(|types| {
        let arguments: Vec<ScalarValue> =
            arguments.iter().zip(&types).map(|(a, t)| a.cast_to(t)).collect::<DataFusionResult<_>>()?;
        let fields: Vec<FieldRef> = types.iter().map(|t| Arc::new(Field::new("a", t.clone(), true))).collect();
        let known: Vec<Option<&ScalarValue>> = arguments.iter().map(Some).collect();
        let return_field =
            function.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &known })?;
        function.invoke_with_args(ScalarFunctionArgs {
            args: arguments.into_iter().map(ColumnarValue::Scalar).collect(),
            arg_fields: fields,
            number_rows: 1,
            return_field,
            config_options: Arc::new(ConfigOptions::default()),
        })
    });
    match answer {
        Ok(ColumnarValue::Scalar(value)) if value.is_null() => "NULL".into(),
        Ok(ColumnarValue::Scalar(value)) => value.to_string(),
        // of one that is called for each row
        Ok(ColumnarValue::Array(array)) if function.signature().volatility == Volatility::Volatile => {
            let value = ScalarValue::try_from_array(&array, 0).unwrap();
            if value.is_null() { "NULL".into() } else { value.to_string() }
        }
        Ok(ColumnarValue::Array(array)) => panic!("{array:?} from constants"),
        Err(error) => Error::from(error).kind().sqlstate().into(),
    }
}

macro_rules! check {
    ($($name:ident($($argument:expr),*) = $expect:expr;)*) => {
        $(
            let spelt = concat!(stringify!($name), "(", $(stringify!($argument), ", ",)* ")");
            assert_eq!(call(stringify!($name), vec![$(Given::given($argument)),*]), $expect, "{spelt}");
        )*
    };
}

#[test]
fn the_session_knows_itself() {
    check! {
        current_user() = "ann";
        session_user() = "ann";
        current_database() = "shop";
        current_catalog() = "shop";
        current_schema() = "crm";
        current_schemas(false) = "[crm]";
        current_schemas(true) = "[pg_catalog, crm]";
        current_schemas(()) = "NULL";
        current_setting("timezone") = "UTC";
        current_setting("nosuch") = "42704";
        current_setting("nosuch", true) = "NULL";
        pg_backend_pid() = "4711";
        pg_is_in_recovery() = "false";
        inet_server_addr() = "NULL";
    }
    assert!(call("version", vec![]).starts_with("PostgreSQL 15."), "{}", call("version", vec![]));
}

#[test]
fn names_become_oids_and_oids_names() {
    check! {
        lakegate_regclass("pg_class") = "1259";
        lakegate_regclass("crm.pg_class") = "30003";
        lakegate_regclass("customers") = "30001";
        lakegate_regclass("CRM.Customers") = "30001";
        lakegate_regclass("\"crm\" . \"customers\"") = "30001";
        lakegate_regclass("shop.crm.customers") = "30001";
        lakegate_regclass("other.crm.customers") = "0A000";
        lakegate_regclass("\"Odd Name\".\"a\"\"b\"") = "30004";
        lakegate_regclass("sums") = "42P01";
        lakegate_regclass("crm.") = "42602";
        lakegate_regclass("crm.customers.") = "42602";
        lakegate_regclass("") = "42602";
        lakegate_regclass("1259") = "1259";
        lakegate_regclass("99999999999") = "22003";
        lakegate_regclass("-") = "0";
        lakegate_regclass(30_001_u32) = "30001";
        lakegate_regclass(-1_i64) = "22003";
        lakegate_regclass(()) = "NULL";
        to_regclass("sums") = "NULL";
        to_regclass("reports.sums") = "30002";
        lakegate_regclass_name(1259_u32) = "pg_class";
        lakegate_regclass_name(30_001_u32) = "customers";
        lakegate_regclass_name(30_003_u32) = "crm.pg_class";
        lakegate_regclass_name(30_002_u32) = "reports.sums";
        lakegate_regclass_name(30_004_u32) = "\"Odd Name\".\"a\"\"b\"";
        lakegate_regclass_name(77_u32) = "77";
        lakegate_regclass_name(0_u32) = "-";
        lakegate_regnamespace("crm") = "20003";
        lakegate_regnamespace("nosuch") = "3F000";
        lakegate_regnamespace_name(20_005_u32) = "\"Odd Name\"";
        lakegate_regrole("ann") = "20002";
        lakegate_regrole("bob") = "42704";
        to_regrole("bob") = "NULL";
        pg_table_is_visible(30_001_u32) = "true";
        pg_table_is_visible(30_003_u32) = "false";
        pg_table_is_visible(30_002_u32) = "false";
        pg_table_is_visible(1259_u32) = "true";
        pg_table_is_visible(77_u32) = "NULL";
        pg_type_is_visible(23_u32) = "true";
        pg_type_is_visible(77_u32) = "NULL";
    }
}

#[test]
fn privileges_are_those_of_the_policy() {
    check! {
        has_table_privilege("crm.customers", "select") = "true";
        has_table_privilege("customers", "UPDATE, insert") = "true";
        has_table_privilege("customers", "UPDATE") = "false";
        has_table_privilege("customers", "SELECT WITH GRANT OPTION") = "false";
        has_table_privilege("customers", "LOOK") = "22023";
        has_table_privilege("reports.sums", "insert") = "false";
        has_table_privilege("reports.nosuch", "select") = "42P01";
        has_table_privilege(30_001_u32, "select") = "true";
        has_table_privilege(77_u32, "select") = "NULL";
        has_table_privilege("ann", "customers", "select") = "true";
        has_table_privilege(20_002_u32, "customers", "select") = "true";
        has_table_privilege("analyst", "customers", "select") = "42501";
        has_table_privilege("bob", "customers", "select") = "42704";
        has_table_privilege("pg_class", "select") = "true";
        has_table_privilege("pg_class", "insert") = "false";
        has_any_column_privilege("customers", "SELECT, INSERT, UPDATE, REFERENCES") = "true";
        has_column_privilege("customers", "id", "select") = "true";
        has_column_privilege("customers", "ssn", "select") = "42703";
        has_column_privilege("customers", 1_i64, "select") = "true";
        has_column_privilege("customers", 2_i64, "select") = "NULL";
        has_schema_privilege("crm", "usage") = "true";
        has_schema_privilege("crm", "create") = "true";
        has_schema_privilege("reports", "create") = "false";
        has_schema_privilege("hidden", "usage") = "3F000";
        has_schema_privilege(11_u32, "USAGE") = "true";
        has_database_privilege("shop", "CONNECT") = "true";
        has_database_privilege("shop", "TEMP") = "true";
        has_database_privilege("other", "CONNECT") = "3D000";
        pg_has_role("analyst", "USAGE") = "true";
        pg_has_role("pg_lakegate", "USAGE") = "false";
        has_table_privilege("customers") = "42883";
    }
}

#[test]
fn definitions_are_spelt_as_postgres_spells_them() {
    check! {
        format_type(1043_u32, 14_i64) = "character varying(10)";
        format_type(1043_u32, ()) = "character varying";
        format_type((), 14_i64) = "NULL";
        format_type(-5_i64, ()) = "???";
        pg_get_userbyid(20_002_u32) = "ann";
        pg_get_userbyid(10_u32) = "pg_lakegate";
        pg_get_userbyid(77_u32) = "unknown (OID=77)";
        pg_get_viewdef("reports.sums") = "";
        pg_get_viewdef("reports.nosuch") = "42P01";
        pg_get_viewdef(30_002_u32, true) = "";
        obj_description(1_u32, "pg_class") = "NULL";
        pg_table_size(30_001_u32) = "NULL";
    }
}

#[test]
fn what_depends_on_the_session_says_so() {
    for function in scalar(&view()) {
        let volatility = function.signature().volatility;
        let pure = ["getdatabaseencoding", "pg_column_size", "pg_indexam_"];
        let is_pure = pure.iter().any(|prefix| function.name().starts_with(prefix));
        let expect = match function.name() {
            "set_config" | "current_setting" => Volatility::Volatile,
            "nextval" | "currval" | "lastval" | "setval" => Volatility::Volatile,
            "pg_cancel_backend" | "pg_terminate_backend" | "pg_notify" | "pg_blocking_pids" => Volatility::Volatile,
            "pg_safe_snapshot_blocking_pids" | "pg_show_all_settings" | "pg_cursor" => Volatility::Volatile,
            "pg_lock_status" | "pg_last_xact_replay_timestamp" => Volatility::Volatile,
            replay if replay.contains("wal_replay") => Volatility::Volatile,
            "pg_sleep" => Volatility::Volatile,
            locks if locks.contains("advisory") => Volatility::Volatile,
            _ if is_pure => Volatility::Immutable,
            _ => Volatility::Stable,
        };
        assert_eq!(volatility, expect, "{}", function.name());
    }
    let names: std::collections::BTreeSet<_> = scalar(&view()).iter().map(|f| f.name().to_string()).collect();
    assert_eq!(names.len(), scalar(&view()).len(), "a name stands twice");
}
