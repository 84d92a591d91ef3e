//! PostgreSQL's statements that are none here, by their first words. What can be read of them elsewhere is not looked at.

/// Behind CREATE, ALTER and DROP; of two that begin alike the longer one first.
const OBJECTS: [&str; 34] = [
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONSTRAINT TRIGGER",
    "CONVERSION",
    "DATABASE",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FOREIGN",
    "FUNCTION",
    "GROUP",
    "LANGUAGE",
    "LARGE OBJECT",
    "OPERATOR",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "ROLE",
    "ROUTINE",
    "RULE",
    "SEQUENCE",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLESPACE",
    "TEXT SEARCH",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "USER",
];
const OTHERS: [&str; 8] = [
    "ALTER DEFAULT PRIVILEGES",
    "ALTER SYSTEM",
    "DO",
    "DROP OWNED",
    "IMPORT FOREIGN SCHEMA",
    "LOAD",
    "REASSIGN OWNED",
    "SECURITY LABEL",
];

/// The words by which a statement is known that is PostgreSQL's and none of ours.
pub(super) fn statement(text: &str) -> Option<String> {
    let words: Vec<String> = text.split_whitespace().take(5).map(str::to_uppercase).collect();
    let begins = |words: &[String], phrase: &str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.len() >= phrase.len() && words.iter().zip(&phrase).all(|(word, of)| word == of)
    };
    if let Some(phrase) = OTHERS.iter().find(|phrase| begins(&words, phrase)) {
        return Some((*phrase).to_owned());
    }
    let (verb, mut rest) = words.split_first()?;
    if matches!(verb.as_str(), "GRANT" | "REVOKE") && !text.split_whitespace().any(|w| w.eq_ignore_ascii_case("on")) {
        return Some(format!("{verb} of roles"));
    }
    if !matches!(verb.as_str(), "CREATE" | "ALTER" | "DROP") {
        return None;
    }
    if begins(rest, "OR REPLACE") {
        rest = rest.get(2..)?;
    }
    rest = if begins(rest, "TRUSTED") { rest.get(1..)? } else { rest };
    OBJECTS.iter().find(|object| begins(rest, object)).map(|object| format!("{verb} {object}"))
}

#[cfg(test)]
mod tests {
    use super::statement;

    #[test]
    fn statements_are_known_by_their_first_words() {
        for (text, words) in [
            ("do $$ begin end $$", Some("DO")),
            ("create or replace  function f() returns int", Some("CREATE FUNCTION")),
            ("ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO x", Some("ALTER DEFAULT PRIVILEGES")),
            ("drop access method heap3", Some("DROP ACCESS METHOD")),
            ("create user mapping for x server y", Some("CREATE USER MAPPING")),
            ("create user x", Some("CREATE USER")),
            ("create tabel t (a int)", None),
            ("create", None),
            ("done", None),
            ("grant x to y", Some("GRANT of roles")),
            ("grant select on", None),
        ] {
            assert_eq!(statement(text).as_deref(), words, "{text}");
        }
    }
}
