//! Names of tables as a pipeline's file has them: which tables a pattern stands for, and what they are called in the lake. It
//! asks no server.

/// `*` stands for any letters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
}

/// The lake's name for a table that one of the patterns brought. In one schema the tables keep their names; names of several
/// schemas could meet, now or later.
pub(super) fn target(patterns: &[String], schema: &str, name: &str) -> String {
    let mut schemas = patterns.iter().map(|p| p.split('.').next().unwrap_or_default());
    let first = schemas.next().unwrap_or_default();
    match first.contains('*') || schemas.any(|schema| schema != first) {
        true => format!("{schema}_{name}"),
        false => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        let cases = [
            ("public.orders", "public.orders", true),
            ("public.orders", "public.orders2", false),
            ("public.*", "public.orders", true),
            ("public.*", "public2.orders", false),
            ("*", "a.b", true),
            ("*.orders", "sales.orders", true),
            ("*.orders", "sales.orders_old", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("a**", "a", true),
            ("*é*", "café", true),
        ];
        for (pattern, name, expect) in cases {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn tables_of_several_schemas_have_them_in_their_names() {
        let of = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_string()).collect();
            target(&patterns, "sales", "orders")
        };
        assert_eq!(of(&["sales.orders", "sales.o*"]), "orders");
        assert_eq!(of(&["sales.orders", "crm.orders"]), "sales_orders");
        assert_eq!(of(&["sal*.orders"]), "sales_orders");
        assert_eq!(of(&["*"]), "sales_orders");
    }
}
