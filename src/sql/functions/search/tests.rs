//! Vectors and queries as PostgreSQL reads, shows, compares, matches and ranks them.

use super::query::{Operator, Query};
use super::vector::Vector;
use crate::sql::functions::tests::{batch, call, table};
use crate::sql::kernel::Env;

#[test]
fn text_search_s_types_are_postgresql_s() {
    table(include_str!("tests.tsv"));
}

/// A text that tsqueryin would not read.
#[test]
fn what_functions_make_of_queries_is_read_again() {
    let negated = |times: usize| format!("{}'a'", "!".repeat(times));
    assert!(Query::read(&negated(32)).is_ok());
    assert_eq!(Query::read(&negated(33)).unwrap_err().message(), "tsquery stack too small");
    assert_eq!(Query::parse(&negated(32)).unwrap().negated().unwrap().spelt(), negated(33));
    assert_eq!(Query::parse(&negated(33)).unwrap().negated().unwrap().spelt(), negated(34));

    // as deep as operators may stand, each between parentheses
    let one = || Query::read("a").unwrap();
    let operators = [Operator::Or, Operator::And].into_iter().cycle();
    let made = operators.take(500 - 1).try_fold(one(), |query, operator| query.joined(operator, one())).unwrap();
    assert_eq!(Query::parse(&made.spelt()).unwrap(), made);
    let phrase = |query: Query, _| one().joined(Operator::Phrase(1), query);
    let made = (1..500).try_fold(one(), phrase).unwrap();
    assert_eq!(Query::parse(&made.spelt()).unwrap(), made);
}

#[test]
fn words_and_vectors_are_as_long_as_postgresql_s() {
    let word = |bytes: usize| "a".repeat(bytes);
    assert!(Vector::read(&word(2046)).is_ok());
    assert_eq!(Vector::read(&word(2047)).unwrap_err().message(), "word is too long (2047 bytes, max 2046 bytes)");
    assert!(Query::read(&word(2046)).is_ok());
    assert!(Query::read(&word(2047)).unwrap_err().message().starts_with("word is too long in tsquery: \"aaa"));

    let given = |bytes: usize| {
        call("array_to_tsvector", &[("_text", Some(&format!("{{{}}}", word(bytes))))], "tsvector", &Env::plain())
    };
    let longest = given(2047).unwrap().unwrap();
    assert_eq!(Vector::parse(&longest).unwrap().spelt(), longest);
    assert_eq!(given(2048).unwrap_err(), "0A000 a lexeme of more than 2047 bytes is not supported");

    // 1048000 bytes, and the rest of 2^20 - 1
    let words: Vec<String> = (0..524).map(|i| format!("{i:0>2000}")).collect();
    let followed = |more: usize| {
        let vectors = [("tsvector", Some(words.join(" "))), ("tsvector", Some(word(more)))];
        call("tsvector_concat", &vectors.each_ref().map(|(ty, text)| (*ty, text.as_deref())), "tsvector", &Env::plain())
    };
    assert!(followed(575).is_ok());
    let too_long =
        |bytes: usize| Err(format!("54000 string is too long for tsvector ({bytes} bytes, max 1048575 bytes)"));
    assert_eq!(followed(576), too_long(1_048_576));
    let array = format!("{{{},{}}}", words.join(","), word(576));
    assert_eq!(call("array_to_tsvector", &[("_text", Some(&array))], "tsvector", &Env::plain()), too_long(1_048_576));
}

/// 64 operands that each ask for 256 places of 256 words: 4 million entries.
#[test]
fn a_document_is_made_within_the_budget() {
    let places: Vec<String> = (1..=256).map(|place| place.to_string()).collect();
    let words: Vec<String> = (0..256).map(|i| format!("w{i}:{}", places.join(","))).collect();
    let query = |operands: usize| vec!["w:*"; operands].join("|");
    let rank = |operands: usize| {
        let arguments = [("tsvector", words.join(" ")), ("tsquery", query(operands))];
        call(
            "ts_rankcd_tt",
            &arguments.each_ref().map(|(ty, text)| (*ty, Some(text.as_str()))),
            "float4",
            &Env::plain(),
        )
    };
    assert_eq!(rank(64).unwrap_err(), "54000 a function would make a value larger than 67108864 bytes");
}

#[test]
fn ranks_end_in_time() {
    let places: Vec<String> = (1..=256).map(|place| place.to_string()).collect();
    let vector = |words: usize| (0..words).map(|i| format!("w{i:02}:{} ", places.join(","))).collect::<String>();
    let rank = |kernel: &str, words: usize, query: &str, rows: usize| {
        let arguments = [("tsvector", vector(words)), ("tsquery", query.to_owned())];
        let arguments = arguments.each_ref().map(|(ty, text)| (*ty, Some(text.as_str())));
        batch(kernel, &arguments, "float4", rows, &Env::plain())
    };
    let all = |words: usize| (0..words).map(|i| format!("w{i:02}")).collect::<Vec<_>>().join("&");
    let given_up = Err("54001 the ranks of these vectors take too many steps".to_owned());
    // each pair of places of each pair of words; of each row
    assert!(rank("ts_rank_tt", 10, &all(10), 1).is_ok());
    assert_eq!(rank("ts_rank_tt", 20, &all(20), 1), given_up);
    assert_eq!(rank("ts_rank_tt", 10, &all(10), 2), given_up);
    // a phrase that is nowhere, looked for behind each word
    assert!(rank("ts_rankcd_tt", 10, "w01 <9> w02", 1).is_ok());
    assert!(rank("ts_rankcd_tt", 2, "w:* <999> w:*", 1).is_ok());
    assert_eq!(rank("ts_rankcd_tt", 20, "w:* <999> w:*", 1), given_up);
    assert_eq!(rank("ts_rankcd_tt", 2, "w:* <999> w:*", 20), given_up);
}
