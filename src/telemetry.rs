//! Tracing set-up, and the name of every metric: a constant here, described once. It records nothing itself.

mod text;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::{Error, Kind, Result};

/// How log lines are spelt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Sends log lines to standard error, those of panics too. `filter` is in `RUST_LOG`'s language, `info` or
/// `lakegate=debug,warn`.
pub fn init(format: Format, filter: &str) -> Result<()> {
    let lines = lines(format, filter, std::io::stderr().is_terminal(), std::io::stderr)?;
    lines.try_init().map_err(|e| Error::internal("tracing is set up twice").with_source(e))?;
    // The default hook writes what panicked as it is, and a panic may quote what a client sent.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("of an unknown kind");
        tracing::error!(panic = text, at = panic.location().map(tracing::field::display), "panic");
    }));
    Ok(())
}

type Lines = Box<dyn Subscriber + Send + Sync>;

fn lines<W>(format: Format, filter: &str, ansi: bool, writer: W) -> Result<Lines>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| Error::new(Kind::Config, format!("log filter is not understood: {e}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    Ok(match format {
        Format::Text => Box::new(lines.fmt_fields(text::Fields).finish()),
        Format::Json => Box::new(lines.json().flatten_event(true).finish()),
    })
}

/// Installs the process's one recorder; the handle renders what `/metrics` shows.
pub fn install_recorder() -> Result<PrometheusHandle> {
    let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
    let rows = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_batch_rows".into()), &rows))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|e| Error::internal("metrics recorder").with_source(e))?;
    metrics::describe();
    Ok(handle)
}

/// Folds recorded histogram samples into their buckets until `token` ends; without it they pile up between scrapes.
pub async fn upkeep(handle: PrometheusHandle, token: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    while token.run_until_cancelled(tick.tick()).await.is_some() {
        handle.run_upkeep();
    }
}

/// Every metric's name. Units are Prometheus's base units and stand in the name.
pub mod metrics {
    use ::metrics::Unit::{Bytes, Count, Seconds};
    use ::metrics::{describe_counter, describe_gauge, describe_histogram};

    /// Kind of a described metric, as the table below needs it.
    enum Of {
        Counter,
        Gauge,
        Histogram,
    }

