//! One row a mistake: what was written, what is said of it.

use super::*;

/// Settles `text` in a directory with `catalog/`, `policies/` and a good key file `good.key`.
fn settle_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let home = tempfile::tempdir().unwrap();
    for directory in ["catalog", "policies", "elsewhere"] {
        fs::create_dir(home.path().join(directory)).unwrap();
    }
    fs::write(home.path().join("good.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(home.path().join("short.key"), "0123\n").unwrap();
    let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string());
    let root = format!("{}/", home.path().display());
    Config::settle("lakegate.toml", text, home.path(), lookup)
        .map_err(|faults| faults.iter().map(|f| f.to_string().replace(&root, "")).collect())
}

fn check(text: &str, expected: &[&str]) {
    match settle_with(text, &[]) {
        Ok(_) => assert!(expected.is_empty(), "accepted: {text}"),
        Err(faults) => assert_eq!(faults, expected, "{text}"),
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = settle_with("", &[]).unwrap();
    assert_eq!(config.engine.database, "lakegate");
    assert!(config.catalog_dir.ends_with("catalog"));
    assert!(config.engine.memory_bytes > 0 && config.engine.partitions > 0);
}

#[test]
fn an_unknown_key_is_named_with_its_nearest() {
    check(
        "[engine]\nmemory_byte = 1\n",
        &["lakegate.toml:2:1: unknown key `memory_byte` in [engine]; did you mean `memory_bytes`?"],
    );
    check("catalog_dri = 'x'", &["lakegate.toml:1:1: unknown key `catalog_dri`; did you mean `catalog_dir`?"]);
    check("[engin]\n", &["lakegate.toml:1:2: unknown key `engin`; did you mean `engine`?"]);
    check("[log]\nxyzzy = 1", &["lakegate.toml:2:1: unknown key `xyzzy` in [log]; there are `filter`, `format`"]);
    check(
        "wire.tls = 'requir'",
        &["lakegate.toml:1:12: `tls` in [wire]: unknown value `requir`; did you mean `require`?"],
    );
}

#[test]
fn every_fault_is_reported_in_the_order_of_the_file() {
    check(
        "catalog_dri = 'x'\n[engine]\nmemory_bytes = \"much\"\ndatabse = 1\n[engine.statement]\ndepth_max = -1\n[wire]\nlisten = ['nowhere']\n",
        &[
            "lakegate.toml:1:1: unknown key `catalog_dri`; did you mean `catalog_dir`?",
            "lakegate.toml:3:16: `memory_bytes` in [engine]: invalid type: string \"much\", expected u64",
            "lakegate.toml:4:1: unknown key `databse` in [engine]; did you mean `database`?",
            "lakegate.toml:6:13: `depth_max` in [engine.statement]: invalid value: integer `-1`, expected usize",
            "lakegate.toml:8:11: `listen` in [wire]: invalid socket address syntax",
        ],
    );
}

#[test]
fn syntax_errors_and_duplicates_do_not_hide_the_rest() {
    let faults = settle_with("catalog_dir = 'catalog'\ncatalog_dir = 'b'\n[log]\nfiltr = 'x'\n", &[]).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("lakegate.toml:2:1: duplicate key"), "{faults:?}");
    assert!(faults[1].starts_with("lakegate.toml:4:1: unknown key `filtr`"), "{faults:?}");
    let faults = settle_with("catalog_dir = \n", &[]).unwrap_err();
    assert!(faults[0].starts_with("lakegate.toml:1:"), "{faults:?}");
}

#[test]
fn columns_count_characters() {
    check(
        "log = { filter = 'ü', formt = 1 }",
        &["lakegate.toml:1:23: unknown key `formt` in [log]; did you mean `format`?"],
    );
}

