//! A table that changes between looks, read by origins that come and go: every row once, whatever ties there are and wherever
//! reading ends.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::table_reads::TableReader;
use crate::types::TableName;

/// A cursor, and what else a row holds.
type Row = (Option<i64>, i64);

#[derive(Clone)]
struct State {
    rows: Vec<Row>,
    /// Rows of a batch.
    chunk: usize,
    identity: &'static str,
    version: Option<String>,
    /// The second column's name.
    payload: &'static str,
}

type Table = Arc<Mutex<State>>;

fn table(rows: &[Row]) -> Table {
    let rows = rows.to_vec();
    Arc::new(Mutex::new(State { rows, chunk: 1_000, identity: "one", version: None, payload: "id" }))
}

struct Reads(Table);

#[async_trait]
impl TableReader for Reads {
    async fn look(&self, _: &TableName) -> Result<Arc<dyn TableRead>> {
        Ok(Arc::new(self.0.lock().unwrap().clone()))
    }
}

impl State {
    fn batches(&self, rows: &[Row], with_value: bool) -> SendableRecordBatchStream {
        let mut fields = self.columns().fields().to_vec();
        if with_value {
            fields.push(Arc::new(Field::new("v", DataType::Utf8, true)));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = |rows: &[Row]| {
            let mut columns: Vec<ArrayRef> = vec![
                Arc::new(rows.iter().map(|(cursor, _)| *cursor).collect::<Int64Array>()),
                Arc::new(rows.iter().map(|(_, id)| Some(*id)).collect::<Int64Array>()),
            ];
            if with_value {
                let texts = rows.iter().map(|(cursor, _)| cursor.map(|c| c.to_string()));
                columns.push(Arc::new(texts.collect::<StringArray>()));
            }
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        };
        let batches: Vec<_> = rows.chunks(self.chunk).map(batch).collect();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter(batches)))
    }
}

#[async_trait]
impl TableRead for State {
    fn identity(&self) -> &str {
        self.identity
    }

    fn columns(&self) -> SchemaRef {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("at"), field(self.payload)]))
    }

    fn column_ids(&self) -> &[Option<String>] {
        &[None, None]
    }

    fn key(&self) -> &[String] {
        &[]
    }

    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn may_order_by(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn rows(&self) -> Result<SendableRecordBatchStream> {
        Ok(self.batches(&self.rows, false))
    }

    async fn rows_from(&self, _: &str, least: Option<&str>) -> Result<SendableRecordBatchStream> {
        let least = least.map(|text| text.parse::<i64>().unwrap());
        let fits = |(cursor, _): &&Row| cursor.is_some() && least.is_none_or(|least| *cursor >= Some(least));
        let mut rows: Vec<Row> = self.rows.iter().filter(fits).copied().collect();
        rows.sort_by_key(|(cursor, _)| *cursor);
        Ok(self.batches(&rows, true))
    }

    async fn nulls(&self, _: &str) -> Result<u64> {
        Ok(self.rows.iter().filter(|(cursor, _)| cursor.is_none()).count() as u64)
    }
}

async fn origin(table: &Table, how: How, replaces: bool, place: &Place) -> Pulled {
    let reads = TableReads::default();
    reads.open(Arc::new(Reads(Arc::clone(table))));
    let key_columns = if replaces { vec!["id".to_string()] } else { vec![] };
    let (name, every) = (TableName::new("s", "t"), Every::Ms(0));
    let pull = Pull { table: name, at: (1, 1), target: "t".into(), how, key_columns, replaces, every };
    let mut origin = Pulled::new("p", pull, reads);
    origin.begin(&kept(place)).await.unwrap();
    origin.tables().await.unwrap();
    origin
}

fn kept(place: &Place) -> Kept {
    let place = Some(place.clone()).filter(|place| !place.0.is_empty());
    Kept { tables: vec![place], checkpoint: None }
}

fn since() -> How {
    How::Since { cursor: "at".into(), null_cursors: NullCursors::Stop }
}

fn room(changes: usize) -> Room {
    Room { changes, bytes: usize::MAX, wait: Duration::from_secs(5) }
}

