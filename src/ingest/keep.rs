//! A flow that is started again after a panic: a fault of ours in one batch must not end a pipeline for good, and must not
//! be silent either. It catches nothing else; what an error means the flow itself says.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use metrics::counter;
use tokio_util::sync::CancellationToken;

use super::flow::{Flow, wait};
use super::status::{self, State, Status};
use super::target::Target;
use crate::error::{Error, Kind};
use crate::telemetry::metrics as names;

/// Before the first new start; it doubles with every panic up to `retry_ms_max`.
const PAUSE: Duration = Duration::from_millis(100);

/// Until `stop`: a flow made anew, of what is durable, whenever the one before it panicked.
pub async fn keep(mut make: impl FnMut() -> Flow, stop: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        let flow = make();
        let (target, pause_max) = (flow.target.clone(), Duration::from_millis(flow.config.retry_ms_max));
        let begin = Instant::now();
        let Err(panic) = AssertUnwindSafe(flow.run(stop.clone())).catch_unwind().await else { return };
        tell(&target, said(panic.as_ref())).await;
        if begin.elapsed() > pause_max {
            // It ran long enough for this to be another fault.
            pause = PAUSE;
        }
        wait(pause, &stop).await;
        if stop.is_cancelled() {
            return;
        }
        pause = (pause * 2).min(pause_max);
    }
}

/// In the log, in a metric and in `lakegate ingest status`.
async fn tell(target: &Target, panic: &str) {
    let pipeline = &target.pipeline;
    tracing::error!(pipeline, table = target.label(), panic, "pipeline panicked, it is started again");
    counter!(names::INGEST_RETRIES, "pipeline" => pipeline.clone()).increment(1);
    let error = Error::new(Kind::Internal, "the pipeline panicked and is started again")
        .with_hint("This is a fault of lakegate's; its log says where.");
    let mut status = Status::new(State::Retrying);
    status.enter(State::Retrying, Some(&error));
    if let Err(error) = target.lake.metastore().put(&status::name(target), &status.json(None)).await {
        tracing::debug!(pipeline, error = %error, "the state was not noted");
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