#[test]
fn contradictions_stand_at_the_key_they_are_about() {
    check(
        "[wire]\ntls = 'require'\n[engine]\ndatabase = ''\nmemory_bytes = 1_000\n",
        &[
            "lakegate.toml:2:1: [wire]: `tls` needs `certificate` and `key`",
            "lakegate.toml:4:1: [engine]: `database` is not a name of 1 to 63 bytes",
            "lakegate.toml:5:1: [engine]: `memory_bytes` is below 64 MiB",
        ],
    );
    check(
        "[engine]\n[engine.cache]\nbytes_max = 1_000\nentry_bytes_max = 1_001\n",
        &["lakegate.toml:2:9: [engine]: `cache` has an `entry_bytes_max` above its `bytes_max`"],
    );
}

#[test]
fn files_and_directories_that_cannot_be_read_are_faults() {
    check(
        "catalog_dir = 'nowhere'\nkey_file = 'no.key'\n[wire]\ncertificate = 'no.pem'\nkey = 'good.key'\n",
        &[
            "lakegate.toml:1:1: `catalog_dir`: nowhere cannot be read: No such file or directory (os error 2)",
            "lakegate.toml:2:1: `key_file`: no.key cannot be read: No such file or directory (os error 2)",
            "lakegate.toml:4:1: `certificate` in [wire]: no.pem cannot be read: No such file or directory (os error 2)",
        ],
    );
    check("key_file = 'short.key'", &["lakegate.toml:1:1: the key in short.key is shorter than 16 bytes"]);
}

#[test]
fn a_missing_file_is_a_fault_of_its_own() {
    let faults = Config::load(Path::new("no/such.toml"), |_| None).unwrap_err();
    assert!(faults[0].to_string().starts_with("no/such.toml:1:1: cannot be read: "), "{faults:?}");
}

#[test]
fn the_environment_overrides_paths_and_secrets() {
    let config = settle_with(
        "catalog_dir = 'nowhere'",
        &[("LAKEGATE_CATALOG_DIR", "elsewhere"), ("LAKEGATE_KEY", "an environment's key")],
    )
    .unwrap();
    assert!(config.catalog_dir.ends_with("elsewhere"));
    assert_eq!(config.key.unwrap().reveal(), b"an environment's key");
}

#[test]
fn the_settled_form_shows_every_default_and_no_secret() {
    let config = settle_with("key_file = 'good.key'\n[log]\nformat = 'json'", &[]).unwrap();
    let printed = config.print();
    assert!(printed.contains("key = \"********\"") && !printed.contains("0123456789abcdef"), "{printed}");
    assert!(printed.contains("[engine.statement]\n") && printed.contains("format = \"json\""), "{printed}");
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn the_http_token_is_a_secret_from_a_file_or_the_environment() {
    let text = "[wire]\nhttp_token_file = 'good.key'\nhttp_networks = ['10.0.0.0/8', '192.0.2.7']\n";
    let config = settle_with(text, &[]).unwrap();
    assert_eq!(config.wire.http_token.as_ref().unwrap().reveal(), b"0123456789abcdef0123456789abcdef");
    let printed = config.print();
    assert!(printed.contains("http_token = \"********\"") && !printed.contains("0123456789abcdef"), "{printed}");
    assert!(printed.contains("http_networks = [\"10.0.0.0/8\", \"192.0.2.7/32\"]"), "{printed}");
    let config = settle_with(text, &[("LAKEGATE_HTTP_TOKEN", "an environment's token")]).unwrap();
    assert_eq!(config.wire.http_token.unwrap().reveal(), b"an environment's token");
    check(
        "[wire]\nhttp_token_file = 'short.key'\n",
        &["lakegate.toml:2:1: the token in short.key is shorter than 16 bytes"],
    );
    check(
        "[wire]\nhttp_token_file = 'no.key'\n",
        &["lakegate.toml:2:1: `http_token_file`: no.key cannot be read: No such file or directory (os error 2)"],
    );
    check(
        "[wire]\nhttp_networks = ['10.0.0.0/8', '10.0.0.0/99']\n",
        &["lakegate.toml:2:17: `http_networks` in [wire]: `10.0.0.0/99` is not a network such as 10.0.0.0/8"],
    );
    let faults = settle_with("[wire]\nhttp_token = 'in clear'\n", &[]).unwrap_err();
    assert!(faults[0].contains("unknown key `http_token` in [wire]"), "{faults:?}");
}
