//! Probes and metrics of a running server.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::Server;
use crate::{client::ServerAddress, limits::ADMIN_DEADLINE};

/// A probe was not answered.
#[derive(Debug, thiserror::Error)]
#[error("no answer to {path}: {why}")]
pub struct AdminError {
    path: &'static str,
    why: String,
}

impl Server {
    /// What `/readyz` says: whether the server is ready, and its reasons.
    ///
    /// # Errors
    /// No answer.
    pub async fn readiness(&self) -> Result<(bool, String), AdminError> {
        let (status, body) = get(&self.admin, "/readyz").await?;
        Ok((status == 200, body))
    }

    /// The sum of a metric's lines: all of a name, or those with labels when `metric` is
    /// `name{label="value"`. A metric that was never counted is 0.
    ///
    /// # Errors
    /// No answer.
    pub async fn metric(&self, metric: &str) -> Result<f64, AdminError> {
        let body = metrics_text(&self.admin).await?;
        let lines = body.lines().filter(|line| {
            let rest = line.strip_prefix(metric);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ', ',', '}']))
        });
        Ok(lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }
}

/// All metrics of a server, as its admin address tells them.
///
/// # Errors
/// No answer.
pub async fn metrics_text(admin: &ServerAddress) -> Result<String, AdminError> {
    let (_, body) = get(admin, "/metrics").await?;
    Ok(body)
}

async fn get(admin: &ServerAddress, path: &'static str) -> Result<(u16, String), AdminError> {
    let failed = |why: String| AdminError { path, why };
    let asking = async {
        let mut stream = TcpStream::connect(admin.authority()).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(ADMIN_DEADLINE, asking).await;
    let answer = answer.map_err(|_| failed(format!("not within {ADMIN_DEADLINE:?}")))?;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| failed("no HTTP".to_owned()))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
