//! What the language itself costs. Planning of statements that grow: two hundred branches must take about four times what
//! fifty take, here as in PostgreSQL. A join of ten tables from text to physical plan, beside DataFusion's own planning of
//! the same text. And the commonest functions and operators, in rows per second of the server's CPU, over a table in
//! memory's reach, beside PostgreSQL: a kernel over whole arrays should be slower nowhere. The result cache is off.

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::gateway::{Gateway, Lake};
use crate::measure::{Arm, Process, interleave, ratio};
use crate::plain::Plain;
use crate::report::{number, spread, table, times};
use crate::result::{postgres_family, postgres_login, uncached, version};
use crate::{Scale, postgres_server, shop};

const ROWS: u64 = 2_000_000;
const SIZES: [usize; 3] = [50, 100, 200];

/// Each over columns of one row, counted so that every row's value is made.
const KERNELS: [&str; 40] = [
    "order_id + customer_id",
    "order_id - customer_id",
    "quantity * 3",
    "order_id / 7",
    "order_id % 7",
    "total + 1.5",
    "total * total",
    "total / 3",
    "round(total, 1)",
    "abs(total)",
    "weight * 2",
    "sqrt(weight)",
    "floor(weight)",
    "quantity::text",
    "total::text",
    "weight::int",
    "order_id::numeric",
    "total::float8",
    "upper(status)",
    "length(note)",
    "substr(note, 3, 5)",
    "note || status",
    "concat(status, '-', quantity)",
    "replace(note, 'order', 'x')",
    "position('customer' in note)",
    "split_part(note, ' ', 2)",
    "nullif(note like '%99%', false)",
    "nullif(note ~ '9+8', false)",
    "trim(note)",
    "lpad(status, 10)",
    "left(note, 4)",
    "md5(status)",
    "coalesce(nullif(status, 'new'), 'none')",
    "case when quantity > 25 then status end",
    "date_trunc('month', ordered_at)",
    "extract(year from ordered_at)",
    "ordered_at::date",
    "to_char(ordered_at, 'YYYY-MM-DD')",
    "due + 30",
    "ordered_at + interval '1 month'",
];

pub fn run(scale: Scale) -> Result<String> {
    let (runtime, rows) = (Runtime::new()?, scale.of(ROWS));
    let lake = runtime.block_on(Lake::new("shop"))?;
    runtime.block_on(lake.fill(&shop::name(), shop::schema(), shop::batches(rows)))?;
    let gateway = lake.serve()?;
    let plain = Plain::over(&[("orders", gateway.lake.files(&shop::name())?)])?;
    let postgres = runtime.block_on(postgres_server::Server::with(&["shared_buffers=1GB", "timezone=UTC"]));
    for statement in shop::in_postgres(rows).split(';') {
        runtime.block_on(postgres.run(statement));
    }
    let version = runtime.block_on(version(&postgres_login(&postgres)))?;
    let stage = Stage { runtime, gateway, plain, postgres, scale };
    Ok(format!(
        "Statements that grow, planned and run over tables without rows.\n\n{}\n\n\
         A join of ten tables: `EXPLAIN` through the wire, beside DataFusion's `sql` and physical plan in one process.\n\n{}\n\n\
         `SELECT count(E) FROM shop.orders`, {rows} rows, and what a bare `count(order_id)` takes not taken off; above 1 \
         lakegate is the faster. PostgreSQL {version}, no parallel workers. {} turns.\n\n{}",
        stage.growth()?,
        stage.join()?,
        scale.rounds,
        stage.kernels()?
    ))
}

struct Stage {
    runtime: Runtime,
    gateway: Gateway,
    plain: Plain,
    postgres: postgres_server::Server,
    scale: Scale,
}

impl Stage {
    /// Logged in to both.
    fn clients(&self) -> Result<(Client, Client)> {
        self.runtime.block_on(async {
            let mut theirs = Client::connect(&postgres_login(&self.postgres)).await?;
            theirs.simple("SET max_parallel_workers_per_gather = 0").await?;
            Ok((uncached(&self.gateway.login).await?, theirs))
        })
    }

