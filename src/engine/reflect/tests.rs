//! What becomes a reflection, what is a fault, and what is left out.

use super::*;
use crate::engine::session::tests::Shop;

fn definition(text: &str, file: Option<&str>) -> Definition {
    Definition::read("root", text, file.map(str::to_owned)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn read(text: &str, catalog: &Catalog) -> std::result::Result<Reflection, String> {
    let said = |e: Error| format!("{} {}", e.kind().sqlstate(), e.message());
    reflect(&definition(text, None), catalog, &Reflections::default()).map_err(said)
}

#[tokio::test]
async fn columns_have_names_of_their_own_and_grow_as_their_measures_do() {
    let shop = Shop::open().await;
    let catalog = shop.catalog();
    let names = |text: &str| {
        let reflection = read(text, &catalog).unwrap();
        let columns = &reflection.upkeep.columns;
        let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
        (names.join(" "), reflection.upkeep.growth)
    };
    use Merge::{Max, Min, Same, Sum};
    for (text, expected, growth) in [
        ("CREATE REFLECTION r ON shop.sales USING DISPLAY (region, id)", "region id", Growth::Rows),
        (
            "CREATE REFLECTION r ON shop.sales USING DIMENSIONS (region, id + 1) MEASURES (sum(id), min(id), max(region))",
            "region column sum count min max count_2",
            Growth::Groups(vec![Same, Same, Sum, Sum, Min, Max, Sum]),
        ),
        (
            "CREATE REFLECTION r ON shop.sales USING DIMENSIONS (region) MEASURES (sum(id), sum(id + 1), count(region))",
            "region sum count sum_2 count_2 count_3 count_4",
            Growth::Groups(vec![Same, Sum, Sum, Sum, Sum, Sum, Sum]),
        ),
        // its last digits are of the order of its rows
        (
            "CREATE REFLECTION r ON shop.sales USING DIMENSIONS (region) MEASURES (sum(id::float8))",
            "region sum count count_2",
            Growth::Whole,
        ),
        ("CREATE REFLECTION r AS SELECT id FROM shop.sales", "id", Growth::Rows),
        (
            "CREATE REFLECTION r AS SELECT max(id), region AS r, count(*) FILTER (WHERE id > 1) FROM shop.sales GROUP BY region",
            "max r count",
            Growth::Groups(vec![Max, Same, Sum]),
        ),
        // groups that cannot be told apart, what is computed of a measure, and values that count once
        ("CREATE REFLECTION r AS SELECT count(*) FROM shop.sales GROUP BY region", "count", Growth::Whole),
        ("CREATE REFLECTION r AS SELECT count(*) + 1 AS n FROM shop.sales", "n", Growth::Whole),
        ("CREATE REFLECTION r AS SELECT count(DISTINCT id) FROM shop.sales", "count", Growth::Whole),
        ("CREATE REFLECTION r AS SELECT region FROM shop.sales LIMIT 1", "region", Growth::Whole),
    ] {
        assert_eq!(names(text), (expected.to_owned(), growth), "{text}");
    }
}

#[tokio::test]
async fn what_went_is_told_where_rows_and_values_are_counted() {
    let shop = Shop::open().await;
    let catalog = shop.catalog();
    for (text, expected) in [
        (
            "ON shop.sales USING DIMENSIONS (region) MEASURES (sum(id))",
            Some((Some(3), vec![None, Some(2), None, None])),
        ),
        ("ON shop.sales USING DIMENSIONS (region) MEASURES (sum(id), min(id))", None),
        ("AS SELECT region, count(*) FROM shop.sales GROUP BY region", Some((Some(1), vec![None, None]))),
        // a sum of values that nobody counts, of other ones, and of some of them
        ("AS SELECT region, count(*), sum(id) FROM shop.sales GROUP BY region", None),
        ("AS SELECT region, count(*), count(region), sum(id) FROM shop.sales GROUP BY region", None),
        ("AS SELECT region, count(*), count(id), sum(id) FILTER (WHERE id > 1) FROM shop.sales GROUP BY region", None),
        (
            "AS SELECT region, count(*), count(id) FILTER (WHERE id > 1), sum(id) FILTER (WHERE id > 1) FROM shop.sales \
             GROUP BY region",
            Some((Some(1), vec![None, None, None, Some(2)])),
        ),
        // groups of which nobody counts the rows, and one that stays
        ("AS SELECT region, count(id), sum(id) FROM shop.sales GROUP BY region", None),
        ("AS SELECT count(id), sum(id) FROM shop.sales", Some((None, vec![None, Some(0)]))),
        ("AS SELECT id FROM shop.sales", None),
    ] {
        let shrinking = read(&format!("CREATE REFLECTION r {text}"), &catalog).unwrap().upkeep.shrinking;
        assert_eq!(shrinking.map(|s| (s.rows, s.values)), expected, "{text}");
    }
}

#[tokio::test]
async fn what_does_not_stay_true_is_refused() {
    let shop = Shop::open().await;
    let catalog = shop.catalog();
    for (text, fault) in [
        ("CREATE REFLECTION r AS SELECT random() AS x FROM shop.sales", "0A000 a reflection with random()"),
        (
            "CREATE REFLECTION r AS SELECT id FROM shop.sales WHERE now() > '2024-01-01'",
            "0A000 a reflection with now()",
        ),
        (
            "CREATE REFLECTION r AS SELECT s.id FROM shop.sales s, pg_catalog.pg_class c",
            "0A000 a reflection over relations",
        ),
        ("CREATE REFLECTION r AS SELECT id FROM sales", "42P01 relation \"sales\" does not exist"),
        ("CREATE REFLECTION r AS VALUES (1)", "42P17 a reflection reads a table"),
        (
            "CREATE REFLECTION r REFRESH ON COMMIT AS SELECT id FROM shop.sales",
            "0A000 REFRESH ON COMMIT: shop.sales is no",
        ),
        ("CREATE REFLECTION r ON shop.sales USING DISPLAY (id) PARTITION BY (day(id + 1))", "0A000 PARTITIONED BY"),
        ("CREATE REFLECTION r ON shop.sales USING DISPLAY (id) SORT BY (region)", "42703 column \"region\" is not in"),
    ] {
        let said = read(text, &catalog).err().unwrap_or_default();
        assert!(said.starts_with(fault), "{text}: {said}");
    }
}

#[tokio::test]
async fn a_fault_stands_where_it_is_and_what_was_once_good_is_left_out() {
    let shop = Shop::open().await;
    let mut catalog = Catalog::clone(&shop.catalog());
    let bad = "-- owner: root\nCREATE REFLECTION r ON shop.sales\n  USING DIMENSIONS (region) MEASURES (sum(nothing))";
    let file = definition(bad, Some("r.sql"));
    let none = Reflections::default();
    let faults = reflections(std::slice::from_ref(&file), &[], &mut catalog, &none).unwrap_err();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["r.sql:3:43: column \"nothing\" does not exist"]);
    // SQL made it: no file waits for it to be mended
    let kept = definition(bad, None);
    let left = reflections(&[], &[kept], &mut catalog, &none).unwrap();
    assert!(left.all().is_empty() && left.knows("r", bad) && left.names().contains("r"));
    assert_eq!(catalog.left_out.len(), 1);
    // what it reads went
    let after = reflections(std::slice::from_ref(&file), &[], &mut catalog, &left).unwrap();
    assert!(after.all().is_empty() && after.knows("r", bad));
    // and comes to be the same again
    let good = definition("CREATE REFLECTION r ON shop.sales USING DISPLAY (id)", Some("r.sql"));
    let sound = reflections(std::slice::from_ref(&good), &[], &mut catalog, &after).unwrap();
    let again = reflections(std::slice::from_ref(&good), &[], &mut catalog, &sound).unwrap();
    assert!(Arc::ptr_eq(&sound.all()[0].stored, &again.all()[0].stored), "what is stored is of both");
    let other = definition("CREATE REFLECTION r ON shop.sales USING DISPLAY (region)", Some("r.sql"));
    let changed = reflections(&[other], &[], &mut catalog, &sound).unwrap();
    assert!(!Arc::ptr_eq(&sound.all()[0].stored, &changed.all()[0].stored), "it is another one's");
    // a file's stands before what SQL made
    let of_sql = Definition { file: None, ..good.clone() };
    let twice = reflections(&[good], &[of_sql], &mut catalog, &none).unwrap();
    assert_eq!(twice.all().len(), 1);
}

#[tokio::test]
async fn a_print_tells_tables_and_columns_from_later_ones_of_their_names() {
    let shop = Shop::open().await;
    let catalog = shop.catalog();
    let name = crate::types::TableName::new("shop", "sales");
    let changed = |change: &dyn Fn(&mut crate::policy::Object)| {
        let mut catalog = Catalog::clone(&catalog);
        change(Arc::make_mut(&mut catalog.entries.get_mut(&name).unwrap().object));
        catalog
    };
    let other_ids = |at: usize| changed(&|object| object.column_ids[at] = vec!["later".into()]);
    let (id, region) = (other_ids(0), other_ids(1));
    let table = changed(&|object| object.id = ObjectId(7));
    let print = |text: &str, catalog: &Catalog| read(text, catalog).unwrap().upkeep.print;
    for (text, of_id, of_region) in [
        ("CREATE REFLECTION r ON shop.sales USING DISPLAY (id)", true, false),
        ("CREATE REFLECTION r ON shop.sales USING DIMENSIONS (region) MEASURES (sum(id))", true, true),
        ("CREATE REFLECTION r AS SELECT count(*) AS n FROM shop.sales", false, false),
        ("CREATE REFLECTION r AS SELECT count(*) AS n FROM shop.sales WHERE region = 'EU'", false, true),
        ("CREATE REFLECTION r AS SELECT * FROM shop.sales", true, true),
        (
            "CREATE REFLECTION r AS SELECT id FROM shop.sales s WHERE EXISTS \
             (SELECT 1 FROM shop.sales o WHERE o.region = s.region)",
            true,
            true,
        ),
    ] {
        let before = print(text, &catalog);
        assert_eq!(before, print(text, &catalog), "{text}");
        assert_eq!(before != print(text, &id), of_id, "{text}");
        assert_eq!(before != print(text, &region), of_region, "{text}");
        let table = read(text, &table).map(|r| r.upkeep.print);
        assert_ne!(Ok(before), table, "{text}");
    }
}
