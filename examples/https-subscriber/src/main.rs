//! The service's life: settings, database, verifier, then requests until the signal to end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Parser as _;
use https_subscriber::app::{App, REQUEST_TIME, chain};
use https_subscriber::config::{Args, Config, SettingsError};
use https_subscriber::outbound::{ClientError, Outbound};
use https_subscriber::server;
use https_subscriber::store::{BUSY, Store, StoreError};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Why it does not start, or ends.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot use the settings")]
    Settings(#[from] SettingsError),
    #[error("cannot make requests")]
    Outbound(#[from] ClientError),
    #[error("cannot keep findings")]
    Store(#[from] StoreError),
    #[error("cannot listen at {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(&error), "the service ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), RunError> {
    let config = Config::check(args);
    log_to_stdout(config.as_ref().map_or(Level::INFO, |config| config.log_level));
    let config = config?;
    let outbound = Outbound::new()?;
    let store = Store::open(&config.database, BUSY)?;
    let routes = App::new(config.policy, outbound, store).router(REQUEST_TIME);
    let listen = |source| RunError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    tracing::info!(%address, tls = config.tls.is_some(), "listening");
    server::serve(listener, config.tls, routes).await.map_err(RunError::Serve)
}

/// One JSON object a line; of libraries only warnings, whatever the level, because only this crate
/// is known to log no token.
fn log_to_stdout(level: Level) {
    let only_ours = Targets::new().with_default(Level::WARN).with_target("https_subscriber", level);
    let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    tracing_subscriber::registry().with(json).with(only_ours).init();
}
