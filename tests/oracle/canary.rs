//! Tokens of hidden cells, searched in every byte that a client is sent: plain, upside down, in hexadecimal and base64,
//! by their first and last six letters; numbers whole.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::policy::Policy;
use super::shop::Shop;
use super::value::Cell;
use super::world::Hand;

/// What is looked for, by length; each leads to the token it is a part of.
#[derive(Default)]
pub struct Canaries {
    by_length: HashMap<usize, HashMap<Vec<u8>, String>>,
}

/// Of a token's start and end.
const ENDS: usize = 6;
/// Shorter ones are values like others.
const TOKEN_CHARS_MIN: usize = 12;

impl Canaries {
    /// All that is in world A and comes before the user's eyes no way.
    pub fn new(shop: &Shop, policy: &Policy, hand: &Hand) -> Self {
        let visible = hand.visible(shop, policy);
        let seen: Vec<String> = visible.iter().flat_map(|text| [text.to_lowercase(), upside_down(text)]).collect();
        let cells = shop.rows.iter().flatten().flatten();
        let tokens: BTreeSet<String> = cells
            .filter_map(|cell| match cell {
                Cell::Text(text) if text.len() >= TOKEN_CHARS_MIN => Some(text.clone()),
                Cell::Int(n) if *n > i64::from(u32::MAX) => Some(n.to_string()),
                _ => None,
            })
            .filter(|token| !visible.contains(token))
            .collect();
        let mut canaries = Self::default();
        for token in tokens {
            for part in parts(&token) {
                if !seen.iter().any(|text| text.as_bytes().windows(part.len()).any(|w| w == part)) {
                    canaries.by_length.entry(part.len()).or_default().insert(part, token.clone());
                }
            }
        }
        canaries
    }

    /// A hidden token of which something stands in `bytes`, and nothing in `asked`.
    pub fn find(&self, bytes: &[u8], asked: &str) -> Option<&str> {
        let bytes = bytes.to_ascii_lowercase();
        let asked = [asked.to_lowercase(), upside_down(asked)];
        let in_asked = |part: &[u8]| asked.iter().any(|text| text.as_bytes().windows(part.len()).any(|w| w == part));
        for (length, parts) in &self.by_length {
            for window in bytes.windows(*length) {
                if let Some(token) = parts.get(window).filter(|_| !in_asked(window)) {
                    return Some(token);
                }
            }
        }
        None
    }
}

fn upside_down(text: &str) -> String {
    text.to_lowercase().chars().rev().collect()
}

/// In lower case, as the bytes are that they are searched in.
fn parts(token: &str) -> Vec<Vec<u8>> {
    let reversed = upside_down(token);
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    if token.bytes().all(|b| b.is_ascii_digit()) {
        return vec![token.as_bytes().to_vec(), reversed.into_bytes(), hex(token).into_bytes()];
    }
    let mut parts = vec![];
    for text in [token, &reversed] {
        for end in [&text[..ENDS], &text[text.len() - ENDS..]] {
            parts.push(end.as_bytes().to_vec());
            parts.push(hex(end).into_bytes());
            parts.push(BASE64_STANDARD.encode(end).to_lowercase().into_bytes());
        }
    }
    parts
}

#[test]
fn a_token_is_found_however_it_is_spelt() {
    let mut canaries = Canaries::default();
    for part in parts("ghijklmnopqr") {
        canaries.by_length.entry(part.len()).or_default().insert(part, "ghijklmnopqr".into());
    }
    for text in ["x ghijklmn", "..mnopqr", "LKJIHG", "6768696A6B6C", "Z2hpamts"] {
        assert!(canaries.find(text.as_bytes(), "").is_some(), "{text}");
    }
    assert_eq!(canaries.find(b"ghijk mnopq", ""), None);
    assert_eq!(canaries.find(b"ghijkl", "name = 'ghijklmnopqr'"), None);
}
