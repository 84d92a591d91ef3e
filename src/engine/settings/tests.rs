//! What SET takes, and what SHOW says afterwards: answers of PostgreSQL 15.18 to a user who is no superuser.

use super::*;

fn settings() -> Settings {
    let mut settings = Settings::new("ann", "\"$user\", public");
    settings.started();
    settings
}

/// What SHOW says after SET, or SQLSTATE and message.
fn set(settings: &mut Settings, name: &str, value: &str) -> String {
    match settings.set(name, Some(value), false).and_then(|()| settings.shown(name)) {
        Ok(shown) => shown,
        Err(error) => {
            let more = error.detail().or(error.hint()).map(|more| format!(" | {more}")).unwrap_or_default();
            format!("{} {}{more}", error.kind().sqlstate(), error.message())
        }
    }
}

#[test]
fn values_are_checked_and_shown_as_postgresql_does() {
    let memory = "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".";
    let mut settings = settings();
    for (name, value, shown) in [
        ("work_mem", "1GB", "1GB"),
        ("work_mem", "1025", "1025kB"),
        ("WORK_MEM", "1.5MB", "1536kB"),
        ("work_mem", "64.4kB", "64kB"),
        ("work_mem", "0.5", "22023 0 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)"),
        (
            "work_mem",
            "5 lightyears",
            &format!("22023 invalid value for parameter \"work_mem\": \"5 lightyears\" | {memory}"),
        ),
        ("work_mem", "abc", "22023 invalid value for parameter \"work_mem\": \"abc\""),
        (
            "work_mem",
            "99999TB",
            "22023 invalid value for parameter \"work_mem\": \"99999TB\" | Value exceeds integer range.",
        ),
        ("statement_timeout", "1.5s", "1500ms"),
        ("statement_timeout", "90s", "90s"),
        ("statement_timeout", "3600s", "1h"),
        ("statement_timeout", "0x10", "16ms"),
        (
            "statement_timeout",
            "-1",
            "22023 -1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)",
        ),
        ("statement_timeout", "0", "0"),
        ("geqo", "of", "off"),
        ("geqo", "o", "22023 parameter \"geqo\" requires a Boolean value"),
        (
            "cursor_tuple_fraction",
            "2",
            "22023 2 is outside the valid range for parameter \"cursor_tuple_fraction\" (0 .. 1)",
        ),
        ("cursor_tuple_fraction", "0.3", "0.3"),
        ("vacuum_cost_delay", "1500us", "1500us"),
        (
            "bytea_output",
            "1",
            "22023 invalid value for parameter \"bytea_output\": \"1\" | Available values: escape, hex.",
        ),
        ("client_min_messages", "debug", "debug2"),
        ("synchronous_commit", "yes", "on"),
        ("datestyle", "german", "German, DMY"),
        ("datestyle", "sql, dmy", "SQL, DMY"),
        ("datestyle", "postgres,ymd", "Postgres, YMD"),
        ("datestyle", "European", "Postgres, DMY"),
        ("datestyle", "iso, default", "ISO, MDY"),
        (
            "datestyle",
            "iso,sql",
            "22023 invalid value for parameter \"DateStyle\": \"iso,sql\" | Conflicting \"datestyle\" specifications.",
        ),
        (
            "datestyle",
            "foo",
            "22023 invalid value for parameter \"DateStyle\": \"foo\" | Unrecognized key word: \"foo\".",
        ),
        ("timezone", "europe/berlin", "Europe/Berlin"),
        ("timezone", "-8", "<-08>+08"),
        ("timezone", "+3", "<+03>-03"),
        ("timezone", "UTC+3", "UTC+3"),
        ("timezone", "EST5EDT", "EST5EDT"),
        ("timezone", "INTERVAL '-08:00'", "<-08>+08"),
        (
            "timezone",
            "INTERVAL '1 day'",
            "22023 invalid value for parameter \"TimeZone\": \"INTERVAL '1 day'\" | Cannot specify days in time zone interval.",
        ),
        ("timezone", "foo/bar", "22023 invalid value for parameter \"TimeZone\": \"foo/bar\""),
        ("timezone", "", "22023 invalid value for parameter \"TimeZone\": \"\""),
        ("client_encoding", "utf-8", "UTF8"),
        ("client_encoding", "sql_ascii", "SQL_ASCII"),
        ("client_encoding", "foo", "22023 invalid value for parameter \"client_encoding\": \"foo\""),
        ("search_path", "a b", "22023 invalid value for parameter \"search_path\": \"a b\" | List syntax is invalid."),
        ("nosuch", "1", "42704 unrecognized configuration parameter \"nosuch\""),
        (
            "my app.x",
            "1",
            "42602 invalid configuration parameter name \"my app.x\" | Custom parameter names must be two or more simple identifiers separated by dots.",
        ),
        ("myapp.x", "1", "1"),
        ("shared_buffers", "1", "55P02 parameter \"shared_buffers\" cannot be changed without restarting the server"),
        ("fsync", "off", "55P02 parameter \"fsync\" cannot be changed now"),
        ("server_version", "1", "55P02 parameter \"server_version\" cannot be changed"),
        (
            "ignore_system_indexes",
            "on",
            "55P02 parameter \"ignore_system_indexes\" cannot be set after connection start",
        ),
        ("log_statement", "all", "42501 permission denied to set parameter \"log_statement\""),
    ] {
        assert_eq!(set(&mut settings, name, value), shown, "{name} = {value}");
    }
    assert_eq!(set(&mut settings, "data_directory", "x").split(' ').next(), Some("55P02"));
    assert_eq!(settings.shown("data_directory").unwrap_err().kind(), Kind::PermissionDenied);
}

