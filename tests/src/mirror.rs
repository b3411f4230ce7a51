//! A mirror of ClamAV's databases on this machine, for the real freshclam. It can do what real
//! servers do when they do not want, or cannot.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, RANGE, RETRY_AFTER, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::{JoinHandle, JoinSet};

/// What freshclam asks for when it only wants to know the version.
const HEADER: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whatever is asked for is answered with this status.
    Answer(u16),
    /// Versions are told, but files are answered with this status; 429 with a `Retry-After` of two
    /// hours.
    AnswerFiles(u16),
    /// The connection ends after half a file.
    EndEarly,
    /// Half a file is sent as if it were the whole one.
    Truncate,
    /// One bit of a file is another.
    Damage,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the file.
    pub file: String,
    /// Whether only the header was asked for.
    pub header_only: bool,
    /// Who asked: freshclam's id is in it.
    pub user_agent: String,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Bytes>,
    fault: Option<Fault>,
    asked: Vec<Asked>,
}

/// A server on 127.0.0.1. It ends when this value is dropped.
#[derive(Debug)]
pub struct Mirror {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Mirror {
    /// A mirror without files. Call it inside a Tokio runtime, which runs it.
    ///
    /// # Errors
    ///
    /// No port can be bound.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let address = listener.local_addr().context("asking for the port")?;
        listener.set_nonblocking(true).context("preparing a listener")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("a listener")?;
        let state = Arc::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// Its URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a file there, in place of an older one.
    pub fn put(&self, name: &str, content: impl Into<Bytes>) {
        self.state().files.insert(name.to_owned(), content.into());
    }

    /// From now on this goes wrong, or nothing does.
    pub fn fault(&self, fault: impl Into<Option<Fault>>) {
        self.state().fault = fault.into();
    }

    /// What was asked for since this was asked last.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }

    /// Stops answering: connections are refused from now on.
    pub async fn stop(&self) {
        self.task.abort();
        // The listener is closed when the task is gone.
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it holds the lock")
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let answer = answer(&request, &mut lock(&state));
                        async { Ok::<_, Infallible>(answer) }
                    });
                    // An error is a broken connection, on purpose or by the client.
                    let io = TokioIo::new(stream);
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    state: &mut State,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let file = request.uri().path().trim_start_matches('/').to_owned();
    let header_only = text(RANGE) == Some("bytes=0-511");
    let user_agent = text(USER_AGENT).unwrap_or_default().to_owned();
    state.asked.push(Asked { file: file.clone(), header_only, user_agent });

    let status = |code: u16| {
        let status = StatusCode::from_u16(code).expect("a status");
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = status;
        if code == 429 {
            response.headers_mut().insert(RETRY_AFTER, 7200.into());
        }
        response
    };
    if let Some(Fault::Answer(code)) = state.fault {
        return status(code);
    }
    let Some(content) = state.files.get(&file).cloned() else { return status(404) };
    if header_only {
        let mut response = Response::new(whole(content.slice(..HEADER.min(content.len()))));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        return response;
    }
    let half = content.slice(..content.len() / 2);
    match state.fault {
        Some(Fault::AnswerFiles(code)) => status(code),
        Some(Fault::EndEarly) => {
            // A pause before its end, in which what there is is sent.
            let pause = stream::once(tokio::task::yield_now()).filter_map(async |()| None);
            let frames = stream::iter([Ok(Frame::data(half))]).chain(pause);
            let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
            response.headers_mut().insert(CONTENT_LENGTH, content.len().into());
            response
        }
        Some(Fault::Truncate) => Response::new(whole(half)),
        Some(Fault::Damage) => {
            let mut content = content.to_vec();
            let middle = content.len() / 2;
            if let Some(byte) = content.get_mut(middle) {
                *byte ^= 1;
            }
            Response::new(whole(content.into()))
        }
        None | Some(Fault::Answer(_)) => Response::new(whole(content)),
    }
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(bytes).boxed_unsync()
}