/// The rows of what was read.
fn rows(taken: &Taken) -> Vec<Row> {
    let mut rows = vec![];
    for part in &taken.parts {
        let column = |at: usize| part.changed.rows.column(at).as_primitive::<Int64Type>().clone();
        let (at, id) = (column(0), column(1));
        rows.extend((0..part.changed.ops.len()).map(|row| (Some(at.value(row)), id.value(row))));
    }
    rows
}

/// Reads to the end of a look, and answers where it then is.
async fn look(origin: &mut Pulled, changes: usize, into: &mut Vec<Row>) -> Result<Place> {
    loop {
        let taken = origin.read(room(changes)).await?;
        into.extend(rows(&taken));
        if origin.running.is_none() {
            return Ok(taken.place.unwrap());
        }
    }
}

#[tokio::test]
async fn every_row_comes_once_wherever_reading_ends() {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for history in 0..300 {
        let table = table(&[]);
        // What a lake holds, and the place that came with it.
        let (mut lake, mut place): (Vec<Row>, _) = (vec![], Place::default());
        let (mut highest, mut next, equal) = (0, 0, random.random_bool(0.3));
        let mut of_now = origin(&table, since(), false, &place).await;
        for _ in 0..random.random_range(1..12) {
            for _ in 0..random.random_range(0..9) {
                // As high as any so far or higher; often there are many, sometimes with the same content.
                highest += i64::from(random.random_bool(0.3));
                next += i64::from(!equal || random.random_bool(0.5));
                table.lock().unwrap().rows.push((Some(highest), next));
            }
            table.lock().unwrap().chunk = random.random_range(1..6);
            // Each read may be the last before a crash; what was read after the last commit is lost then.
            let mut batch = vec![];
            loop {
                let taken = of_now.read(room(random.random_range(1..5))).await.unwrap();
                batch.extend(rows(&taken));
                if random.random_bool(0.4) {
                    lake.append(&mut batch);
                    place = taken.place.unwrap();
                }
                if random.random_bool(0.1) {
                    batch.clear();
                    of_now = origin(&table, since(), false, &place).await;
                } else if of_now.running.is_none() {
                    break;
                }
            }
            lake.append(&mut batch);
            place = of_now.now().unwrap();
        }
        look(&mut of_now, 3, &mut lake).await.unwrap();
        let mut want = table.lock().unwrap().rows.clone();
        lake.sort_unstable();
        want.sort_unstable();
        assert_eq!(lake, want, "history {history}, LAKEGATE_SEED={seed}");
    }
}

#[tokio::test]
async fn a_look_that_finds_nothing_moves_no_position() {
    let table = table(&[(Some(1), 1), (Some(2), 2), (Some(2), 3)]);
    let (mut origin, mut got) = (origin(&table, since(), false, &Place::default()).await, vec![]);
    let place = look(&mut origin, 9, &mut got).await.unwrap();
    assert_eq!(got, [(Some(1), 1), (Some(2), 2), (Some(2), 3)]);
    assert_eq!(origin.range(&place), "2");
    for _ in 0..3 {
        assert_eq!(look(&mut origin, 9, &mut got).await.unwrap(), place);
    }
    assert_eq!(got.len(), 3);
    // A wish is heard once, and said to be.
    origin.asked("now");
    let heard = look(&mut origin, 9, &mut got).await.unwrap();
    assert_ne!(heard, place);
    assert_eq!(look(&mut origin, 9, &mut got).await.unwrap(), heard);
}

#[tokio::test]
async fn rows_without_a_value_are_told_of_or_left_out_as_the_file_says() {
    let table = table(&[(Some(1), 1), (None, 2)]);
    let mut strict = origin(&table, since(), false, &Place::default()).await;
    let error = look(&mut strict, 9, &mut vec![]).await.unwrap_err();
    let told = "1 rows of \"s.t\" have no value in \"at\", and would never be taken in";
    assert_eq!((error.kind(), error.message()), (Kind::NotNull, told));
    let how = How::Since { cursor: "at".into(), null_cursors: NullCursors::LeaveOut };
    let (mut lenient, mut got) = (origin(&table, how, false, &Place::default()).await, vec![]);
    look(&mut lenient, 9, &mut got).await.unwrap();
    assert_eq!(got, [(Some(1), 1)]);
}

