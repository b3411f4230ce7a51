use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::parse_x509_pem;

use super::*;
use crate::moto::{Moto, REGION};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:Findings";

/// Longer than anything here takes; it only keeps a broken test from hanging.
const DEADLINE: Duration = Duration::from_secs(60);

/// A POST as it came.
#[derive(Clone, Debug)]
struct Came {
    headers: BTreeMap<String, String>,
    body: String,
}

/// An HTTPS server that answers with these statuses, one after the other, and then with 200.
struct Endpoint {
    url: String,
    came: Arc<Mutex<Vec<Came>>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    async fn start(sns: &Sns, answers: &[u16]) -> Self {
        let shown = sns.pki().server(["localhost"]).unwrap();
        let tls = TlsAcceptor::from(Arc::new(internet::tls_config(&shown).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let (posts, answers) = (Arc::clone(&came), Mutex::new(VecDeque::from(answers.to_vec())));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(stream).await else { continue };
                let service = service_fn(|request: Request<Incoming>| async {
                    let (head, body) = request.into_parts();
                    let text =
                        |name: &hyper::header::HeaderValue| name.to_str().unwrap().to_owned();
                    let headers = head.headers.iter();
                    let headers = headers.map(|(name, value)| (name.to_string(), text(value)));
                    let headers = headers.collect();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    let status = answers.lock().unwrap().pop_front().unwrap_or(200);
                    posts.lock().unwrap().push(Came { headers, body });
                    let mut answer = Response::new(Full::<Bytes>::default());
                    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok::<_, Infallible>(answer)
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        });
        Self { url, came, task }
    }

    /// What came since this was asked last.
    fn came(&self) -> Vec<Came> {
        std::mem::take(&mut self.came.lock().unwrap())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Came {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// As a subscriber is led by its environment.
fn behind_the_proxy(sns: &Sns) -> reqwest::Client {
    let builder = sns.internet().client().unwrap();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A subscription whose URL was visited, as its endpoint should have done.
async fn confirmed(sns: &Sns, endpoint: &Endpoint, options: SubscriptionOptions) -> Subscription {
    let subscription = sns.subscribe(TOPIC, &endpoint.url, options).unwrap();
    assert_eq!(subscription.ask_to_confirm().await.unwrap().answer, Ok(200));
    let url = endpoint.came()[0].json()["SubscribeURL"].as_str().unwrap().to_owned();
    let visit = behind_the_proxy(sns).get(url).send().await.unwrap();
    assert_eq!(visit.status(), 200);
    subscription
}

#[tokio::test]
async fn a_subscription_is_confirmed_before_anything_is_delivered() {
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[]).await;
    let subscription = sns.subscribe(TOPIC, &endpoint.url, Default::default()).unwrap();
    subscription.deliver(&Published::now("m")).await.unwrap_err();
    subscription.ask_to_confirm().await.unwrap();
    // An answer confirms nothing; only the visit does.
    assert!(!subscription.is_confirmed());
    subscription.deliver(&Published::now("m")).await.unwrap_err();

    let came = endpoint.came();
    assert_eq!(came.len(), 1, "{came:?}");
    assert_eq!(came[0].header("x-amz-sns-message-type"), Some("SubscriptionConfirmation"));
    assert_eq!(came[0].header("x-amz-sns-topic-arn"), Some(TOPIC));
    assert_eq!(came[0].header("x-amz-sns-subscription-arn"), None);
    assert_eq!(came[0].header("content-type"), Some("text/plain; charset=UTF-8"));
    let agent = "Amazon Simple Notification Service Agent";
    assert_eq!(came[0].header("user-agent"), Some(agent));
    let document = came[0].json();
    // The fields of one that SNS has sent.
    let real = include_str!("../../vectors/sns/subscription-confirmation-v1.json");
    assert_eq!(names(&document), names(&serde_json::from_str(real).unwrap()));
    assert_eq!(came[0].header("x-amz-sns-message-id"), document["MessageId"].as_str());

    let url = document["SubscribeURL"].as_str().unwrap();
    behind_the_proxy(&sns).get(url).send().await.unwrap();
    sns.internet().confirmed(subscription.token(), DEADLINE).await.unwrap();
    let confirmation = Asked::Confirmation(subscription.token().to_owned());
    assert_eq!(sns.internet().asked(), [confirmation]);
    assert!(subscription.deliver(&Published::now("m")).await.unwrap().is_final());
}

fn names(document: &Value) -> BTreeSet<String> {
    document.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn a_notification_is_as_sns_sends_it() {
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[]).await;
    let subscription = confirmed(&sns, &endpoint, Default::default()).await;
    let published = Published { subject: Some("s".into()), ..Published::now("a\nb \"ü\"") };
    let published = published.with("status", "clean");
    subscription.deliver(&published).await.unwrap();

    let came = endpoint.came().remove(0);
    assert_eq!(came.header("x-amz-sns-message-type"), Some("Notification"));
    assert_eq!(came.header("x-amz-sns-rawdelivery"), None);
    let subscription_arn = came.header("x-amz-sns-subscription-arn").unwrap();
    assert!(subscription_arn.starts_with(&format!("{TOPIC}:")), "{subscription_arn}");
    let document = came.json();
    let real = include_str!("../../vectors/sns/notification-v1-subject.json");
    let mut expected = names(&serde_json::from_str(real).unwrap());
    expected.insert("MessageAttributes".to_owned());
    assert_eq!(names(&document), expected);
    assert_eq!(document["Message"], "a\nb \"ü\"");
    assert_eq!(document["MessageId"], published.message_id.as_str());
    assert_eq!(
        document["MessageAttributes"]["status"],
        json!({"Type": "String", "Value": "clean"})
    );
    assert_eq!(document["SignatureVersion"], "1");
}

#[tokio::test]
async fn raw_delivery_posts_the_message_alone() {
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[]).await;
    let options = SubscriptionOptions { raw: true, ..Default::default() };
    let subscription = confirmed(&sns, &endpoint, options).await;
    subscription.deliver(&Published::now("text").with("status", "clean")).await.unwrap();
    let came = endpoint.came().remove(0);
    assert_eq!(came.body, "text");
    assert_eq!(came.header("x-amz-sns-rawdelivery"), Some("true"));
}

#[tokio::test]
async fn what_is_answered_with_5xx_comes_again_and_in_the_end_to_the_dead_letters() {
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[200, 503, 500, 204, 404, 301, 599, 500, 502]).await;
    let options = SubscriptionOptions { retries: Retries::at_once(2), ..Default::default() };
    let subscription = confirmed(&sns, &endpoint, options).await;
    // The answers go on where the confirmation left them.
    let answers = |attempts: &[Attempt]| -> Vec<u16> {
        attempts.iter().map(|attempt| attempt.answer.clone().unwrap()).collect()
    };
    for _ in 0..3 {
        let last = subscription.deliver(&Published::now("m")).await.unwrap();
        assert!(last.is_final(), "{last:?}");
    }
    assert!(subscription.dead_letters().is_empty());
    let lost = Published::now("lost");
    assert!(!subscription.deliver(&lost).await.unwrap().is_final());
    assert_eq!(subscription.dead_letters(), [lost]);
    let attempts = subscription.attempts();
    assert_eq!(answers(&attempts[1..]), [503, 500, 204, 404, 301, 599, 500, 502]);
    let id = &attempts[1].message_id;
    assert!(attempts[1..4].iter().all(|attempt| attempt.message_id == *id), "{attempts:?}");
    assert_ne!(attempts[4].message_id, *id);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_asked_again_when_told() {
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[]).await;
    let options = SubscriptionOptions { retries: Retries::when_told(1), ..Default::default() };
    let subscription = confirmed(&sns, &endpoint, options).await;
    drop(endpoint);
    let published = Published::now("m");
    let (last, ()) = tokio::join!(subscription.deliver(&published), async {
        subscription.attempted(|attempts| attempts.len() == 2, DEADLINE).await.unwrap();
        assert!(subscription.dead_letters().is_empty());
        subscription.retry();
    });
    last.unwrap().answer.unwrap_err();
    assert_eq!(subscription.attempts().len(), 3);
    assert_eq!(subscription.dead_letters(), [published]);
}

#[tokio::test]
async fn takes_over_what_is_published_in_moto() {
    let moto = Moto::start().await.unwrap();
    let topic = moto.sns().create_topic().name("Findings").send().await.unwrap();
    let topic = topic.topic_arn.unwrap();
    let sns = Sns::start(REGION).await.unwrap();
    let endpoint = Endpoint::start(&sns, &[]).await;
    let subscription = sns.subscribe(&topic, &endpoint.url, Default::default()).unwrap();
    subscription.follow(&moto).await.unwrap_err();
    subscription.ask_to_confirm().await.unwrap();
    let url = endpoint.came()[0].json()["SubscribeURL"].as_str().unwrap().to_owned();
    behind_the_proxy(&sns).get(url).send().await.unwrap();
    subscription.follow(&moto).await.unwrap();

    let status = aws_sdk_sns::types::MessageAttributeValue::builder()
        .data_type("String")
        .string_value("clean")
        .build()
        .unwrap();
    let publish = moto.sns().publish().topic_arn(&topic).subject("s").message("text");
    let sent = publish.message_attributes("status", status).send().await.unwrap();
    subscription.attempted(|attempts| attempts.len() == 2, DEADLINE).await.unwrap();
    let document = endpoint.came().remove(0).json();
    assert_eq!(document["MessageId"].as_str(), sent.message_id());
    assert_eq!(document["Subject"], "s");
    assert_eq!(document["Message"], "text");
    assert_eq!(document["MessageAttributes"]["status"]["Value"], "clean");
}

#[tokio::test]
async fn the_proxy_leads_to_certificates_and_nowhere_else() {
    let sns = Sns::start(REGION).await.unwrap();
    let http = behind_the_proxy(&sns);
    let certificate = sns.pki().signing(Leaf::Good).unwrap();
    sns.internet().serve(&certificate);
    let url = certificate.url(REGION);
    assert_eq!(http.get(&url).send().await.unwrap().text().await.unwrap(), certificate.pem);
    let issuer = http.get(ISSUER_URL).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(issuer, certificate.issuer);
    let missing = format!("https://sns.{REGION}.amazonaws.com/x.pem");
    assert_eq!(http.get(missing).send().await.unwrap().status(), 502);
    http.get("https://sns.eu-west-1.amazonaws.com/x.pem").send().await.unwrap_err();
    assert_eq!(http.get("http://example.com/").send().await.unwrap().status(), 502);
    let asked = sns.internet().asked();
    assert_eq!(asked[..2], [Asked::Certificate(certificate.path()), Asked::Issuer]);
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(sns.internet().asked().is_empty());

    sns.internet().fault(Fault::NoIssuer);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(http.get(ISSUER_URL).send().await.unwrap().status(), 502);
    sns.internet().fault(Fault::Redirect);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 302);
    sns.internet().fault(Fault::Large);
    let large = http.get(&url).send().await.unwrap().bytes().await.unwrap();
    assert!(large.len() > 1 << 20);
    sns.internet().fault(Fault::Unreachable);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 502);
    behind_the_proxy(&sns).get(&url).send().await.unwrap_err();
    sns.internet().fault(Fault::Confirmation);
    let visit = format!("https://sns.{REGION}.amazonaws.com/?Action=ConfirmSubscription");
    let visit = format!("{visit}&TopicArn={TOPIC}&Token=secret");
    http.get(&visit).send().await.unwrap_err();
    assert!(!sns.internet().is_confirmed("secret"));
    sns.internet().fault(None);
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(http.get(&visit).send().await.unwrap().status(), 200);
    assert!(sns.internet().is_confirmed("secret"));
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() {
    let sns = Sns::start(REGION).await.unwrap();
    let http = behind_the_proxy(&sns);
    let url = sns.pki().signing(Leaf::Good).unwrap();
    sns.internet().serve(&url);
    let url = url.url(REGION);
    let env = sns.internet().env();
    let proxy = env["HTTP_PROXY"].trim_start_matches("http://");
    assert_eq!(env["HTTPS_PROXY"], env["HTTP_PROXY"]);
    let root = std::fs::read_to_string(&env["SSL_CERT_FILE"]).unwrap();
    assert_eq!(root, sns.pki().root_pem());
    // A tunnel that is open while it ends.
    http.get(&url).send().await.unwrap();
    drop(sns);
    http.get(&url).send().await.unwrap_err();
    let gone = async {
        while tokio::net::TcpStream::connect(proxy).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    assert!(!std::path::Path::new(&env["SSL_CERT_FILE"]).exists());
}

#[test]
fn a_signing_certificate_says_where_its_issuer_is() {
    let pki = Pki::new().unwrap();
    let certificate = pki.signing(Leaf::Good).unwrap();
    for pem in [&*certificate.pem, include_str!("../../vectors/sns/sns-2025.pem")] {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let extensions = certificate.extensions().iter();
        let access = extensions.filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => Some(access),
            _ => None,
        });
        let entries = access.flat_map(|access| &access.accessdescs);
        let urls = entries.filter_map(|entry| match entry.access_location {
            GeneralName::URI(url) => Some(url),
            _ => None,
        });
        let urls: Vec<_> = urls.collect();
        assert!(urls.contains(&ISSUER_URL), "{urls:?}");
    }
}
