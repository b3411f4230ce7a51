//! HTTP from a function to a server, each request judged on its way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, server};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::recorder::{Judge, Refusal};
use super::request::Wire;

/// A body as it comes, or one that was read before it is passed on.
type Body = Either<Incoming, Full<Bytes>>;

/// A relay on 127.0.0.1. It ends, and its connections with it, when it is dropped.
///
/// Requests go on byte for byte, with their `Host`, so that signatures stay valid; bodies stream.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn before(server: SocketAddr, judge: Arc<Judge>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("listening for a relay")?;
        let address = listener.local_addr().context("the address of a relay")?;
        Ok(Self { address, task: tokio::spawn(accept(listener, server, judge)) })
    }

    /// The base URL, without a trailing slash.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, judge: Arc<Judge>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that went away before it was accepted is nobody's failure.
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let judge = Arc::clone(&judge);
                connections.spawn(async move {
                    let relay = |request| relay(request, server, &judge);
                    let io = TokioIo::new(stream);
                    // An error is a broken connection, and breaks the other one.
                    let _ = server::conn::http1::Builder::new()
                        .serve_connection(io, service_fn(relay))
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn relay(
    request: Request<Incoming>,
    server: SocketAddr,
    judge: &Judge,
) -> anyhow::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let (method, uri) = (head.method.as_str().to_owned(), head.uri.to_string());
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let mut wire = Wire { method: &method, uri: &uri, headers: headers.collect(), body: &[] };
    let (mut said, mut body) = (Bytes::new(), Either::Left(body));
    if let (true, Either::Left(coming)) = (wire.speaks_by_its_body(), &mut body) {
        said = coming.collect().await.context("reading a request")?.to_bytes();
        body = Either::Right(Full::new(said.clone()));
    }
    wire.body = &said;
    let requests = match judge.judge(&wire) {
        Ok(requests) => requests,
        Err(refusal) => return Ok(forbidden(&refusal)),
    };
    // One for each request: a server that closes its connection after an answer is no matter.
    let connection = TcpStream::connect(server).await.context("connecting to the server")?;
    connection.set_nodelay(true).context("preparing a connection")?;
    let handshake = client::conn::http1::handshake(TokioIo::new(connection)).await;
    let (mut sender, connection) = handshake.context("speaking to the server")?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, body)).await;
    let answer = answer.inspect_err(|_| driver.abort()).context("asking the server")?;
    let missing = answer.status() == StatusCode::NOT_FOUND;
    if missing && !judge.may_know_that_it_is_missing(&requests) {
        return Ok(forbidden(&Refusal::missing()));
    }
    Ok(answer.map(Either::Left))
}

fn forbidden(refusal: &Refusal) -> Response<Body> {
    let mut answer = Response::new(Either::Right(Full::new(refusal.body().into())));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer
}
