//! The sample: a small shop, the same at every start. Each row follows from its number alone, so tables are made side by
//! side and still agree: an order's total is the sum of its items, its region is its customer's. It writes nothing.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub(super) const PRODUCTS: i64 = 1_000;
pub(super) const CUSTOMERS: i64 = 100_000;
pub(super) const ORDERS: i64 = 1_000_000;

/// Orders of a batch; their items make three times as many rows.
const ORDERS_IN_BATCH: i64 = 16_384;
/// 2025-01-01T00:00:00Z in microseconds.
const FIRST_ORDER_AT: i64 = 1_735_689_600_000_000;
/// The orders cover a year, evenly.
const ORDER_EVERY: i64 = 365 * 86_400 * 1_000_000 / ORDERS;

const CATEGORIES: [&str; 8] = ["books", "garden", "kitchen", "music", "office", "outdoor", "sports", "toys"];
const ADJECTIVES: [&str; 10] =
    ["Blue", "Bright", "Classic", "Compact", "Folding", "Heavy", "Light", "Quiet", "Small", "Sturdy"];
const NOUNS: [&str; 10] = ["Basket", "Bench", "Bowl", "Clock", "Frame", "Kettle", "Lamp", "Rack", "Table", "Tray"];
const FIRST_NAMES: [&str; 16] = [
    "Ada", "Aiko", "Ben", "Carla", "Chen", "Dina", "Elif", "Emma", "Hugo", "Ivan", "Jonas", "Lena", "Mia", "Noah",
    "Priya", "Tom",
];
const LAST_NAMES: [&str; 16] = [
    "Bauer", "Brown", "Costa", "Dubois", "Garcia", "Ito", "Jansen", "Khan", "Kim", "Miller", "Novak", "Olsen", "Rossi",
    "Schmidt", "Tanaka", "Wong",
];
/// Each country as often as it stands here.
const COUNTRIES: [(&str, &str); 16] = [
    ("DE", "EU"),
    ("DE", "EU"),
    ("DE", "EU"),
    ("FR", "EU"),
    ("FR", "EU"),
    ("ES", "EU"),
    ("NL", "EU"),
    ("US", "US"),
    ("US", "US"),
    ("US", "US"),
    ("US", "US"),
    ("US", "US"),
    ("JP", "APAC"),
    ("JP", "APAC"),
    ("AU", "APAC"),
    ("IN", "APAC"),
];

/// A table of the lake: its columns and its rows in order.
pub(super) struct Table {
    pub(super) schema: &'static str,
    pub(super) name: &'static str,
    pub(super) columns: SchemaRef,
    pub(super) rows: Box<dyn Iterator<Item = RecordBatch> + Send>,
}

/// The three Iceberg tables.
pub(super) fn lake_tables() -> [Table; 3] {
    let sales = |name, columns, rows| Table { schema: "sales", name, columns, rows };
    [
        sales("products", product_columns(), Box::new(std::iter::once_with(products))),
        sales("orders", order_columns(), Box::new(slices().map(|(first, last)| orders(first, last)))),
        sales("order_items", item_columns(), Box::new(slices().map(|(first, last)| items(first, last)))),
    ]
}

/// One row of `crm.customers`.
pub(super) struct Customer {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) ssn: String,
    pub(super) country: &'static str,
    pub(super) region: &'static str,
    /// Microseconds since 1970.
    pub(super) created_at: i64,
}

pub(super) fn customer(id: i64) -> Customer {
    let h = mix(id, 1);
    let (first, last) = (pick(&FIRST_NAMES, h), pick(&LAST_NAMES, h >> 8));
    let (country, region) = home(id);
    Customer {
        id,
        name: format!("{first} {last}"),
        email: format!("{}.{}{id}@example.com", first.to_lowercase(), last.to_lowercase()),
        // 900 and above is never given to a person
        ssn: format!("{}-{:02}-{:04}", 900 + id % 100, h % 99 + 1, id % 10_000),
        country,
        region,
        created_at: FIRST_ORDER_AT - (h % (1_000 * 86_400)) as i64 * 1_000_000,
    }
}

/// What happened to an order, as the topic carries it. `number` counts events since the demo began.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) order_id: i64,
    pub(super) customer_id: i64,
    pub(super) kind: &'static str,
    /// Hundredths.
    pub(super) amount: i64,
}

