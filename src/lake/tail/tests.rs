//! Who is answered by what, and when. Tables are told by their names here: no lake is asked.

use arrow::array::{ArrayRef, Int64Array};

use super::*;
use crate::lake::fixture;

fn at(lsn: u64) -> Stand {
    Stand::At(Reach::Lsn(lsn))
}

fn tailed(table: &Table) -> Tailed {
    Tailed { table: table.uuid(), is_filled: true }
}

const LONG: Duration = Duration::from_secs(60);

struct World {
    lake: Lake,
    a: Table,
    b: Table,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lake = fixture::lake(&directory).await;
        let mut tables = vec![];
        for name in ["a", "b"] {
            tables.push(fixture::table(&lake, name).await);
        }
        let (b, a) = (tables.pop().unwrap(), tables.pop().unwrap());
        Self { lake, a, b, _directory: directory }
    }

    fn tails(&self, showing: &Showing) -> HashMap<Uuid, Arc<Tail>> {
        let tail = |table: &Table| {
            let tail = Tail::new(&self.lake, table.clone(), showing.number(), false, Arc::default(), vec![]);
            (table.uuid(), Arc::new(tail))
        };
        [&self.a, &self.b].map(tail).into()
    }
}

/// Answers one question, as a flow does that stands there.
async fn answers(world: &World, showing: &Showing, stand: Stand) -> BTreeSet<Uuid> {
    showing.asked().await;
    let (wanted, number) = showing.wanted(&stand);
    if !wanted.is_empty() {
        showing.answer(number, &stand, world.tails(showing));
    }
    wanted
}

#[tokio::test]
async fn tables_of_one_pipeline_are_of_one_moment() {
    let (world, tails) = (World::new().await, Tails::default());
    let showing = tails.show([world.a.uuid(), world.b.uuid()]);
    let both = [tailed(&world.a), tailed(&world.b)];
    let stand = at(7);
    let (looked, wanted) =
        tokio::join!(tails.look(&Freshness::Latest, &both, LONG), answers(&world, &showing, stand.clone()));
    let looked = looked.unwrap();
    assert_eq!((looked.tails.len(), looked.without.len(), wanted.len()), (2, 0, 2));
    assert_eq!(looked.stands, [at(7)]);
    // Young enough: nobody answers now.
    let again = tails.look(&Freshness::Within(LONG), &both, LONG).await.unwrap();
    let number = |looked: &Looked| looked.tails[&world.a.uuid()].number;
    assert_eq!(number(&again), number(&looked));
    // What was answered holds no more once it is committed, and then somebody must answer.
    showing.forget();
    let soon = Duration::from_millis(10);
    let late = tails.look(&Freshness::Within(LONG), &both, soon).await.unwrap_err();
    assert_eq!(late.kind(), Kind::NotInState);
    let late = tails.look(&Freshness::Latest, &both, soon).await.unwrap();
    assert_eq!((late.tails.len(), late.without.len()), (0, 2));
    // Those do not wait any more.
    assert!(showing.wanted(&stand).0.is_empty());
    drop(showing);
    let gone = tails.look(&Freshness::Latest, &both, LONG).await.unwrap();
    assert_eq!((gone.tails.len(), gone.without.len()), (0, 2));
}

#[tokio::test]
async fn a_place_is_waited_for_even_over_another_life_of_the_pipeline() {
    let (world, tails) = (World::new().await, Tails::default());
    let wanted = Freshness::Reached(Reach::Lsn(9));
    let lives = async {
        let first = tails.show([world.a.uuid()]);
        assert!(answers(&world, &first, at(8)).await.is_empty(), "it is not there yet");
        drop(first);
        let second = tails.show([world.a.uuid()]);
        assert_eq!(answers(&world, &second, at(9)).await.len(), 1);
        second
    };
    let one = [tailed(&world.a)];
    let (looked, showing) = tokio::join!(tails.look(&wanted, &one, LONG), lives);
    assert_eq!(looked.unwrap().tails.len(), 1);

    let offsets = Freshness::Reached(Reach::Offsets([(0, 1)].into()));
    let (never, _) = tokio::join!(tails.look(&offsets, &one, LONG), answers(&world, &showing, at(9)));
    assert_eq!(never.unwrap_err().kind(), Kind::InvalidParameter);
    let late = Freshness::Reached(Reach::Lsn(0x1_0000_0000));
    let (late, _) =
        tokio::join!(tails.look(&late, &one, Duration::from_millis(20)), answers(&world, &showing, at(0xAB)));
    assert_eq!(late.unwrap_err().detail(), Some("It has reached lsn:0/AB."));
}

#[tokio::test]
async fn what_is_asked_while_an_answer_is_made_is_answered_by_the_next() {
    let (world, tails) = (World::new().await, Tails::default());
    let showing = tails.show([world.a.uuid()]);
    let one = [tailed(&world.a)];
    let look = || tails.look(&Freshness::Latest, &one, LONG);
    let mut first = Box::pin(look());
    assert!(futures::poll!(&mut first).is_pending());
    let (_, number) = showing.wanted(&at(1));
    // He may have changed the table himself before he asked.
    let mut second = Box::pin(look());
    assert!(futures::poll!(&mut second).is_pending());
    showing.answer(number, &at(1), world.tails(&showing));
    assert!(futures::poll!(&mut first).is_ready());
    assert!(futures::poll!(&mut second).is_pending());
    let (_, number) = showing.wanted(&at(1));
    showing.refuse(number, &at(1));
    // as it was committed it can be read
    assert!(second.await.unwrap().without.contains(&world.a.uuid()));
}

#[test]
fn rows_that_were_dropped_are_not_read() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let hot = Hot { rows, dropped: Arc::new([0, 2].into_iter().collect()) };
    assert_eq!((hot.len(), hot.live(&[0]).unwrap().num_rows(), hot.live(&[]).unwrap().num_rows()), (1, 1, 1));
}