    macro_rules! metrics {
        ($($name:ident = $text:literal, $of:ident, $unit:ident, $about:literal;)*) => {
            $(#[doc = $about] pub const $name: &str = $text;)*

            /// Tells the installed recorder what each metric means.
            pub fn describe() {
                $(match Of::$of {
                    Of::Counter => describe_counter!($name, $unit, $about),
                    Of::Gauge => describe_gauge!($name, $unit, $about),
                    Of::Histogram => describe_histogram!($name, $unit, $about),
                })*
            }

            /// Every name, in the order of the table.
            pub const ALL: &[&str] = &[$($name,)*];
        };
    }

    metrics! {
        // --- the wire
        CONNECTIONS = "lakegate_connections", Gauge, Count, "logged-in connections";
        CONNECTIONS_PENDING = "lakegate_connections_pending", Gauge, Count, "connections that have not logged in yet";
        CONNECTIONS_REFUSED = "lakegate_connections_refused_total", Counter, Count, "connections closed before login, by reason";
        LOGIN_FAILURES = "lakegate_login_failures_total", Counter, Count, "failed logins";
        SESSIONS_ENDED = "lakegate_sessions_ended_total", Counter, Count, "sessions ended by the server, by reason";
        MESSAGES_OVERSIZED = "lakegate_messages_oversized_total", Counter, Count, "messages refused for their size";
        BYTES_SENT = "lakegate_bytes_sent_total", Counter, Bytes, "bytes written to clients";
        ROWS_SENT = "lakegate_rows_sent_total", Counter, Count, "rows written to clients";
        CANCELS = "lakegate_cancel_requests_total", Counter, Count, "cancel requests, by outcome: hit, idle, miss, silenced";
        HTTP_CONNECTIONS = "lakegate_http_connections", Gauge, Count, "connections at the HTTP door";
        // --- statements
        QUERIES = "lakegate_queries_total", Counter, Count, "statements executed or refused, by outcome: ok, abandoned or the SQLSTATE";
        KEPT_REFUSED = "lakegate_kept_refused_total", Counter, Count, "prepared statements and portals refused for their number or bytes";
        QUERY_SECONDS = "lakegate_query_seconds", Histogram, Seconds, "time from execution to the last row";
        PANICS = "lakegate_panics_total", Counter, Count, "statements that ended in a panic";
        PLANNING_OVERDUE = "lakegate_planning_overdue_total", Counter, Count, "statements whose planning ran on past its deadline or its client";
        STATEMENTS_BEHIND = "lakegate_statements_behind_total", Counter, Count, "statements that ran past their turn and fell behind shorter ones";
        MEMORY_POOL_BYTES = "lakegate_memory_pool_bytes", Gauge, Bytes, "memory reserved by running statements";
        SPILL_BYTES = "lakegate_spill_bytes", Gauge, Bytes, "temporary files of running statements";
        RESULT_CACHE_HITS = "lakegate_result_cache_hits_total", Counter, Count, "statements answered from the result cache";
        RESULT_CACHE_MISSES = "lakegate_result_cache_misses_total", Counter, Count, "cacheable statements that had to run";
        RESULT_CACHE_BYTES = "lakegate_result_cache_bytes", Gauge, Bytes, "bytes held by the result cache";
        // --- reflections
        REFLECTION_REFRESHES = "lakegate_reflection_refreshes_total", Counter, Count, "refreshes of reflections, by outcome: unmoved, same rows, by difference, whole, failed";
        REFLECTION_ROWS = "lakegate_reflection_rows", Gauge, Count, "rows stored, by reflection";
        REFLECTION_HITS = "lakegate_reflection_hits_total", Counter, Count, "parts of statements answered, by reflection";
        REFLECTION_CONSIDERED = "lakegate_reflection_considered_total", Counter, Count, "parts of statements that might have been, by reflection";
        REFLECTIONS_USED = "lakegate_reflections_used_total", Counter, Count, "statements answered from a reflection";
        // --- policy, catalog, sources
        POLICY_GENERATION = "lakegate_policy_generation", Gauge, Count, "generation of the policy in force";
        POLICY_FAULTS = "lakegate_policy_faults_total", Counter, Count, "loads of policy and catalog files that were refused";
        POLICY_STALE = "lakegate_policy_stale", Gauge, Count, "1 while files on disk are refused and an older catalog and policy are in force";
        WORLD_FAULTS = "lakegate_world_faults", Gauge, Count, "faults of catalog and policy files that are not in force, and of what the catalog leaves out";
        SOURCE_ERRORS = "lakegate_source_errors_total", Counter, Count, "errors of sources, by source";
        SOURCE_CONNECTIONS = "lakegate_source_connections", Gauge, Count, "connections open to sources, by source";
        LAKE_METADATA_LOST = "lakegate_lake_metadata_lost_total", Counter, Count, "reads of a table whose newest metadata file is lost or damaged and that were answered from the one before";
        // --- ingest
        INGEST_STREAMING = "lakegate_ingest_streaming", Gauge, Count, "1 while a pipeline takes changes in, by pipeline and table";
        INGEST_LAG_RECORDS = "lakegate_ingest_lag_records", Gauge, Count, "changes at the origin that are not committed, by pipeline and table";
        INGEST_LAG_BYTES = "lakegate_ingest_lag_bytes", Gauge, Bytes, "what the origin has written that is not committed, of a database, by pipeline and table";
        INGEST_LAG_SECONDS = "lakegate_ingest_lag_seconds", Gauge, Seconds, "age of the oldest change read and not committed, 0 when there is none, by pipeline and table";
        INGEST_COMMITS = "lakegate_ingest_commits_total", Counter, Count, "lake commits, by pipeline";
        INGEST_BATCH_ROWS = "lakegate_ingest_batch_rows", Histogram, Count, "rows in one committed batch, by pipeline";
        INGEST_COMMIT_SECONDS = "lakegate_ingest_commit_seconds", Histogram, Seconds, "time of one lake commit, by pipeline";
        INGEST_ROWS = "lakegate_ingest_rows_total", Counter, Count, "changes taken in, by pipeline";
        INGEST_RETRIES = "lakegate_ingest_retries_total", Counter, Count, "failed attempts that were tried again, by pipeline";
        INGEST_DEAD_LETTERS = "lakegate_ingest_dead_letters_total", Counter, Count, "records set aside, by pipeline";
    }
}

#[cfg(test)]
mod tests {
    use super::metrics::ALL;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_carry_the_prefix() {
        assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len());
        for name in ALL {
            assert!(
                name.starts_with("lakegate_") && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unreadable_filter_is_a_configuration_error() {
        let error = super::init(super::Format::Text, "lakegate=shout").expect_err("no such level");
        assert_eq!(error.kind().sqlstate(), "F0000");
    }
}
