//! What a subscriber asks for, behind an ordinary HTTP proxy: `HTTPS_PROXY`, `HTTP_PROXY` and
//! `SSL_CERT_FILE` lead any program here, so it needs no hook for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::certificates::{ISSUER_URL, Pki, ServerCertificate, SigningCertificate};

/// More than any certificate needs, and than a subscriber should read of one.
const LARGE: usize = 1 << 20;

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// For a signing certificate, by its path.
    Certificate(String),
    /// For the certificate of who issued it.
    Issuer,
    /// A visit of a `SubscribeURL`, by its token.
    Confirmation(String),
    /// Something else, which was answered with 502.
    Other(String),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SNS and Amazon's certificates cannot be reached.
    Unreachable,
    /// The certificate of the issuer cannot be reached, that of SNS can.
    NoIssuer,
    /// A certificate's answer is a redirect to another host.
    Redirect,
    /// A certificate's answer is a megabyte long.
    Large,
    /// The connection ends when a `SubscribeURL` is visited, which confirms nothing.
    Confirmation,
}

#[derive(Debug, Default)]
struct State {
    /// By their paths.
    certificates: BTreeMap<String, String>,
    issuer: Vec<u8>,
    fault: Option<Fault>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Tokens whose URL was visited.
    confirmed: watch::Sender<BTreeSet<String>>,
    /// Host of SNS in its region.
    host: String,
}

/// The proxy on 127.0.0.1, and what is behind it: SNS in one region and the server of Amazon's
/// certificates. It ends, and its connections with it, when it is dropped.
#[derive(Debug)]
pub struct Internet {
    address: SocketAddr,
    shared: Arc<Shared>,
    root_der: Vec<u8>,
    root_file: NamedTempFile,
    task: JoinHandle<()>,
}