pub(super) fn event(number: i64) -> Event {
    let h = mix(number, 2);
    let order_id = (h % ORDERS as u64) as i64 + 1;
    Event {
        id: format!("evt-{number:09}"),
        order_id,
        customer_id: customer_of(order_id),
        kind: pick(&["placed", "paid", "paid", "shipped", "shipped", "delivered", "delivered", "returned"], h >> 32),
        amount: total_of(order_id),
    }
}

fn slices() -> impl Iterator<Item = (i64, i64)> + Send {
    (1..=ORDERS).step_by(ORDERS_IN_BATCH as usize).map(|first| (first, (first + ORDERS_IN_BATCH - 1).min(ORDERS)))
}

fn product_columns() -> SchemaRef {
    columns([
        ("product_id", DataType::Int64),
        ("name", DataType::Utf8),
        ("category", DataType::Utf8),
        ("price", DataType::Decimal128(10, 2)),
    ])
}

fn products() -> RecordBatch {
    let ids = || 1..=PRODUCTS;
    let name = |id: i64| {
        let h = mix(id, 3);
        format!("{} {} {id}", pick(&ADJECTIVES, h), pick(&NOUNS, h >> 8))
    };
    batch(
        product_columns(),
        vec![
            Arc::new(Int64Array::from_iter_values(ids())),
            Arc::new(StringArray::from_iter_values(ids().map(name))),
            Arc::new(StringArray::from_iter_values(ids().map(|id| pick(&CATEGORIES, mix(id, 4))))),
            money(ids().map(price_of), 10),
        ],
    )
}

fn order_columns() -> SchemaRef {
    columns([
        ("order_id", DataType::Int64),
        ("customer_id", DataType::Int64),
        ("ordered_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("status", DataType::Utf8),
        ("region", DataType::Utf8),
        ("total", DataType::Decimal128(12, 2)),
    ])
}

fn orders(first: i64, last: i64) -> RecordBatch {
    let ids = || first..=last;
    let ordered_at = ids().map(|id| FIRST_ORDER_AT + (id - 1) * ORDER_EVERY);
    batch(
        order_columns(),
        vec![
            Arc::new(Int64Array::from_iter_values(ids())),
            Arc::new(Int64Array::from_iter_values(ids().map(customer_of))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(ordered_at).with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(ids().map(status_of))),
            Arc::new(StringArray::from_iter_values(ids().map(|id| home(customer_of(id)).1))),
            money(ids().map(total_of), 12),
        ],
    )
}

fn item_columns() -> SchemaRef {
    columns([
        ("order_id", DataType::Int64),
        ("line_no", DataType::Int32),
        ("product_id", DataType::Int64),
        ("quantity", DataType::Int32),
        ("price", DataType::Decimal128(10, 2)),
    ])
}

fn items(first: i64, last: i64) -> RecordBatch {
    let lines: Vec<(i64, i32)> =
        (first..=last).flat_map(|order| (1..=lines_of(order)).map(move |line| (order, line))).collect();
    let items: Vec<(i64, i32)> = lines.iter().map(|&(order, line)| item(order, line)).collect();
    batch(
        item_columns(),
        vec![
            Arc::new(Int64Array::from_iter_values(lines.iter().map(|l| l.0))),
            Arc::new(Int32Array::from_iter_values(lines.iter().map(|l| l.1))),
            Arc::new(Int64Array::from_iter_values(items.iter().map(|i| i.0))),
            Arc::new(Int32Array::from_iter_values(items.iter().map(|i| i.1))),
            money(items.iter().map(|i| price_of(i.0)), 10),
        ],
    )
}

/// Some customers order far more often than others.
fn customer_of(order: i64) -> i64 {
    let h = mix(order, 5);
    let spread = if h & 3 == 0 { CUSTOMERS as u64 / 20 } else { CUSTOMERS as u64 };
    ((h >> 8) % spread) as i64 + 1
}

fn home(customer: i64) -> (&'static str, &'static str) {
    COUNTRIES[(mix(customer, 6) % COUNTRIES.len() as u64) as usize]
}

/// The newest orders are still on their way.
fn status_of(order: i64) -> &'static str {
    match (ORDERS - order, mix(order, 7) % 100) {
        (0..5_000, _) => "placed",
        (5_000..20_000, _) => "shipped",
        (_, 0..4) => "cancelled",
        (_, 4..9) => "returned",
        _ => "delivered",
    }
}

