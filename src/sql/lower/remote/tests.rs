//! What cannot be seen from outside: constants whose value is only known through a key of comparison.

use datafusion::common::ScalarValue;

use super::expr::of_key;
use super::literal::literal;
use crate::formats::postgres::numeric::{Numeric, key};
use crate::pgtype::Ty;

#[test]
fn the_key_of_a_numeric_is_sent_as_its_value() {
    let sent = |text: &str| {
        let bytes = Numeric::parse(text).unwrap().encode();
        let value = of_key(&ScalarValue::Binary(Some(key(&bytes).to_vec())), Some("key/numeric"))?;
        literal(&value, Ty::NUMERIC)
    };
    let cases = [
        ("2.50", "'2.5'::numeric"),
        ("0.000", "'0'::numeric"),
        ("-120", "'-120'::numeric"),
        ("1e40", "'10000000000000000000000000000000000000000'::numeric"),
        ("-0.00000000000000000001", "'-0.00000000000000000001'::numeric"),
        ("NaN", "'NaN'::numeric"),
        ("-Infinity", "'-Infinity'::numeric"),
    ];
    for (text, expected) in cases {
        assert_eq!(sent(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn keys_of_other_types_are_not_guessed() {
    let bytes = ScalarValue::Binary(Some(vec![1, 2, 3]));
    assert_eq!(of_key(&bytes, Some("key/jsonb")), None);
    assert_eq!(of_key(&bytes, Some("key/inet")), None);
    assert_eq!(of_key(&bytes, None), Some(bytes));
}