impl Internet {
    /// Starts with SNS in `region`, whose TLS certificate the root of `pki` issues. Call it inside
    /// a Tokio runtime, which runs it.
    ///
    /// # Errors
    ///
    /// No port can be bound.
    pub async fn start(pki: &Pki, region: &str) -> anyhow::Result<Self> {
        let host = format!("sns.{region}.amazonaws.com");
        let tls = tls_config(&pki.server([host.as_str()])?)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("listening for a proxy")?;
        let address = listener.local_addr().context("the address of a proxy")?;
        let mut root_file = NamedTempFile::new().context("a file for the root certificate")?;
        root_file.write_all(pki.root_pem().as_bytes()).context("writing the root certificate")?;
        let (state, confirmed) = (Mutex::default(), watch::Sender::default());
        let shared = Arc::new(Shared { state, confirmed, host });
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { address, shared, root_der: pki.root_der().to_vec(), root_file, task })
    }

    /// The file with the root certificate, in PEM.
    #[must_use]
    pub fn root_file(&self) -> &Path {
        self.root_file.path()
    }

    /// The environment that leads a program here: the proxy for both schemes, and the root as the
    /// only one that TLS servers are trusted by.
    #[must_use]
    pub fn env(&self) -> BTreeMap<String, String> {
        let proxy = format!("http://{}", self.address);
        let variables = [
            ("HTTPS_PROXY", proxy.clone()),
            ("HTTP_PROXY", proxy),
            ("SSL_CERT_FILE", self.root_file.path().to_string_lossy().into_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What makes an HTTP client that is led here without an environment.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn client(&self) -> anyhow::Result<reqwest::ClientBuilder> {
        let proxy = reqwest::Proxy::all(format!("http://{}", self.address));
        Ok(trusting(&self.root_der)?.proxy(proxy.context("the URL of the proxy")?))
    }

    /// Serves a signing certificate, and its issuer's from now on.
    pub fn serve(&self, certificate: &SigningCertificate) {
        self.shared.with(|state| {
            state.certificates.insert(certificate.path(), certificate.pem.clone());
            state.issuer.clone_from(&certificate.issuer);
        });
    }

    /// From now on this goes wrong, or nothing does.
    pub fn fault(&self, fault: impl Into<Option<Fault>>) {
        self.shared.with(|state| state.fault = fault.into());
    }

    /// What was asked for since this was asked last.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.with(|state| std::mem::take(&mut state.asked))
    }

    /// Whether the `SubscribeURL` with this token was visited.
    #[must_use]
    pub fn is_confirmed(&self, token: &str) -> bool {
        self.shared.confirmed.borrow().contains(token)
    }

    /// Waits for that.
    ///
    /// # Errors
    ///
    /// It is not visited within `deadline`.
    pub async fn confirmed(&self, token: &str, deadline: Duration) -> anyhow::Result<()> {
        let mut confirmed = self.shared.confirmed.subscribe();
        let visited = confirmed.wait_for(|tokens| tokens.contains(token));
        let visited = tokio::time::timeout(deadline, visited).await;
        visited.with_context(|| format!("no visit of the SubscribeURL within {deadline:?}"))??;
        Ok(())
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An HTTP client that trusts this root alone.
pub(super) fn trusting(root_der: &[u8]) -> anyhow::Result<reqwest::ClientBuilder> {
    let root = reqwest::Certificate::from_der(root_der).context("trusting the root")?;
    Ok(reqwest::Client::builder().tls_certs_only([root]))
}

/// A TLS server that shows this certificate, with the provider of cryptography that the AWS SDK
/// has.
pub(super) fn tls_config(shown: &ServerCertificate) -> anyhow::Result<ServerConfig> {
    let certificates = CertificateDer::pem_slice_iter(shown.certificate.as_bytes());
    let certificates = certificates.collect::<Result<Vec<_>, _>>().context("a certificate")?;
    let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).context("a key")?;
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("choosing versions of TLS")?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("a TLS server")
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// To the proxy itself: `CONNECT`, or a whole URL.
    fn proxied(
        &self,
        request: Request<Incoming>,
        tunnels: &mpsc::UnboundedSender<hyper::upgrade::OnUpgrade>,
    ) -> Response<Full<Bytes>> {
        if request.method() == Method::CONNECT {
            let target = request.uri().to_string();
            if target != format!("{}:443", self.host) || self.is(Fault::Unreachable) {
                return self.nowhere(format!("CONNECT {target}"));
            }
            // A receiver that is gone is a proxy that ends.
            let _ = tunnels.send(hyper::upgrade::on(request));
            return Response::new(Full::default());
        }
        if request.uri() != ISSUER_URL || request.method() != Method::GET {
            return self.nowhere(request.uri().to_string());
        }
        self.with(|state| {
            state.asked.push(Asked::Issuer);
            match state.fault {
                Some(Fault::Unreachable | Fault::NoIssuer) => bad_gateway(),
                _ => Response::new(Full::from(state.issuer.clone())),
            }
        })
    }

    /// To SNS, inside the tunnel.
    fn sns(&self, uri: &Uri) -> io::Result<Response<Full<Bytes>>> {
        if let Some(answer) = self.with(|state| state.certificate(uri.path())) {
            return Ok(answer);
        }
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let query: BTreeMap<_, _> = query.into_owned().collect();
        let confirms = query.get("Action").is_some_and(|action| action == "ConfirmSubscription");
        match (query.get("Token"), query.get("TopicArn")) {
            (Some(token), Some(topic)) if confirms && uri.path() == "/" => {
                self.with(|state| state.asked.push(Asked::Confirmation(token.clone())));
                if self.is(Fault::Confirmation) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                self.confirmed.send_if_modified(|tokens| tokens.insert(token.clone()));
                Ok(Response::new(Full::from(confirmed(topic))))
            }
            _ => Ok(self.nowhere(format!("https://{}{uri}", self.host))),
        }
    }

    fn nowhere(&self, what: String) -> Response<Full<Bytes>> {
        self.with(|state| state.asked.push(Asked::Other(what)));
        bad_gateway()
    }

    fn is(&self, fault: Fault) -> bool {
        self.with(|state| state.fault == Some(fault))
    }
}

impl State {
    fn certificate(&mut self, path: &str) -> Option<Response<Full<Bytes>>> {
        let pem = self.certificates.get(path)?.clone();
        self.asked.push(Asked::Certificate(path.to_owned()));
        Some(match self.fault {
            // The tunnel was there before the fault.
            Some(Fault::Unreachable) => bad_gateway(),
            Some(Fault::Redirect) => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::FOUND;
                let to = "https://elsewhere.example/x.pem".parse().expect("a header's value");
                answer.headers_mut().insert(LOCATION, to);
                answer
            }
            Some(Fault::Large) => {
                // A certificate first, so that only the bound keeps it from being taken.
                Response::new(Full::from(format!("{pem}{}", "\n".repeat(LARGE))))
            }
            Some(Fault::NoIssuer | Fault::Confirmation) | None => Response::new(Full::from(pem)),
        })
    }
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

/// SNS's answer (its API reference, `ConfirmSubscription`).
fn confirmed(topic: &str) -> String {
    format!(
        "<ConfirmSubscriptionResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
         <ConfirmSubscriptionResult><SubscriptionArn>{topic}:confirmed</SubscriptionArn>\
         </ConfirmSubscriptionResult></ConfirmSubscriptionResponse>"
    )
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    // Dropped with this task, and every connection and tunnel with it.
    let mut connections = JoinSet::new();
    let (open, mut opened) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that went away before it was accepted is nobody's failure.
                let Ok((stream, _)) = accepted else { continue };
                let (shared, open) = (Arc::clone(&shared), open.clone());
                connections.spawn(async move {
                    let service = service_fn(|request| {
                        let answer = shared.proxied(request, &open);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    // An error is a broken connection.
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = connection.with_upgrades().await;
                });
            }
            Some(tunnel) = opened.recv() => {
                connections.spawn(serve_sns(tunnel, tls.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// SNS's web server at the end of a tunnel. A failure is a client that went away or does not trust
/// the certificate.
async fn serve_sns(tunnel: hyper::upgrade::OnUpgrade, tls: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(stream) = tunnel.await else { return };
    let Ok(stream) = tls.accept(TokioIo::new(stream)).await else { return };
    let service = service_fn(|request: Request<Incoming>| {
        let answer = shared.sns(request.uri());
        async { answer }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