/// One to five, three on average, so that the orders' items are exactly three million.
fn lines_of(order: i64) -> i32 {
    (order % 5) as i32 + 1
}

/// Product and quantity of a line.
fn item(order: i64, line: i32) -> (i64, i32) {
    let h = mix(order * 8 + i64::from(line), 8);
    // the root: low numbers sell best
    let u = h % (PRODUCTS * PRODUCTS) as u64;
    (PRODUCTS - u.isqrt() as i64, ((h >> 40) % 4) as i32 + 1)
}

/// Hundredths.
fn price_of(product: i64) -> i64 {
    (mix(product, 9) % 19_900) as i64 + 99
}

fn total_of(order: i64) -> i64 {
    (1..=lines_of(order))
        .map(|line| item(order, line))
        .map(|(product, quantity)| price_of(product) * i64::from(quantity))
        .sum()
}

fn columns<const N: usize>(columns: [(&str, DataType); N]) -> SchemaRef {
    Arc::new(Schema::new(columns.map(|(name, kind)| Field::new(name, kind, true)).to_vec()))
}

fn money(hundredths: impl Iterator<Item = i64>, precision: u8) -> ArrayRef {
    let values = Decimal128Array::from_iter_values(hundredths.map(i128::from));
    Arc::new(
        values
            .with_precision_and_scale(precision, 2)
            .expect("prices and totals of the sample are far below the precision"),
    )
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema, columns).expect("each column is made for its field, row by row of the same ids")
}

fn pick<T: Copy>(words: &[T], h: u64) -> T {
    words[(h % words.len() as u64) as usize]
}

/// SplitMix64: a number that looks random and is the same at every start. `salt` keeps the uses apart.
fn mix(id: i64, salt: u64) -> u64 {
    let mut z = (id as u64).wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::compute::{max, min, sum};
    use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};

    use super::*;

    #[test]
    fn tables_have_the_sizes_that_the_manual_names() {
        let rows = lake_tables().map(|t| (t.name, t.rows.map(|b| b.num_rows()).sum::<usize>()));
        assert_eq!(rows, [("products", 1_000), ("orders", 1_000_000), ("order_items", 3_000_000)]);
    }

    #[test]
    fn an_orders_total_is_the_sum_of_its_items() {
        let (orders, items) = (orders(10, 19), items(10, 19));
        let total = sum(orders.column(5).as_primitive::<Decimal128Type>());
        let (quantity, price) =
            (items.column(3).as_primitive::<Int32Type>(), items.column(4).as_primitive::<Decimal128Type>());
        let sold = quantity.values().iter().zip(price.values()).map(|(q, p)| i128::from(*q) * p).sum::<i128>();
        assert_eq!(total, Some(sold));
    }

    #[test]
    fn keys_point_at_rows_that_exist() {
        let orders = orders(1, 50_000);
        let customers = orders.column(1).as_primitive::<Int64Type>();
        assert!(min(customers) >= Some(1) && max(customers) <= Some(CUSTOMERS));
        let products = items(1, 50_000);
        let products = products.column(2).as_primitive::<Int64Type>();
        assert!(min(products) == Some(1) && max(products) <= Some(PRODUCTS));
    }

    #[test]
    fn every_region_has_its_part_and_orders_follow_their_customers() {
        let orders = orders(1, 30_000);
        let (customers, regions) = (orders.column(1).as_primitive::<Int64Type>(), orders.column(4).as_string::<i32>());
        for region in ["EU", "US", "APAC"] {
            assert!(regions.iter().filter(|r| *r == Some(region)).count() > 5_000, "{region}");
        }
        for (id, region) in customers.values().iter().zip(regions) {
            assert_eq!(Some(customer(*id).region), region);
        }
    }

    #[test]
    fn an_event_is_about_a_real_order() {
        let event = event(7);
        assert_eq!((event.customer_id, event.amount), (customer_of(event.order_id), total_of(event.order_id)));
    }
}
