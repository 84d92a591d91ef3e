//! What a `hash` mask adds to a column on its way from the scan to DataRows: a guarded plan over 65,536 texts of 24 bytes in
//! memory, run to its end and encoded as text, seen plainly and hashed; once all values differ, once a hundred do.
//!
//! Expectation, at 3 GHz on one core with SHA instructions. Plainly a row costs the frame and a copy, 15–25 ns. HMAC-SHA-256
//! of a short value is two compressions of 64 bytes, 40–50 ns each, with 20 ns of setting up between; the digits and the
//! longer text to write add 30. So distinct values cost some 160 ns, seven to ten times the plain ones here, where the
//! plain ones cost next to nothing, and three to four times a row that is also read from a file and sent. A value seen
//! before costs a look-up, 15 ns: repeated ones stay near two. Above 300 ns a row something allocates.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionConfig;
use lakegate::formats::postgres::{Format, RowEncoder, Style};
use lakegate::policy::compile::{Objects, Policies};
use lakegate::policy::file::Draft;
use lakegate::policy::guard::{Opening, Pins, guard};
use lakegate::policy::scram::{ITERATIONS, scram_verifier};
use lakegate::policy::{Action, Decision, Object, ObjectKind, Sealed};
use lakegate::secret::Secret;
use lakegate::types::{ObjectId, TableName, Version};
use tokio::runtime::Runtime;

const ROWS: usize = 65_536;
const BATCH: usize = 8_192;

fn object() -> Object {
    let name = TableName::new("shop", "people");
    Object {
        id: ObjectId::of(&name.to_string()),
        name,
        schema: Arc::new(Schema::new(vec![Field::new("email", DataType::Utf8View, true)])),
        column_ids: vec![vec!["email".into()]],
        raw_columns: Default::default(),
        kind: ObjectKind::Table,
    }
}

/// Who sees the column as it is, and who its hash.
fn policies() -> Arc<Policies> {
    let lines = "p, plain, *, select, allow\np, hash, *, select, allow\np3, hash, shop.people, email, hash\n";
    let user =
        |name: &str| format!("[user.{name}]\nscram = \"{}\"\n", scram_verifier(name, b"sixteen byte salt", ITERATIONS));
    let (draft, _) = Draft::parse(lines, &[user("plain"), user("hash")].concat()).expect("the lines are right");
    let objects = Objects { objects: vec![object()], schemas: ["shop".to_string()].into(), ..Objects::default() };
    let key = Secret::new(b"the key of this deployment".to_vec());
    Arc::new(Policies::compile(&draft, &objects, &key, 1).expect("the lines bind").0)
}

fn batches(distinct: usize) -> Vec<RecordBatch> {
    let email = |row: usize| format!("person{:08}@shop.test", row % distinct);
    let starts = (0..ROWS).step_by(BATCH);
    let columns = starts.map(|start| StringViewArray::from_iter_values((start..start + BATCH).map(email)));
    let batch = |column| RecordBatch::try_new(object().schema, vec![Arc::new(column) as _]).expect("one text column");
    columns.map(batch).collect()
}

/// `SELECT email FROM shop.people` as the pipeline plans it for `user`.
fn planned(
    user: &str,
    policies: &Arc<Policies>,
    batches: Vec<RecordBatch>,
    runtime: &Runtime,
) -> Arc<dyn ExecutionPlan> {
    let object = Arc::new(object());
    let policy = policies.session(&policies.principal(user).expect("a user")).expect("a user");
    let Decision::Allow(grant) = policy.decide(object.id, Action::Select) else { panic!("granted") };
    let table = MemTable::try_new(Arc::clone(&object.schema), vec![batches]).expect("batches of its schema");
    let mut pins = Pins::default();
    pins.insert(object.id, Version::Fixed(1), Arc::new(table), Arc::new(|_| Some(lakegate::types::Share::WHOLE)));
    let plan = LogicalPlanBuilder::scan("people", Sealed::object(Arc::clone(&object), &grant), None);
    let plan = plan.and_then(LogicalPlanBuilder::build).expect("a scan");
    let opening = Opening { policy: &policy, pins: &pins, bodies: &HashMap::new() };
    let guarded = guard(plan, &opening).expect("a query of ours");
    let config = SessionConfig::new().with_target_partitions(1);
    let state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    let optimized = state.optimize(guarded.plan()).expect("it optimizes");
    let physical = runtime.block_on(state.query_planner().create_physical_plan(&optimized, &state)).expect("it plans");
    guarded.verify(&physical).expect("it verifies");
    physical
}

fn masks(criterion: &mut Criterion) {
    let policies = policies();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let style = Style::of(chrono_tz::UTC);
    for (name, distinct) in [("all values differ", ROWS), ("a hundred values", 100)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ROWS as u64));
        for user in ["plain", "hash"] {
            let plan = planned(user, &policies, batches(distinct), &runtime);
            let task = Arc::new(datafusion::execution::TaskContext::default());
            let mut encoder = RowEncoder::new(plan.schema(), &[Format::Text], &style).expect("text");
            let mut out = BytesMut::with_capacity(ROWS * 128);
            group.bench_function(user, |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let answer = runtime.block_on(collect(Arc::clone(&plan), Arc::clone(&task))).expect("it runs");
                    for batch in &answer {
                        encoder.encode(black_box(batch), 0, usize::MAX, &mut out).expect("every value is in range");
                    }
                    black_box(out.len())
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, masks);
criterion_main!(benches);
