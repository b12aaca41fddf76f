//! Which request is answered how. Everything is in memory, so answers are ready at once.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::Arc,
};

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Method, Request, StatusCode, header};
use rookery_proto::errors::{Code, WireError};
use serde::Serialize;

use super::{
    HttpShared, assets, metrics,
    reply::{self, Reply},
    upgrade,
};
use crate::conn::Hello;

/// Answers the requests of one connection, the last of which may upgrade it.
pub(super) struct Router {
    shared: Arc<HttpShared>,
    peer: SocketAddr,
    /// Set when the connection is to become a session.
    hello: Cell<Option<Hello>>,
}

/// Body of `/v1/info`.
#[derive(Serialize)]
struct Info<'a> {
    version: &'a str,
    /// A name is enough to log in.
    dev: bool,
}

impl Router {
    pub(super) fn new(shared: Arc<HttpShared>, peer: SocketAddr) -> Self {
        Self {
            shared,
            peer,
            hello: Cell::new(None),
        }
    }

    /// What the upgrade request said, if there was one.
    pub(super) fn into_hello(self) -> Option<Hello> {
        self.hello.into_inner()
    }

    fn answer(&self, request: &Request<Incoming>) -> (&'static str, Reply) {
        let path = request.uri().path();
        if path == "/v1/ws" {
            let reply = match upgrade::upgrade(&self.shared, request, self.peer) {
                Ok((reply, hello)) => {
                    self.hello.set(Some(hello));
                    reply
                }
                Err(error) => error.into_reply(),
            };
            return ("ws", reply);
        }
        let (route, found) = match path {
            "/" => (
                "page",
                assets::page().map(|page| reply::asset(page, request.headers())),
            ),
            "/v1/info" => ("info", Some(self.info())),
            _ => (
                "asset",
                path.strip_prefix("/assets/")
                    .and_then(assets::find)
                    .map(|asset| reply::asset(asset, request.headers())),
            ),
        };
        match found {
            None => ("none", not_found()),
            Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                (route, method_not_allowed())
            }
            Some(reply) => (route, reply),
        }
    }

    fn info(&self) -> Reply {
        reply::json(
            StatusCode::OK,
            &Info {
                version: &self.shared.server_version,
                dev: self.shared.verifier.accepts_names(),
            },
        )
    }
}

impl Service<Request<Incoming>> for Router {
    type Response = Reply;
    type Error = Infallible;
    type Future = Ready<Result<Reply, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (route, reply) = self.answer(&request);
        metrics::answered(route, reply.status());
        ready(Ok(reply))
    }
}

fn not_found() -> Reply {
    let error = WireError::new(Code::NotFound, "nothing is served under this path");
    reply::error(StatusCode::NOT_FOUND, error)
}

fn method_not_allowed() -> Reply {
    let error = WireError::new(Code::Unsupported, "method must be GET or HEAD");
    let reply = reply::error(StatusCode::METHOD_NOT_ALLOWED, error);
    reply::with(reply, header::ALLOW, "GET, HEAD")
}
