//! `lakegate policy user add`: a new user at the end of users.toml. No clear password is stored, no comment lost.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::RngCore;

use super::file::{USERS_FILE, object};
use super::scram::{ITERATIONS, SALT_BYTES, scram_verifier};
use crate::error::{Error, Kind, Result};

/// Appends `[user.NAME]` with a verifier of `password`; refuses a name that is there already. The file is replaced
/// whole, with mode 0600, or not touched. Answers what to tell the administrator.
pub fn user_add(folder: &Path, name: &str, password: &str) -> Result<String> {
    let path = folder.join(USERS_FILE);
    let refused = |what: String| Error::new(Kind::Config, format!("{}: {what}", path.display()));
    object::parse_subject(name).map_err(|m| refused(format!("user `{name}`: {}", m.text)))?;
    if password.is_empty() {
        return Err(refused("a password is needed".into()));
    }
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(refused(format!("cannot be read: {error}"))),
    };
    if users(&before).map_err(&refused)?.iter().any(|known| known == name) {
        return Err(refused(format!("user `{name}` is there already")));
    }
    let after = format!("{before}{}[user.{}]\nscram = \"{}\"\n", gap(&before), toml_key(name), verifier(password));
    // what was appended must mean what it should: `user` may stand there in a form that cannot be added to
    match users(&after) {
        Ok(users) if users.iter().any(|known| known == name) => {}
        _ => return Err(refused("a user cannot be appended; `[user.NAME]` tables belong at its end".into())),
    }
    replace(&path, &after).map_err(|e| refused(format!("cannot be written: {e}")))?;
    Ok(format!("user `{name}` added to {}; it sees nothing until a line in policy.csv says so", path.display()))
}

fn gap(before: &str) -> &'static str {
    match before {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    }
}

fn verifier(password: &str) -> String {
    let mut salt = [0u8; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    scram_verifier(password, &salt, ITERATIONS)
}

fn toml_key(name: &str) -> String {
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// The names in the file, or why it is no TOML.
fn users(text: &str) -> Result<Vec<String>, String> {
    let root: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string().trim_end().to_owned())?;
    let users = root.get("user").and_then(|u| u.as_table());
    Ok(users.map(|u| u.keys().cloned().collect()).unwrap_or_default())
}

/// Never seen half-written: a new file beside it takes its name.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("toml.new");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written =
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // the first error is the one that tells
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::policy::file::Draft;

    #[test]
    fn a_user_is_added_once_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(USERS_FILE);
        for (name, before) in
            [("alice", ""), ("bob@corp.com", "# mine\n[attributes]\nx = \"text\""), ("c-3", "# end\n")]
        {
            fs::write(&path, before).unwrap();
            user_add(folder.path(), name, "secret").unwrap();
            let after = fs::read_to_string(&path).unwrap();
            assert!(after.starts_with(before) && !after.contains("secret"), "{after}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let (draft, _) = Draft::parse("", &after).unwrap();
            assert_eq!(draft.users.users.keys().collect::<Vec<_>>(), [name]);
            let again = user_add(folder.path(), name, "other").unwrap_err();
            assert!(again.message().ends_with(&format!("user `{name}` is there already")), "{again}");
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn two_users_of_one_password_have_different_verifiers() {
        assert_ne!(verifier("same"), verifier("same"));
    }

    #[test]
    fn what_cannot_be_added_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(USERS_FILE);
        for (name, password, before) in [
            ("", "x", ""),
            ("a b", "x", ""),
            ("alice", "", ""),
            ("alice", "x", "not toml ["),
            ("alice", "x", "user = 5\n"),
            ("alice", "x", "user = { bob = { scram = \"\" } }\n"),
        ] {
            fs::write(&path, before).unwrap();
            assert!(user_add(folder.path(), name, password).is_err(), "{name:?} {before:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), before);
        }
    }
}
