//! Serves the routes, with TLS or without, until it is told to end.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};

/// How long a client may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long requests may go on after the signal. SNS sends again what was not answered.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, then lets the requests end that are there.
///
/// # Errors
/// The signals or the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    routes: Router,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle.clone())
        .http1_only()
        .first_request_timeout(HEAD_TIME);
    server.http_builder().http1().header_read_timeout(HEAD_TIME);
    let told = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        handle.graceful_shutdown(Some(GRACE));
    });
    let service = routes.into_make_service();
    let served = match tls {
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls));
            server.acceptor(acceptor).serve(service).await
        }
        None => server.serve(service).await,
    };
    told.abort();
    served
}
