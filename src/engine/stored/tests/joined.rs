//! Reflections of joins, and joins with what is stored.

use super::shop::Shop;

const BOTH: &str = "SELECT s.region, s.product, p.category, p.tier, count(*), sum(s.qty), max(s.amount), count(s.qty) \
                    FROM shop.sales s JOIN shop.products p ON s.product = p.product GROUP BY 1, 2, 3, 4";

async fn answers(shop: &Shop, user: &str, sql: &str, expect: bool, of: &str) {
    let found = shop.compared(user, sql).await;
    assert_eq!(found, Ok(expect), "{user}: {sql}: {}", shop.why_not(of));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_joined_to_other_tables() {
    let shop = Shop::open().await;
    shop.change_products(false);
    shop.reflect(&[(
        "sold",
        "SELECT product, region, count(*), sum(qty), max(amount), count(qty) FROM shop.sales GROUP BY 1, 2",
    )])
    .await;
    for sql in [
        "SELECT p.category, sum(s.qty), count(*) FROM shop.sales s JOIN shop.products p ON s.product = p.product GROUP BY 1",
        "SELECT p.category, avg(s.qty) FROM shop.sales s JOIN shop.products p USING (product) GROUP BY 1 ORDER BY 1",
        "SELECT p.category, count(*), count(p.tier), max(p.tier), count(DISTINCT p.tier) \
         FROM shop.sales s LEFT JOIN shop.products p ON p.product = s.product GROUP BY p.category",
        "SELECT count(*) FROM shop.sales s, shop.products p WHERE p.product = s.product AND p.tier > 0 AND s.region = 'EU'",
        "SELECT p.tier, s.region, sum(s.qty) FILTER (WHERE p.category = 'a') FROM shop.products p \
         RIGHT JOIN shop.sales s ON p.product = s.product AND p.tier > 0 GROUP BY GROUPING SETS ((1), (2))",
        "SELECT category, count(*) FROM shop.sales NATURAL JOIN (SELECT product, category FROM shop.products WHERE tier < 2) x \
         GROUP BY category HAVING count(*) > 2",
    ] {
        answers(&shop, "whole", sql, true, "sold").await;
        answers(&shop, "eu", sql, true, "sold").await;
        answers(&shop, "positive", sql, true, "sold").await;
    }
    for (sql, why) in [
        ("SELECT sum(p.tier) FROM shop.sales s JOIN shop.products p USING (product)", "sum cannot be made"),
        ("SELECT count(*) FROM shop.sales s JOIN shop.products p ON p.tier = s.qty", "column \"qty\""),
        (
            "SELECT count(*) FROM shop.sales s JOIN shop.products p USING (product) WHERE 10 / (s.product + 1) > 1",
            "can fail",
        ),
    ] {
        answers(&shop, "whole", sql, false, "sold").await;
        assert!(shop.why_not("sold").contains(why), "{sql}: {}", shop.why_not("sold"));
    }
    // neither a full join nor one of a table with itself is read as a block
    for sql in [
        "SELECT count(*) FROM shop.sales s FULL JOIN shop.products p USING (product)",
        "SELECT count(*) FROM shop.sales s JOIN shop.sales t USING (product)",
    ] {
        answers(&shop, "whole", sql, false, "sold").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_joins_answer_joins() {
    let shop = Shop::open().await;
    shop.change_products(false);
    shop.reflect(&[("both", BOTH)]).await;
    let by_category =
        "SELECT category, sum(qty) FROM shop.sales s JOIN shop.products p ON s.product = p.product GROUP BY 1";
    for sql in [
        by_category,
        "SELECT p.product, avg(qty) FROM shop.products p, shop.sales s WHERE p.product = s.product AND tier = 1 GROUP BY 1",
        "SELECT count(*), max(amount) FROM shop.sales JOIN shop.products USING (product) WHERE category IN ('a', 'b')",
        "SELECT DISTINCT category FROM shop.sales JOIN shop.products USING (product)",
    ] {
        answers(&shop, "whole", sql, true, "both").await;
    }
    // of a right on either table
    answers(&shop, "eu", by_category, true, "both").await;
    answers(&shop, "positive", by_category, true, "both").await;
    answers(&shop, "masked", by_category, false, "both").await;
    assert!(shop.why_not("both").contains("masked"), "{}", shop.why_not("both"));
    answers(&shop, "flagged", by_category, false, "both").await;
    assert!(shop.why_not("both").contains("row filter"), "{}", shop.why_not("both"));
    // sales without a product, or with two
    for sql in
        ["SELECT region, count(*) FROM shop.sales GROUP BY 1", "SELECT tier, count(*) FROM shop.products GROUP BY 1"]
    {
        answers(&shop, "whole", sql, false, "both").await;
        assert!(shop.why_not("both").contains("a table that the query does not"), "{}", shop.why_not("both"));
    }
    let other =
        "SELECT category, sum(qty) FROM shop.sales s LEFT JOIN shop.products p ON s.product = p.product GROUP BY 1";
    answers(&shop, "whole", other, false, "both").await;
    assert!(shop.why_not("both").contains("leaves out rows"), "{}", shop.why_not("both"));
    // what changes is not what is stored
    shop.change_products(true);
    answers(&shop, "whole", by_category, false, "both").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_all_tables_hold_over_what_is_stored() {
    let shop = Shop::open().await;
    let counted = "SELECT tier, s.product, count(*) FROM shop.sales s JOIN shop.products p ON s.product = p.product GROUP BY 1, 2";
    shop.reflect(&[("both", BOTH)]).await;
    for whole in [true, false, false] {
        shop.change_products(whole);
        shop.refresh().await;
        for user in ["positive", "hidden"] {
            answers(&shop, user, counted, true, "both").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_loses_nothing_is_none() {
    let shop = Shop::open().await;
    let of_sales = "SELECT region, product, sum(qty), count(*) FROM shop.sales GROUP BY 1, 2";
    let padded =
        "SELECT category, count(*) FROM shop.sales s LEFT JOIN shop.products p ON s.product = p.product GROUP BY 1";
    shop.reflect(&[("both", BOTH)]).await;
    // some sales are of no product
    answers(&shop, "whole", of_sales, false, "both").await;
    shop.sell_known();
    shop.refresh().await;
    answers(&shop, "whole", of_sales, true, "both").await;
    answers(&shop, "whole", padded, true, "both").await;
    answers(&shop, "eu", of_sales, true, "both").await;
    // who does not see every product has sales without one
    answers(&shop, "positive", padded, false, "both").await;
    assert!(shop.why_not("both").contains("outer join"), "{}", shop.why_not("both"));
    // products are not asked for: theirs may be others by now, and rights on them are of no matter
    answers(&shop, "positive", "SELECT region, sum(qty) FROM shop.sales GROUP BY 1", true, "both").await;
    shop.change_products(false);
    answers(&shop, "whole", of_sales, true, "both").await;
    answers(&shop, "whole", padded, false, "both").await;
    shop.refresh().await;
    answers(&shop, "whole", of_sales, false, "both").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outer_join_needs_each_row_once_at_most() {
    let shop = Shop::open().await;
    let padded = "SELECT region, category, count(*), sum(qty) FROM shop.sales s LEFT JOIN shop.products p \
                  ON s.product = p.product GROUP BY 1, 2";
    shop.reflect(&[("padded", padded)]).await;
    for sql in [
        "SELECT region, sum(qty) FROM shop.sales GROUP BY 1",
        "SELECT category, sum(qty) FROM shop.sales s LEFT JOIN shop.products p ON p.product = s.product GROUP BY 1",
        "SELECT count(*) FROM shop.products p RIGHT JOIN shop.sales s ON p.product = s.product WHERE category IS NULL",
    ] {
        answers(&shop, "whole", sql, true, "padded").await;
        answers(&shop, "eu", sql, true, "padded").await;
    }
    let inner = "SELECT category, sum(qty) FROM shop.sales s JOIN shop.products p ON p.product = s.product GROUP BY 1";
    answers(&shop, "whole", inner, false, "padded").await;
    shop.change_products(false);
    shop.refresh().await;
    answers(&shop, "whole", "SELECT region, sum(qty) FROM shop.sales GROUP BY 1", false, "padded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joined_rows_answer_rows() {
    let shop = Shop::open().await;
    shop.sell_known();
    shop.reflect(&[(
        "wide",
        "SELECT s.id, s.region, s.product, s.qty, p.category, p.tier FROM shop.sales s JOIN shop.products p \
         ON s.product = p.product",
    )])
    .await;
    for sql in [
        "SELECT id, category FROM shop.sales JOIN shop.products USING (product) WHERE tier > 0 AND region = 'EU'",
        "SELECT category, sum(qty), sum(tier) FROM shop.sales s JOIN shop.products p ON s.product = p.product GROUP BY 1",
        "SELECT region, avg(qty) FROM shop.sales GROUP BY 1",
        "SELECT id + qty AS a, lower(region) FROM shop.sales s JOIN shop.products p ON p.product = s.product ORDER BY 1 LIMIT 500",
        "SELECT string_agg(category, ',' ORDER BY id) FROM shop.sales JOIN shop.products USING (product)",
    ] {
        answers(&shop, "whole", sql, true, "wide").await;
        answers(&shop, "eu", sql, true, "wide").await;
    }
    let unstored = "SELECT id, amount FROM shop.sales JOIN shop.products USING (product)";
    answers(&shop, "whole", unstored, false, "wide").await;
}

/// Without groups a store has a row where its table has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nothing_is_joined_to_nothing() {
    let shop = Shop::open().await;
    shop.reflect(&[("total", "SELECT count(*), sum(qty) FROM shop.sales WHERE product > 100")]).await;
    let alone = "SELECT count(*), sum(qty) FROM shop.sales WHERE product > 100";
    answers(&shop, "whole", alone, true, "total").await;
    let joined = "SELECT count(*), max(p.tier) FROM shop.sales s, shop.products p WHERE s.product > 100";
    answers(&shop, "whole", joined, false, "total").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_behind_tables_are_taken_away_one_by_one() {
    let shop = Shop::open().await;
    shop.sell_known();
    let flake = "SELECT s.region, p.category, t.label, count(*), sum(s.qty) FROM shop.sales s \
                 JOIN shop.products p ON p.product = s.product JOIN shop.tiers t ON t.tier = p.tier GROUP BY 1, 2, 3";
    shop.reflect(&[("flake", flake)]).await;
    for sql in [
        "SELECT region, sum(qty) FROM shop.sales GROUP BY 1",
        "SELECT category, count(*) FROM shop.sales JOIN shop.products USING (product) GROUP BY 1",
        "SELECT label, count(*) FROM shop.sales JOIN shop.products USING (product) JOIN shop.tiers USING (tier) GROUP BY 1",
    ] {
        answers(&shop, "whole", sql, true, "flake").await;
        answers(&shop, "eu", sql, true, "flake").await;
    }
    // what holds tiers and sales together is not asked for
    let apart = "SELECT count(*) FROM shop.sales, shop.tiers";
    answers(&shop, "whole", apart, false, "flake").await;
    shop.change_products(false);
    shop.refresh().await;
    let of_sales = "SELECT region, sum(qty) FROM shop.sales GROUP BY 1";
    answers(&shop, "whole", of_sales, false, "flake").await;
}

/// Every sale is of one product, though not of one of that tier.
#[tokio::test(flavor = "multi_thread")]
async fn a_join_by_two_tables_is_not_the_one_by_one_of_them() {
    let shop = Shop::open().await;
    shop.sell_known();
    let joined = |kind: &str| {
        format!(
            "SELECT p.category, t.label, count(*) FROM shop.sales s JOIN shop.tiers t ON t.tier = s.qty \
             {kind} JOIN shop.products p ON p.product = s.product AND p.tier = t.tier GROUP BY 1, 2"
        )
    };
    shop.reflect(&[("narrow", &joined(""))]).await;
    answers(&shop, "whole", &joined(""), true, "narrow").await;
    answers(&shop, "whole", &joined("LEFT"), false, "narrow").await;
    answers(
        &shop,
        "whole",
        "SELECT label, count(*) FROM shop.sales s JOIN shop.tiers t ON t.tier = s.qty GROUP BY 1",
        false,
        "narrow",
    )
    .await;
}
