//! [`FakeS3`] on a socket, for programs that are given an endpoint.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;
use aws_smithy_http_client::Builder;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use tokio::task::{JoinHandle, JoinSet};

use super::{ACCESS_KEY, FakeS3, Identity, SECRET_KEY};

/// A server of one [`FakeS3`] on 127.0.0.1. It ends, and its connections with it, when this value
/// is dropped.
///
/// What `break_body_after` breaks is a connection here: the client gets those bytes and then the
/// end of the connection, as it does where `end_body_after` ends the body too early.
#[derive(Debug)]
pub struct Served {
    s3: FakeS3,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeS3 {
    /// Serves this S3 over HTTP on a free port. Call it inside a Tokio runtime, which runs it.
    ///
    /// # Errors
    ///
    /// No port can be bound.
    pub fn serve(&self) -> anyhow::Result<Served> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let address = listener.local_addr().context("asking for the port")?;
        listener.set_nonblocking(true).context("preparing a listener")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("a listener")?;
        let task = tokio::spawn(accept(listener, self.service()));
        Ok(Served { s3: self.clone(), address, task })
    }
}

impl Served {
    /// The base URL, without a trailing slash. Buckets are in the path.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment that points an AWS SDK's S3 client, and no other client, at this server.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let variables = [
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A client as [`FakeS3::client`], over the socket.
    #[must_use]
    pub fn client(&self) -> aws_sdk_s3::Client {
        self.client_with(ACCESS_KEY, SECRET_KEY)
    }

    /// A client as [`FakeS3::client_of`], over the socket.
    #[must_use]
    pub fn client_of(&self, identity: Identity) -> aws_sdk_s3::Client {
        self.client_with(&self.s3.access_key(identity), SECRET_KEY)
    }

    pub(super) fn client_with(&self, access_key: &str, secret_key: &str) -> aws_sdk_s3::Client {
        let config = FakeS3::client_config(access_key, secret_key);
        let http = Builder::new().build_http();
        aws_sdk_s3::Client::from_conf(
            config.endpoint_url(self.endpoint()).http_client(http).build(),
        )
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: tokio::net::TcpListener, service: S3Service) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that went away before it was accepted is nobody's failure.
                let Ok((stream, _)) = accepted else { continue };
                let service = service.clone();
                connections.spawn(async move {
                    // An error is a broken connection, on purpose or by the client.
                    let io = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
