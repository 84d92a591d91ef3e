//! Faults at the calls that an ingester makes of its store and its origin, and the end of the ingester at one of them.
//! Which call meets which fault is drawn from a seed, or said by number.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use lakegate::error::{Error, Kind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It fails and nothing happened.
    Reject,
    /// It happened, and is said to have failed.
    FailAfterWrite,
    /// It waits until the test lets it go on.
    Hold,
    /// Others come first.
    Slow,
    /// The ingester is gone, before the call or after it.
    KillBefore,
    KillAfter,
    /// The caller's own code fails.
    Panic,
}

/// Who decides.
enum Plan {
    /// Out of so many calls one has a fault.
    Drawn(Box<StdRng>, u32),
    /// The n-th call.
    At(u64, Fault),
    /// The first call of that name.
    Named(&'static str, Fault),
}

pub struct Chaos {
    plan: Mutex<Plan>,
    calls: AtomicU64,
    met: AtomicU64,
    /// Cancelled when the ingester is to be gone.
    pub killed: CancellationToken,
    /// Cancelled when a call is held.
    pub held: CancellationToken,
    go_on: Semaphore,
    /// What was called, for the one who reads a failure.
    log: Mutex<Vec<String>>,
}

impl Chaos {
    pub fn none() -> Arc<Self> {
        Self::at(u64::MAX, Fault::None)
    }

    pub fn at(call: u64, fault: Fault) -> Arc<Self> {
        Self::new(Plan::At(call, fault))
    }

    pub fn at_named(call: &'static str, fault: Fault) -> Arc<Self> {
        Self::new(Plan::Named(call, fault))
    }

    pub fn drawn(seed: u64, one_in: u32) -> Arc<Self> {
        Self::new(Plan::Drawn(Box::new(StdRng::seed_from_u64(seed)), one_in))
    }

    fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(plan),
            calls: AtomicU64::new(0),
            met: AtomicU64::new(0),
            killed: CancellationToken::new(),
            held: CancellationToken::new(),
            go_on: Semaphore::new(0),
            log: Mutex::default(),
        })
    }

    /// How many faults there were.
    pub fn met(&self) -> u64 {
        self.met.load(Ordering::SeqCst)
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Lets the held call go on.
    pub fn release(&self) {
        self.go_on.add_permits(1);
    }

    fn draw(&self, call: &str) -> Fault {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = match &mut *self.plan.lock().unwrap() {
            Plan::At(at, fault) if number == *at => *fault,
            Plan::At(..) => Fault::None,
            Plan::Named(name, fault) if call == *name && self.met() == 0 => *fault,
            Plan::Named(..) => Fault::None,
            Plan::Drawn(random, one_in) => match random.random_ratio(1, *one_in) {
                false => Fault::None,
                true => {
                    let faults =
                        [Fault::Reject, Fault::FailAfterWrite, Fault::Slow, Fault::KillBefore, Fault::KillAfter];
                    faults[random.random_range(0..faults.len())]
                }
            },
        };
        self.log.lock().unwrap().push(format!("{number} {call} {fault:?}"));
        if fault != Fault::None {
            self.met.fetch_add(1, Ordering::SeqCst);
        }
        fault
    }

    /// Around a call: `Err` where the caller is to see a failure without the call having happened.
    async fn before(&self, fault: Fault) -> std::result::Result<(), &'static str> {
        match fault {
            Fault::None | Fault::FailAfterWrite | Fault::KillAfter => Ok(()),
            Fault::Reject => Err("rejected"),
            Fault::Hold => {
                self.held.cancel();
                self.go_on.acquire().await.unwrap().forget();
                Ok(())
            }
            Fault::Slow => {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Fault::KillBefore => self.die().await,
            Fault::Panic => panic!("a fault of the test"),
        }
    }

    async fn after(&self, fault: Fault) -> std::result::Result<(), &'static str> {
        match fault {
            Fault::FailAfterWrite => Err("failed after the fact"),
            Fault::KillAfter => self.die().await,
            _ => Ok(()),
        }
    }

    /// Nothing happens after this in whoever called.
    async fn die(&self) -> ! {
        self.killed.cancel();
        std::future::pending().await
    }

    /// For a call of the origin.
    pub async fn origin(&self, call: &str) -> lakegate::error::Result<()> {
        let fault = self.draw(call);
        let down = |why| Error::new(Kind::SourceUnreachable, format!("the origin is down: {why}"));
        self.before(fault).await.map_err(down)?;
        self.after(fault).await.map_err(down)
    }
}

/// A store in memory whose calls meet faults.
#[derive(Clone)]
pub struct Faulty {
    objects: Arc<InMemory>,
    chaos: Arc<Chaos>,
}

impl Faulty {
    pub fn new(objects: &Arc<InMemory>, chaos: &Arc<Chaos>) -> Self {
        Self { objects: Arc::clone(objects), chaos: Arc::clone(chaos) }
    }

    async fn through<T>(&self, call: String, work: impl Future<Output = Result<T>>) -> Result<T> {
        let fault = self.chaos.draw(&call);
        let down = |why: &'static str| object_store::Error::Generic { store: "faulty", source: why.into() };
        self.chaos.before(fault).await.map_err(down)?;
        let done = work.await;
        self.chaos.after(fault).await.map_err(down)?;
        done
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.through(format!("put {location}"), self.objects.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.through(format!("get {location}"), self.objects.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let objects = Arc::clone(&self.objects);
        objects.delete_stream(locations).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
