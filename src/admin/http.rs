//! `/healthz`, `/readyz` and `/metrics`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rookery_cluster::task::{TaskKind, spawn};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time,
};

use super::Shown;
use crate::process;

/// Connections at once: a few probes and scrapers. More wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 64;
/// A connection that asks nothing for that long is closed.
const REQUEST_WAIT: Duration = Duration::from_secs(30);
/// Wait after a failed accept (mostly: too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "/healthz  is the process alive?\n/readyz   does it take clients? reasons when not\n/metrics  for Prometheus\n";

/// Serves until the runtime is dropped.
pub(super) async fn serve(listener: TcpListener, shown: Arc<Shown>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let shown = Arc::clone(&shown);
                spawn(TaskKind::Passing, "admin_connection", async move {
                    connection(stream, shown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "admin connection not accepted");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shown: Arc<Shown>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &shown);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error = %error, "admin connection broke");
    }
}

fn answer(method: &Method, path: &str, shown: &Shown) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = page(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET\n".to_owned(),
        );
        refused
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/" => page(StatusCode::OK, TEXT, INDEX.to_owned()),
        "/healthz" if shown.readiness.pulse().is_dead() => {
            let text = "the main runtime does not run\n";
            page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned())
        }
        "/healthz" => page(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let reasons = shown.readiness.reasons();
            let status = match reasons.is_empty() {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            let body = serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons });
            page(status, JSON, format!("{body}\n"))
        }
        "/metrics" => {
            process::record(shown.started);
            page(StatusCode::OK, PROMETHEUS, shown.metrics.render())
        }
        _ => page(
            StatusCode::NOT_FOUND,
            TEXT,
            format!("no such page; there are\n{INDEX}"),
        ),
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .body(Full::new(Bytes::from(text)))
        .expect("status and headers are constants")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::readiness::{Part, Readiness};

    fn check(path: &str, method: &Method, readiness: &Arc<Readiness>) -> StatusCode {
        let shown = Shown {
            readiness: Arc::clone(readiness),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            started: Instant::now(),
        };
        answer(method, path, &shown).status()
    }

    #[test]
    fn pages_answer_and_readiness_follows_the_latch() {
        let readiness = Readiness::new();
        readiness.pulse().beat();
        assert_eq!(
            check("/readyz", &Method::GET, &readiness),
            StatusCode::SERVICE_UNAVAILABLE
        );
        for part in [
            Part::Store,
            Part::Rooms,
            Part::Presence,
            Part::Gateway,
            Part::Process,
        ] {
            readiness.release(part);
        }
        for (path, status) in [
            ("/readyz", StatusCode::OK),
            ("/healthz", StatusCode::OK),
            ("/metrics", StatusCode::OK),
            ("/", StatusCode::OK),
            ("/secret", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(check(path, &Method::GET, &readiness), status, "{path}");
        }
        let status = check("/metrics", &Method::POST, &readiness);
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