#[tokio::test]
async fn another_table_of_the_name_and_columns_that_went_ask_for_a_person() {
    let table = table(&[(Some(1), 1)]);
    let mut first = origin(&table, since(), false, &Place::default()).await;
    let place = look(&mut first, 9, &mut vec![]).await.unwrap();
    table.lock().unwrap().payload = "number";
    let mut renamed = origin(&table, since(), false, &place).await;
    assert_eq!(look(&mut renamed, 9, &mut vec![]).await.unwrap_err().kind(), Kind::DataGone);
    table.lock().unwrap().payload = "id";
    table.lock().unwrap().identity = "another";
    let mut anew = origin(&table, since(), false, &place).await;
    let error = look(&mut anew, 9, &mut vec![]).await.unwrap_err();
    let told = "table \"s.t\" was made anew since it was read up to 1";
    assert_eq!((error.kind(), error.message()), (Kind::DataGone, told));
    let mut whole = origin(&table, How::Whole, false, &Place::default()).await;
    let error = whole.begin(&kept(&place)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DataGone, "the place of another way to read");
}

#[tokio::test]
async fn more_ties_than_can_be_known_stop_rows_that_are_added_and_no_current_ones() {
    let many = i64::try_from(Ties::MAX).unwrap() + 2_500;
    let table = table(&(0..many).map(|id| (Some(1), id)).collect::<Vec<_>>());
    let mut added = origin(&table, since(), false, &Place::default()).await;
    let error = look(&mut added, 700, &mut vec![]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    // Where a higher value follows nobody need know them again.
    table.lock().unwrap().rows.push((Some(2), 0));
    let (mut got, mut open) = (vec![], 0);
    let mut added = origin(&table, since(), false, &Place::default()).await;
    loop {
        let taken = added.read(room(700)).await.unwrap();
        open += usize::from(taken.place.is_none());
        got.extend(rows(&taken));
        if added.running.is_none() {
            break;
        }
    }
    assert_eq!(i64::try_from(got.len()).unwrap(), many + 1);
    assert!(open > 0, "nothing is committed amid rows that would not be known again");
    table.lock().unwrap().rows.pop();
    let mut current: BTreeMap<i64, Option<i64>> = BTreeMap::new();
    let mut replaced = origin(&table, since(), true, &Place::default()).await;
    for _ in 0..2 {
        let mut got = vec![];
        look(&mut replaced, 700, &mut got).await.unwrap();
        assert_eq!(i64::try_from(got.len()).unwrap(), many, "they come again, and replace themselves");
        current.extend(got.into_iter().map(|(at, id)| (id, at)));
    }
    assert_eq!(i64::try_from(current.len()).unwrap(), many);
}

#[tokio::test]
async fn a_table_is_read_whole_where_it_may_be_another() {
    let table = table(&[(Some(1), 1)]);
    let mut of_now = origin(&table, How::Whole, false, &Place::default()).await;
    assert_eq!(of_now.read(room(9)).await.unwrap().whole, Some(0));
    assert_eq!(of_now.read(room(9)).await.unwrap().whole, Some(0), "nobody knows whether it is the same");
    table.lock().unwrap().version = Some("1".into());
    let first = of_now.read(room(9)).await.unwrap();
    assert_eq!(first.whole, Some(0));
    let again = of_now.read(room(9)).await.unwrap();
    assert_eq!((again.whole, &again.place), (None, &first.place));
    let mut of_now = origin(&table, How::Whole, false, &first.place.unwrap()).await;
    assert_eq!(of_now.read(room(9)).await.unwrap().whole, None, "nor after a restart");
    table.lock().unwrap().version = Some("2".into());
    assert_eq!(of_now.read(room(9)).await.unwrap().whole, Some(0));
}
