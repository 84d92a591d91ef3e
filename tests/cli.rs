//! The command line as a person meets it: exit codes, what is said, how soon. What commands find is other tests' business.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::tree;
use crate::wire::client::Client;

/// A refused configuration says so within this.
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// A directory with the shipped policies, a memory source and a `lakegate.toml` that starts with `first`.
fn home(first: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("catalog/sources")).unwrap();
    fs::create_dir_all(home.path().join("policies")).unwrap();
    let source = "kind = \"memory\"\n[[table]]\nname = \"sales.orders\"\n\
                  columns = [{ name = \"order_id\", type = \"int8\" }, { name = \"region\", type = \"text\" }]\nrows = []\n";
    fs::write(home.path().join("catalog/sources/fixtures.toml"), source).unwrap();
    fs::copy(tree::root().join("policies/model.conf"), home.path().join("policies/model.conf")).unwrap();
    write_private(
        home.path(),
        "policies/policy.csv",
        "p, ann, sales.orders, select, allow\np2, ann, sales.orders, \"region = 'EU'\"\n",
    );
    write_private(home.path(), "policies/users.toml", "");
    fs::write(home.path().join("lakegate.toml"), format!("{first}\n[wire]\nlisten = [\"127.0.0.1:0\"]\n")).unwrap();
    home
}

fn write_private(home: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(home.join(name), text).unwrap();
    fs::set_permissions(home.join(name), fs::Permissions::from_mode(0o600)).unwrap();
}

