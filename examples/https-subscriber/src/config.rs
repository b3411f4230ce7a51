//! What it can be told, by flags or by the environment. Every bad value is named in one message
//! and stops the start, so that a wrong setting is never a silent default.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use notifier_common::subscribe::{Policy, amazon_roots, roots_of_pem};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use tracing::Level;

/// The settings as they come. An empty value counts as none.
#[derive(Debug, Clone, Default, clap::Parser)]
#[command(version, about = "Takes findings from SNS over HTTPS and tells each object's status")]
pub struct Args {
    /// ARNs of the topics that may send here, separated by commas
    #[arg(long, env = "TOPIC_ARNS", default_value = "")]
    pub topic_arns: String,
    /// Address and port to listen at
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: String,
    /// PEM file with the server's certificate and those that issued it. Without certificate and
    /// key it serves plain HTTP, for a load balancer that ends TLS
    #[arg(long, env = "TLS_CERTIFICATE", default_value = "")]
    pub tls_certificate: String,
    /// PEM file with the key of that certificate
    #[arg(long, env = "TLS_KEY", default_value = "")]
    pub tls_key: String,
    /// SQLite file, which is made if it is missing
    #[arg(long, env = "DATABASE", default_value = "findings.sqlite")]
    pub database: String,
    /// PEM file with the roots that may vouch for SNS's signing certificate [default: Amazon's]
    #[arg(long, env = "TRUST_ANCHORS", default_value = "")]
    pub trust_anchors: String,
    /// TRACE, DEBUG, INFO, WARN or ERROR
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO")]
    pub log_level: String,
}

/// The settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which messages are believed.
    pub policy: Policy,
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS with its certificate; none is plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// The database's file.
    pub database: PathBuf,
    /// How much is logged.
    pub log_level: Level,
}

/// Every bad value, in one message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct SettingsError {
    /// One text for each bad value: the variable, what is wrong, what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad setting(s): {}", self.problems.len(), self.problems.join("; "))
    }
}

impl Config {
    /// Checks the settings, and reads the files that they name.
    ///
    /// # Errors
    /// Names every value that cannot be used.
    pub fn check(args: &Args) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let mut checked = |name: &str, problem: String| problems.push(format!("{name} {problem}"));

        let topic_arns = topic_arns(&args.topic_arns).unwrap_or_else(|problem| {
            checked("TOPIC_ARNS", problem);
            BTreeSet::new()
        });
        let listen = args.listen.parse().unwrap_or_else(|_| {
            checked("LISTEN", expected(&args.listen, "an address and port like 0.0.0.0:8443"));
            SocketAddr::from(([0, 0, 0, 0], 0))
        });
        let log_level = args.log_level.parse().unwrap_or_else(|_| {
            checked("LOG_LEVEL", expected(&args.log_level, "TRACE, DEBUG, INFO, WARN or ERROR"));
            Level::INFO
        });
        let tls = match (args.tls_certificate.as_str(), args.tls_key.as_str()) {
            ("", "") => None,
            (_, "") => {
                checked("TLS_KEY", "is not set, but TLS_CERTIFICATE is".to_owned());
                None
            }
            ("", _) => {
                checked("TLS_CERTIFICATE", "is not set, but TLS_KEY is".to_owned());
                None
            }
            (certificate, key) => {
                tls(certificate, key).map_err(|(name, problem)| checked(name, problem)).ok()
            }
        };
        let anchors = match args.trust_anchors.as_str() {
            "" => amazon_roots(),
            path => trust_anchors(path).unwrap_or_else(|problem| {
                checked("TRUST_ANCHORS", problem);
                Vec::new()
            }),
        };
        if args.database.is_empty() {
            checked("DATABASE", "is empty, expected the path of a file".to_owned());
        }

        if !problems.is_empty() {
            return Err(SettingsError { problems });
        }
        let policy = Policy { trust_anchors: anchors, ..Policy::new(topic_arns) };
        Ok(Self { policy, listen, tls, database: args.database.clone().into(), log_level })
    }
}

fn expected(value: &str, expected: &str) -> String {
    format!("is `{}`, expected {expected}", value.escape_debug())
}

fn topic_arns(value: &str) -> Result<BTreeSet<String>, String> {
    let arns: BTreeSet<_> =
        value.split(',').map(str::trim).filter(|arn| !arn.is_empty()).map(str::to_owned).collect();
    if arns.is_empty() {
        return Err("is not set, expected the stack's output FindingsTopicArn".to_owned());
    }
    let is_topic = |arn: &str| {
        let parts: Vec<_> = arn.split(':').collect();
        matches!(parts[..], ["arn", _, "sns", _, _, _]) && !parts.contains(&"")
    };
    match arns.iter().find(|arn| !is_topic(arn)) {
        None => Ok(arns),
        Some(wrong) => Err(format!(
            "holds `{}`, expected topic ARNs like arn:aws:sns:eu-west-1:123456789012:Findings",
            wrong.escape_debug()
        )),
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path)
        .map_err(|error| format!("is `{}`, which cannot be read: {error}", path.escape_debug()))
}

/// The certificates of a PEM file, of which there must be one at least.
fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let wrong = |what: &str| format!("is `{}`, {what}", path.escape_debug());
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong("which holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(&format!("which is not PEM: {error}"))),
    }
}

