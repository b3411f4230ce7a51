//! The requests: findings come by POST, their state is asked for by GET.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use notifier_common::subscribe::{
    Change, Delivery, Incoming, MAX_BODY, Policy, ReadError, ReceivedFinding, Refused, Verifier,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::outbound::{FetchError, Outbound};
use crate::store::{Object, Store, StoreError};

/// How long a request may take, its body with it: SNS waits 15 seconds for the answer (SNS
/// developer guide, "HTTP/HTTPS notification").
pub const REQUEST_TIME: Duration = Duration::from_secs(14);

/// What the requests share. One for the life of the process: the verifier keeps certificates.
#[derive(Debug)]
pub struct App {
    verifier: Verifier<Outbound>,
    outbound: Outbound,
    store: Store,
}

/// Why a POST was not taken, by the step that failed.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    /// The body did not come, or is too long.
    #[error("cannot read the request's body")]
    Body(#[source] BytesRejection),
    /// It is not from SNS, or not from one of our topics.
    #[error("the message is not believed")]
    Refused(#[from] Refused),
    /// The visit of the `SubscribeURL` failed.
    #[error("cannot confirm the subscription")]
    Confirm(#[source] FetchError),
    /// What SNS sent is no finding, or its attributes were changed.
    #[error("there is no finding in the message")]
    Read(#[from] ReadError),
    /// The finding could not be kept.
    #[error("cannot keep the finding")]
    Keep(#[source] StoreError),
}

impl TakeError {
    /// A stable word for logs.
    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "body",
            Self::Refused(refused) => refused.code(),
            Self::Confirm(_) => "confirm",
            Self::Read(error) => error.code(),
            Self::Keep(_) => "store",
        }
    }

    /// What SNS makes of it: it comes again after 5xx and only then.
    fn status(&self) -> StatusCode {
        match self {
            Self::Body(rejection) => rejection.status(),
            // It has no other way to learn that the message arrived.
            Self::Refused(Refused::Replay) => StatusCode::OK,
            Self::Refused(refused) if refused.retry() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(Refused::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(
                Refused::NotJson
                | Refused::NotAnObject
                | Refused::Missing { .. }
                | Refused::WrongType { .. }
                | Refused::UnknownType
                | Refused::Timestamp,
            ) => StatusCode::BAD_REQUEST,
            Self::Refused(_) => StatusCode::FORBIDDEN,
            // Something else on the same topic, such as an alarm: it has arrived.
            Self::Read(ReadError::NotAFinding) => StatusCode::OK,
            Self::Read(ReadError::AttributesDisagree { .. }) => StatusCode::FORBIDDEN,
            Self::Read(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Confirm(_) | Self::Keep(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a POST did.
#[derive(Debug)]
enum Taken {
    Confirmed { topic_arn: String },
    Unsubscribed { topic_arn: String },
    Finding { finding: Box<ReceivedFinding>, change: Change },
}

/// Which object, beside the key.
#[derive(Debug, Deserialize)]
struct Which {
    bucket: Option<String>,
    version: Option<String>,
}

/// Which object, with the key.
#[derive(Debug, Deserialize)]
struct WhichKey {
    key: String,
    #[serde(flatten)]
    which: Which,
}

impl App {
    /// Believes what `policy` says, asks others through `outbound`, keeps what it learns in
    /// `store`.
    #[must_use]
    pub fn new(policy: Policy, outbound: Outbound, store: Store) -> Self {
        Self { verifier: Verifier::new(policy, outbound.clone()), outbound, store }
    }

    /// The routes. A request that takes longer than `request_time` is answered with 503.
    pub fn router(self, request_time: Duration) -> Router {
        Router::new()
            .route("/", post(receive))
            .route("/health", get(health))
            .route("/status", get(status_by_query))
            .route("/status/{*key}", get(status_by_path))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(middleware::from_fn_with_state(request_time, in_time))
            .with_state(Arc::new(self))
    }

    /// Only when everything is done is the message one that was handled: SNS sends what was
    /// answered with 5xx again under the same id.
    async fn take(&self, body: &[u8], now: Timestamp) -> Result<Taken, TakeError> {
        let incoming = self.verifier.verify(Delivery::http(body)?, now).await?;
        let (message_id, taken) = match incoming {
            Incoming::Notification(notification) => {
                let finding = notification.finding()?;
                let applied = self.store.apply(finding.clone(), notification.timestamp).await;
                let change = applied.map_err(TakeError::Keep)?;
                (notification.message_id, Taken::Finding { finding: Box::new(finding), change })
            }
            Incoming::SubscriptionConfirmation(confirmation) => {
                let visit = self.outbound.fetch(confirmation.subscribe_url()).await;
                visit.map_err(TakeError::Confirm)?;
                let topic_arn = confirmation.topic_arn;
                (confirmation.message_id, Taken::Confirmed { topic_arn })
            }
            // Visiting its URL would subscribe again what somebody has ended.
            Incoming::UnsubscribeConfirmation(confirmation) => {
                let topic_arn = confirmation.topic_arn;
                (confirmation.message_id, Taken::Unsubscribed { topic_arn })
            }
        };
        self.verifier.handled(&message_id, now);
        Ok(taken)
    }
}

async fn receive(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> (StatusCode, &'static str) {
    let taken = match body {
        Ok(body) => app.take(&body, Timestamp::now()).await,
        Err(rejection) => Err(TakeError::Body(rejection)),
    };
    match taken {
        Ok(taken) => (StatusCode::OK, log_taken(&taken)),
        Err(error) => {
            let (status, code) = (error.status(), error.code());
            let (http_status, error) = (status.as_u16(), chain(&error));
            if status.is_server_error() {
                tracing::error!(outcome = code, http_status, error, "delivery");
            } else {
                tracing::warn!(outcome = code, http_status, error, "delivery");
            }
            (status, code)
        }
    }
}

/// One line for each delivery; gives its outcome in one word. A token is in none of its fields.
fn log_taken(taken: &Taken) -> &'static str {
    match taken {
        Taken::Confirmed { topic_arn } => {
            tracing::info!(outcome = "confirmed", http_status = 200, topic_arn, "delivery");
            "confirmed"
        }
        Taken::Unsubscribed { topic_arn } => {
            tracing::warn!(outcome = "unsubscribed", http_status = 200, topic_arn, "delivery");
            "unsubscribed"
        }
        Taken::Finding { finding, change } => {
            let outcome = match change {
                Change::To(_) => "kept",
                Change::Nothing => "known",
                Change::Older => "older",
            };
            tracing::info!(
                outcome,
                http_status = 200,
                bucket = finding.bucket,
                key = finding.key,
                version = finding.version,
                status = finding.status.as_str(),
                action = finding.action.as_str(),
                "delivery"
            );
            outcome
        }
    }
}

async fn health(State(app): State<Arc<App>>) -> Response {
    // A query like any other, which finds nothing.
    match app.store.find(String::new(), None, None).await {
        Ok(_) => Json(json!({"health": "ok"})).into_response(),
        Err(error) => unavailable(&error),
    }
}

/// `GET /status/<key>?bucket=<bucket>&version=<version>`: the key percent-encoded, its slashes as
/// they are or encoded too.
async fn status_by_path(
    State(app): State<Arc<App>>,
    key: Result<Path<String>, PathRejection>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    match (key, which) {
        (Ok(Path(key)), Ok(Query(which))) => status(&app, key, which).await,
        (Err(rejection), _) => rejection.into_response(),
        (_, Err(rejection)) => rejection.into_response(),
    }
}

/// `GET /status?key=<key>`, with the same parameters beside: for keys that a client would change in
/// a path (`a/../b`).
async fn status_by_query(
    State(app): State<Arc<App>>,
    which: Result<Query<WhichKey>, QueryRejection>,
) -> Response {
    match which {
        Ok(Query(WhichKey { key, which })) => status(&app, key, which).await,
        Err(rejection) => rejection.into_response(),
    }
}

async fn status(app: &App, key: String, which: Which) -> Response {
    let found = app.store.find(key.clone(), which.bucket, which.version).await;
    match found.as_deref() {
        Ok([]) => {
            let unknown = json!({"key": key, "status": "unknown"});
            (StatusCode::NOT_FOUND, Json(unknown)).into_response()
        }
        Ok([object]) => Json(told(object)).into_response(),
        // Which one is meant, only the caller knows; a guess could call the wrong one clean.
        Ok(objects) => {
            let choices: Vec<_> = objects.iter().map(told).collect();
            let body = Json(json!({"key": key, "choices": choices}));
            (StatusCode::MULTIPLE_CHOICES, body).into_response()
        }
        Err(error) => unavailable(error),
    }
}

fn told(object: &Object) -> Value {
    let Object { bucket, key, version, known } = object;
    let published = known.published.to_string();
    let mut told = json!({
        "bucket": bucket, "key": key, "status": known.status, "published": published,
    });
    if let Some(version) = version {
        told["version"] = version.as_str().into();
    }
    told
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(outcome = "store", http_status = 503, error = chain(error), "question");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

async fn in_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(time, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        tracing::error!(outcome = "time-out", http_status = 503, "request");
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    })
}

/// An error with all its sources, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
