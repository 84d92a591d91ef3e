//! What every file owes its reader. It looks at text; what code means is clippy's business.

use crate::tree::{self, File};

/// Looked at twice above this, and printed.
const LINES_TWICE: usize = 400;

fn rust() -> Vec<File> {
    ["src", "tests", "benches"]
        .into_iter()
        .filter(|f| tree::root().join(f).is_dir())
        .flat_map(|f| tree::files(f, ".rs"))
        .collect()
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let silent: Vec<String> = rust().into_iter().filter(|f| !f.text.starts_with("//!")).map(|f| f.path).collect();
    assert!(silent.is_empty(), "no //! on the first line:\n{}", silent.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two parts, or this file would name itself.
    let leftovers = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!(")).into_iter();
    let leftovers: Vec<String> = leftovers.chain([format!("#[{}", "ignore"), format!("FIX{}", "ME")]).collect();
    let mut found = Vec::new();
    for file in rust() {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = leftovers.iter().find(|word| line.contains(*word)) {
                found.push(format!("{}:{}: {word}", file.path, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let machine = regex::Regex::new(r#"(?:^|[\s"'`(=])/(?:work|root|home/[a-z]+)/[a-z.]"#).unwrap();
    let mut found = Vec::new();
    for file in tree::files("", "").into_iter().filter(|f| !f.path.ends_with(".lock")) {
        for (number, line) in file.text.lines().enumerate() {
            if machine.is_match(line) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// A report, not a verdict: `cargo test tidy -- --nocapture` shows it.
#[test]
fn long_files_are_named() {
    let mut long: Vec<(usize, String)> = rust().into_iter().map(|f| (f.text.lines().count(), f.path)).collect();
    long.retain(|(lines, _)| *lines > LINES_TWICE);
    long.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in long {
        println!("{lines:5} {path}");
    }
}
