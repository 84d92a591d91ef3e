//! What each statement about reflections says, and what is refused where.

use super::*;
use crate::sql::parse::{Content, Text as Tokens};

fn read(text: &str) -> Result<Reflection, String> {
    let said = |e: crate::error::Error| format!("{} {}", e.position().unwrap_or(0), e.message());
    let mut pieces = Tokens::of(text).statements(64).map_err(said)?;
    match pieces.pop().map(|piece| piece.content) {
        Some(Content::Reflection(reflection)) if pieces.is_empty() => Ok(reflection),
        _ => Err("something else".into()),
    }
}

fn create(text: &str) -> Create {
    match read(text) {
        Ok(Reflection::Create(create)) => *create,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_definition_comes_to_one_query() {
    for (text, query) in [
        (
            "CREATE REFLECTION r ON s.orders USING DISPLAY (id, \"At\", amount)",
            "SELECT id, \"At\", amount FROM s.orders",
        ),
        (
            "create reflection r on s.\"T\" using dimensions (a, date_trunc('day', at)) measures (SUM(x), count(*))",
            "SELECT a, date_trunc('day', at), sum(x), count(x), count(*) FROM s.\"T\" GROUP BY 1, 2",
        ),
        // a sum has the count of its values beside it, and makes an average; each measure is there once, and rows are counted in any case
        (
            "CREATE REFLECTION r ON s.t USING DIMENSIONS (a) MEASURES (avg(x + 1), count(x +1), min(y), MAX(y), sum(z))",
            "SELECT a, sum(x + 1), count(x + 1), min(y), max(y), sum(z), count(z), count(*) FROM s.t GROUP BY 1",
        ),
        ("CREATE REFLECTION r REFRESH MANUAL AS SELECT a FROM s.t WHERE b > 1", "SELECT a FROM s.t WHERE b > 1"),
    ] {
        assert_eq!(create(text).query.sql, query, "{text}");
    }
}

#[test]
fn clauses_behind_say_how_it_lies_and_when_it_is_made_again() {
    let plain = create("CREATE REFLECTION IF NOT EXISTS r ON s.t USING DISPLAY (a)");
    assert_eq!((plain.refresh, plain.if_not_exists), (Refresh::Every(300_000_000), true));
    let full = create(
        "CREATE REFLECTION r ON s.t USING DISPLAY (a, at) PARTITION BY (day(at)) SORT BY (a DESC, at) REFRESH ON COMMIT",
    );
    assert_eq!((full.partitioned_by.len(), full.sorted_by.len(), full.refresh), (1, 2, Refresh::OnCommit));
    for (text, every) in [
        ("EVERY 1 HOUR", 3_600),
        ("EVERY hour", 3_600),
        ("every 90 seconds", 90),
        ("EVERY 2 DAYS", 172_800),
        ("EVERY 10 minutes", 600),
    ] {
        let of = create(&format!("CREATE REFLECTION r ON s.t USING DISPLAY (a) REFRESH {text}"));
        assert_eq!(of.refresh, Refresh::Every(every * 1_000_000), "{text}");
    }
    for (micros, said) in
        [(3_600_000_000, "EVERY 1 HOUR"), (90_000_000, "EVERY 90 SECOND"), (600_000_000, "EVERY 10 MINUTE")]
    {
        assert_eq!(Refresh::Every(micros).to_string(), said);
    }
}

#[test]
fn others_are_read_too() {
    let said = |text: &str| format!("{:?}", read(text).unwrap());
    assert!(said("ALTER REFLECTION r SET REFRESH MANUAL").contains("Refresh(Manual)"));
    assert!(said("ALTER REFLECTION IF EXISTS r SET ENABLED = false").contains("Enabled(false)"));
    assert!(said("DROP REFLECTION IF EXISTS r").contains("if_exists: true"));
    assert!(said("REFRESH REFLECTION r").starts_with("Refresh("));
}

#[test]
fn what_cannot_stand_is_refused_at_its_place() {
    for (text, fault) in [
        ("CREATE REFLECTION", "18 syntax error at end of input"),
        ("CREATE REFLECTION s.r ON s.t USING DISPLAY (a)", "20 syntax error at or near \".\""),
        ("CREATE REFLECTION r ON s.t USING DISPLAY ()", "43 syntax error at or near \")\""),
        ("CREATE REFLECTION r ON s.t USING DISPLAY (a + 1)", "45 syntax error at or near \"+\""),
        ("CREATE REFLECTION r ON s.t USING DIMENSIONS (a)", "48 syntax error at end of input"),
        (
            "CREATE REFLECTION r ON s.t USING DIMENSIONS (a) MEASURES (stddev(x))",
            "59 a measure is SUM, COUNT, MIN, MAX or AVG of an expression, or COUNT(*)",
        ),
        (
            "CREATE REFLECTION r ON s.t USING DIMENSIONS (a) MEASURES (count(DISTINCT x))",
            "65 a measure over distinct values",
        ),
        ("CREATE REFLECTION r ON s.t USING DIMENSIONS (a) MEASURES (sum(*))", "63 syntax error at or near \"*\""),
        ("CREATE REFLECTION r ON s.t USING DISPLAY (a) REFRESH EVERY 3 WEEKS", "62 syntax error at or near \"WEEKS\""),
        ("CREATE REFLECTION r ON s.t USING DISPLAY (a) REFRESH EVERY 0 DAYS", "60 REFRESH EVERY is from"),
        ("CREATE REFLECTION r AS SELECT FROM WHERE", "36 syntax error at or near \"WHERE\""),
        ("ALTER REFLECTION r SET ENABLED TRUE", "32 syntax error at or near \"TRUE\""),
    ] {
        let said = read(text).unwrap_err();
        assert!(said.starts_with(fault), "{text}: {said}");
    }
}

#[test]
fn a_place_in_the_query_is_one_of_the_statement() {
    let text = "CREATE REFLECTION r ON s.t USING DIMENSIONS (a) MEASURES (sum(x), avg(ä))";
    let query = create(text).query;
    for part in ["a", "x", "ä", "s.t"] {
        let from = if part == "a" { "(a)" } else { part };
        let there = text.find(from).unwrap() + usize::from(part == "a");
        let there = text[..there].chars().count() + 1;
        let here = query.sql.rfind(if part == "a" { "a," } else { part }).unwrap();
        let here = query.sql[..here].chars().count() + 1;
        assert_eq!(query.place(here), there, "{part} in {}", query.sql);
    }
}
