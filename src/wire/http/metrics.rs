//! `/metrics` for Prometheus. Names and meanings stand in `telemetry`; here is only the content type.

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::Answers;

pub(super) async fn render(State(answers): State<Answers>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (answers.metrics)())
}
