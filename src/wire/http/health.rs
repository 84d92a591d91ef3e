//! `/healthz`: the process answers. `/readyz`: it can serve, or what it waits for. It measures nothing.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use serde_json::json;

use super::Answers;

pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// 503 until nothing is left to wait for, and again while draining.
pub(super) async fn ready(State(answers): State<Answers>) -> (StatusCode, [(HeaderName, &'static str); 1], String) {
    let waiting_for = (answers.unready)();
    let code = if waiting_for.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": waiting_for.is_empty(), "waiting_for": waiting_for, "degraded": (answers.degraded)() });
    (code, [(CONTENT_TYPE, "application/json")], body.to_string())
}