fn tls(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, (&'static str, String)> {
    let of_key = |problem| ("TLS_KEY", problem);
    let certificates = certificates(certificate).map_err(|problem| ("TLS_CERTIFICATE", problem))?;
    let pem = read(key).map_err(of_key)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        of_key(format!("is `{}`, which holds no private key in PEM: {error}", key.escape_debug()))
    })?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, private));
    let mut config = config.map_err(|error| {
        of_key(format!("is `{}`, which does not fit the certificate: {error}", key.escape_debug()))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn trust_anchors(path: &str) -> Result<Vec<TrustAnchor<'static>>, String> {
    roots_of_pem(&read(path)?)
        .map_err(|_| format!("is `{}`, which holds no root in PEM", path.escape_debug()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::builder::Resettable;
    use clap::{CommandFactory as _, FromArgMatches as _};
    use scanner_tests::sns_https::{Pki, ServerCertificate};
    use tempfile::TempDir;

    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:Findings";

    /// What clap makes of no flags and no variables, whatever this machine has set.
    fn args() -> Args {
        let command = Args::command().mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command.get_matches_from(["https-subscriber"]);
        let defaults = Args::from_arg_matches(&matches).unwrap();
        Args { topic_arns: TOPIC.to_owned(), ..defaults }
    }

    fn file(folder: &TempDir, name: &str, content: &str) -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn problems(args: &Args) -> Vec<String> {
        Config::check(args).unwrap_err().problems
    }

    #[test]
    fn defaults_are_plain_http_and_amazons_roots() {
        let config = Config::check(&args()).unwrap();
        assert_eq!(config.listen, "0.0.0.0:8443".parse().unwrap());
        assert!(config.tls.is_none());
        assert_eq!(config.database, Path::new("findings.sqlite"));
        assert_eq!(config.log_level, Level::INFO);
        assert_eq!(config.policy.trust_anchors, amazon_roots());
        assert!(!config.policy.trust_anchors.is_empty());
        let several = Args { topic_arns: format!(" {TOPIC}, {TOPIC}2,"), ..args() };
        let topics = Config::check(&several).unwrap().policy.topic_arns;
        assert_eq!(topics, BTreeSet::from([TOPIC.to_owned(), format!("{TOPIC}2")]));
    }

    #[test]
    fn files_are_read_and_roots_replace_amazons() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new().unwrap();
        let ServerCertificate { certificate, key } = pki.server(["localhost"]).unwrap();
        let config = Config::check(&Args {
            tls_certificate: file(&folder, "cert.pem", &certificate),
            tls_key: file(&folder, "key.pem", &key),
            trust_anchors: file(&folder, "roots.pem", &pki.root_pem()),
            ..args()
        });
        let config = config.unwrap();
        assert!(config.tls.is_some());
        assert_eq!(config.policy.trust_anchors.len(), 1);
    }

    #[test]
    fn every_bad_value_is_named_in_one_message() {
        let error = Config::check(&Args {
            topic_arns: "arn:aws:sqs:eu-west-1:123456789012:q".to_owned(),
            listen: "8443".to_owned(),
            tls_certificate: "/no/such/cert.pem".to_owned(),
            tls_key: "/no/such/key.pem".to_owned(),
            database: String::new(),
            trust_anchors: "/no/such/roots.pem".to_owned(),
            log_level: "loud".to_owned(),
        });
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("6 bad setting(s): "), "{text}");
        for name in
            ["TOPIC_ARNS", "LISTEN", "TLS_CERTIFICATE", "DATABASE", "TRUST_ANCHORS", "LOG_LEVEL"]
        {
            assert!(text.contains(&format!("{name} ")), "{name} is not named in: {text}");
        }
    }

    #[test]
    fn tls_needs_certificate_and_key_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new().unwrap();
        let (one, other) = (pki.server(["a"]).unwrap(), pki.server(["b"]).unwrap());
        let certificate = file(&folder, "cert.pem", &one.certificate);
        let tls = |tls_certificate: &str, tls_key: String| Args {
            tls_certificate: tls_certificate.to_owned(),
            tls_key,
            ..args()
        };
        let only_one = problems(&tls(&certificate, String::new()));
        assert_eq!(only_one, ["TLS_KEY is not set, but TLS_CERTIFICATE is"]);
        let only_other = problems(&tls("", certificate.clone()));
        assert_eq!(only_other, ["TLS_CERTIFICATE is not set, but TLS_KEY is"]);
        let foreign = problems(&tls(&certificate, file(&folder, "key.pem", &other.key)));
        assert!(foreign[0].contains("does not fit the certificate"), "{foreign:?}");
        let no_key = problems(&tls(&certificate, certificate.clone()));
        assert!(no_key[0].contains("holds no private key"), "{no_key:?}");
        let empty = file(&folder, "empty.pem", "");
        let no_certificate = problems(&tls(&empty, file(&folder, "key.pem", &one.key)));
        assert!(no_certificate[0].contains("holds no certificate"), "{no_certificate:?}");
    }

    #[test]
    fn topics_must_be_named() {
        let none = problems(&Args { topic_arns: " ,".to_owned(), ..args() });
        assert!(none[0].starts_with("TOPIC_ARNS is not set"), "{none:?}");
        let pattern =
            problems(&Args { topic_arns: "arn:aws:sns:eu-west-1::x".to_owned(), ..args() });
        assert!(
            pattern[0].starts_with("TOPIC_ARNS holds `arn:aws:sns:eu-west-1::x`"),
            "{pattern:?}"
        );
    }
}