fn lakegate(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
    command.current_dir(home).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.env_remove("LAKEGATE_CONFIG").spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_broken_configuration_is_refused_at_once_with_every_place() {
    let home = home("databse = 'x'\nkey_file = 'none.key'");
    for command in [&["serve"][..], &["check"], &["serve", "--print-config"]] {
        let begin = Instant::now();
        let output = lakegate(home.path(), command, "");
        assert!(begin.elapsed() < REFUSAL_MAX, "{command:?} took {:?}", begin.elapsed());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let text = said(&output.stderr);
        assert!(text.contains("lakegate.toml:1:1: unknown key `databse`"), "{text}");
        assert!(text.contains("lakegate.toml:2:1: `key_file`: none.key cannot be read"), "{text}");
    }
}

#[test]
fn a_source_of_files_is_checked_where_it_says_so() {
    let home = home("");
    let source = "kind = \"files\"\nschema = \"raw\"\npath = \"/data\"\n[tables.t]\nformat = \"csv\"\nfile = \"*\"\n\
                  columns = [\n  { name = \"id\", type = \"int9\" },\n]\n";
    let drop = home.path().join("catalog/sources/drop.toml");
    fs::write(&drop, source.replace("int9", "int8")).unwrap();
    let check = || said(&lakegate(home.path(), &["check"], "").stderr);
    let text = check();
    assert!(text.contains("drop.toml:6:1: unknown key `file`; did you mean `files`?"), "{text}");
    fs::write(&drop, source.replace("file =", "files =")).unwrap();
    let text = check();
    assert!(text.contains("drop.toml:7:11: column \"id\" has type \"int9\", which files are not read as"), "{text}");
}

#[test]
fn a_missing_configuration_says_how_to_name_one() {
    let empty = tempfile::tempdir().unwrap();
    let output = lakegate(empty.path(), &["serve"], "");
    assert!(!output.status.success() && said(&output.stderr).contains("--config FILE"), "{}", said(&output.stderr));
}

#[test]
fn the_settled_configuration_is_printed_without_secrets() {
    let home = home("key_file = 'a.key'");
    fs::write(home.path().join("a.key"), "0123456789abcdef0123456789abcdef").unwrap();
    let output = lakegate(home.path(), &["--print-config"], "");
    let text = said(&output.stdout);
    assert!(output.status.success() && text.contains("connections_max") && !text.contains("0123456789"), "{text}");
}

#[test]
fn a_user_is_added_and_policies_are_checked_and_explained() {
    let home = home("");
    let added = lakegate(home.path(), &["policy", "user", "add", "ann"], "correct horse\n");
    assert!(added.status.success(), "{}", said(&added.stderr));
    let users = fs::read_to_string(home.path().join("policies/users.toml")).unwrap();
    assert!(users.contains("[user.ann]") && users.contains("SCRAM-SHA-256$") && !users.contains("horse"), "{users}");
    let again = lakegate(home.path(), &["policy", "user", "add", "ann"], "x\n");
    assert_eq!(again.status.code(), Some(1), "{}", said(&again.stderr));

    for command in [&["check"][..], &["policy", "check", "--strict"], &["policy", "check", "--offline"]] {
        let output = lakegate(home.path(), command, "");
        assert!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    }
    let explained = lakegate(home.path(), &["policy", "explain", "ann", "sales.orders", "--verify"], "");
    assert!(explained.status.success(), "{}", said(&explained.stderr));
    assert!(said(&explained.stdout).contains("policy.csv:2"), "{}", said(&explained.stdout));
    let matrix = lakegate(home.path(), &["policy", "matrix"], "");
    assert!(said(&matrix.stdout).contains("ann sales.orders region see"), "{}", said(&matrix.stdout));
    assert!(!home.path().join("lakegate.db").exists(), "a check made a database");
}

#[test]
fn a_fault_in_a_policy_fails_the_check_with_its_place() {
    let home = home("");
    write_private(home.path(), "policies/policy.csv", "p, ann, sales.orders, select, Deny\n");
    for command in [&["check"][..], &["policy", "check"], &["policy", "check", "--offline"]] {
        let output = lakegate(home.path(), command, "");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(said(&output.stderr).contains("policy.csv:1:31"), "{command:?}: {}", said(&output.stderr));
    }
}

#[test]
fn help_teaches_by_example() {
    let empty = tempfile::tempdir().unwrap();
    let output = lakegate(empty.path(), &["--help"], "");
    let text = said(&output.stdout);
    for example in ["lakegate demo", "lakegate policy explain", "LAKEGATE_CATALOG_DIR"] {
        assert!(text.contains(example), "{example} is not in the help:\n{text}");
    }
}

/// Whoever has not logged in yet may call himself anything, and what he calls himself is logged.
#[tokio::test]
async fn a_strangers_name_begins_no_line_of_the_log() {
    const NAME: &str = "x\n2026-01-01T00:00:00.000000Z  INFO audit: statement user=\"admin\" outcome=\"ok\"\r\u{1b}[2J";
    let address_of = regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    let begin = regex::Regex::new(r"^20\d\d-\d\d-\d\dT[\d:.]+Z ( INFO|DEBUG| WARN)").unwrap();
    for format in ["text", "json"] {
        let home = home(&format!("[log]\nformat = '{format}'\nfilter = 'info,lakegate=debug'"));
        write_private(home.path(), "policies/policy.csv", "");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.current_dir(home.path()).arg("serve").env_remove("LAKEGATE_CONFIG").stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let (says, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map(|line| says.send(line)).all(|sent| sent.is_ok()));
        let mut log = Vec::new();
        let mut until = |text: &str| loop {
            let line = heard.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|e| panic!("{e}: {log:?}"));
            log.push(line.clone());
            if line.contains(text) {
                return line;
            }
        };
        let serving = until("serving");
        let address = address_of.find(&serving).unwrap().as_str().parse().unwrap();
        Client::log_in(address, NAME, "guess").await.err().unwrap();
        until("login failed");
        until("error sent");
        process.kill().unwrap();
        process.wait().unwrap();
        for line in &log {
            assert!(!line.contains(char::is_control), "{line:?}");
            match format {
                "json" => drop(serde_json::from_str::<serde_json::Value>(line).unwrap()),
                _ => assert!(begin.is_match(line) && !line.contains("audit: statement user=\"admin\""), "{line}"),
            }
        }
        assert_eq!(log.iter().filter(|line| line.contains("2026-01-01T00:00:00")).count(), 2, "{log:#?}");
    }
}