    fn growth(&self) -> Result<String> {
        let (mut ours, mut theirs) = self.clients()?;
        let family = postgres_family(&self.postgres)?;
        let branches = |n: usize| {
            let branches: Vec<String> = (0..n)
                .map(|k| format!("SELECT order_id, 'x' AS x FROM shop.orders WHERE false AND quantity = {k}"))
                .collect();
            branches.join(" UNION ALL ")
        };
        let sums = |n: usize| {
            let sums: Vec<String> =
                (0..n).map(|k| format!("sum(CASE WHEN quantity = {k} THEN customer_id END)")).collect();
            format!("SELECT {} FROM shop.orders WHERE order_id < 10", sums.join(", "))
        };
        let mut lines = vec![];
        for (what, sql) in [("UNION ALL branches", &branches as &dyn Fn(usize) -> String), ("conditional sums", &sums)]
        {
            for n in SIZES {
                let sql = sql(n);
                let measured = interleave(
                    self.scale.rounds,
                    vec![
                        Arm::timed("lakegate", self.gateway.running.process(), || {
                            self.runtime.block_on(ours.simple(&sql)).map(|_| ())
                        }),
                        Arm::timed("PostgreSQL", family, || self.runtime.block_on(theirs.simple(&sql)).map(|_| ())),
                    ],
                )?;
                let mut line = vec![format!("{n} {what}")];
                line.extend(measured.iter().map(|arm| spread(&arm.seconds, 1e3)));
                line.push(times(ratio(&measured[0].seconds, &measured[1].seconds)));
                lines.push(line);
            }
        }
        Ok(table(&["statement", "lakegate, ms", "PostgreSQL, ms", "lakegate ÷ it"], &lines))
    }

    fn join(&self) -> Result<String> {
        let (mut ours, _) = self.clients()?;
        let text = |table: &str| {
            let joins: Vec<String> =
                (1..10).map(|n| format!("JOIN {table} t{n} ON t{n}.order_id = t{}.customer_id", n - 1)).collect();
            format!(
                "SELECT t0.status, sum(t9.total) FROM {table} t0 {} WHERE t3.quantity > 5 GROUP BY 1",
                joins.join(" ")
            )
        };
        let (explain, theirs) = (format!("EXPLAIN {}", text("shop.orders")), text("orders"));
        let measured = interleave(
            self.scale.rounds,
            vec![
                Arm::timed("lakegate, EXPLAIN", self.gateway.running.process(), || {
                    self.runtime.block_on(ours.simple(&explain)).map(|_| ())
                }),
                Arm::timed("DataFusion, planning alone (limit)", Process::Ours, || self.plain.plan(&theirs)),
            ],
        )?;
        let line = |arm: &crate::measure::Measured| {
            vec![arm.name.to_string(), spread(&arm.seconds, 1e3), times(ratio(&measured[0].seconds, &arm.seconds))]
        };
        Ok(table(&["by", "ms", "lakegate ÷ it"], &measured.iter().map(line).collect::<Vec<_>>()))
    }

    fn kernels(&self) -> Result<String> {
        let (mut ours, mut theirs) = self.clients()?;
        let (family, rows) = (postgres_family(&self.postgres)?, self.scale.of(ROWS) as f64);
        let mut lines = vec![];
        for kernel in KERNELS {
            let sql = format!("SELECT count({kernel}) FROM shop.orders");
            let (a, b) = self
                .runtime
                .block_on(async { Ok::<_, anyhow::Error>((ours.rows(&sql).await?, theirs.rows(&sql).await?)) })?;
            ensure!(a == b, "{kernel}: {a:?} and {b:?}");
            let measured = interleave(
                self.scale.rounds.min(3),
                vec![
                    Arm::timed("lakegate", self.gateway.running.process(), || {
                        self.runtime.block_on(ours.simple(&sql)).map(|_| ())
                    }),
                    Arm::timed("PostgreSQL", family, || self.runtime.block_on(theirs.simple(&sql)).map(|_| ())),
                ],
            )?;
            let per_second = |arm: &crate::measure::Measured| rows / arm.cpu.median();
            lines.push(vec![
                format!("`{}`", kernel.replace('|', "\\|")),
                number(per_second(&measured[0])),
                number(per_second(&measured[1])),
                times(ratio(&measured[1].cpu, &measured[0].cpu)),
            ]);
        }
        Ok(table(&["E", "lakegate, rows per CPU s", "PostgreSQL, rows per CPU s", "lakegate ÷ it"], &lines))
    }
}
