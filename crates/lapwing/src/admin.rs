//! Health, readiness and metrics over HTTP, for machines that look after this one.

use crate::{metrics::Metrics, ready::Ready};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the answers are made of.
#[derive(Clone, Debug)]
pub struct Admin {
    pub ready: Ready,
    pub metrics: Arc<Metrics>,
}

/// Serves until the stop. The listener is bound already: a port that is taken is known before the first check.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> anyhow::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    Ok(axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let lacks = admin.ready.all();
    if lacks.is_empty() {
        return Json(json!({"ready": true})).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "lacks": lacks}))).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let text = admin.metrics.text();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