/// Identity, authority and the engine are not a client's to set.
#[test]
fn nobody_becomes_another_by_a_setting() {
    let mut settings = settings();
    for (name, value, code) in [
        ("role", "admin", "42501"),
        ("session_authorization", "admin", "42501"),
        ("is_superuser", "on", "55P02"),
        ("datafusion.execution.batch_size", "1", "42602"),
        ("lakegate.user", "admin", "42602"),
        ("user.region", "US", "42602"),
        ("standard_conforming_strings", "off", "0A000"),
        ("local_preload_libraries", "x", "42501"),
    ] {
        assert_eq!(settings.set(name, Some(value), false).unwrap_err().kind().sqlstate(), code, "{name} = {value}");
    }
    assert_eq!(set(&mut settings, "role", "ann"), "ann");
    assert_eq!(set(&mut settings, "role", "none"), "none");
}

#[test]
fn lists_are_joined_as_each_setting_has_them() {
    let list = |name: &str, values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| (*value).to_string()).collect();
        joined(name, &values).unwrap_or_else(|error| error.message().to_string())
    };
    assert_eq!(list("search_path", &["$user", "public", "C D", "select"]), "\"$user\", public, \"C D\", \"select\"");
    assert_eq!(list("search_path", &["a, b"]), "\"a, b\"");
    assert_eq!(list("datestyle", &["postgres", "ymd"]), "postgres, ymd");
    assert_eq!(list("timezone", &["a", "b"]), "SET TimeZone takes only one argument");
}

#[test]
fn every_setting_s_own_value_passes_its_check() {
    let plain = settings();
    for known in crate::catalog::pg_catalog::settings::settings() {
        if known.context == Context::User && !matches!(known.name, "session_authorization") {
            let checked = check::check(&plain, known, known.value);
            assert!(checked.is_ok(), "{} = {:?}: {checked:?}", known.name, known.value);
        }
    }
}

#[test]
fn reset_comes_back_to_what_the_client_started_with() {
    let mut settings = Settings::new("ann", "public");
    settings.set("timezone", Some("Asia/Tokyo"), false).unwrap();
    settings.started();
    let version = settings.version();
    assert_eq!(set(&mut settings, "timezone", "UTC"), "UTC");
    assert!(settings.version() > version);
    settings.set("application_name", Some("x"), false).unwrap();
    settings.reset_all();
    assert_eq!((settings.value("TimeZone"), settings.value("application_name")), ("Asia/Tokyo", ""));
    assert_eq!(settings.time_zone(), Tz::Asia__Tokyo);
}

#[test]
fn what_a_session_sets_is_bounded() {
    let mut settings = settings();
    let large = "x".repeat(BYTES_MAX);
    assert_eq!(settings.set("my.text", Some(&large), false).unwrap_err().kind(), Kind::TooLarge);
}
