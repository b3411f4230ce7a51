//! Whether the key that signed a message is SNS's: where its certificate comes from, who vouches
//! for it, for whom it was issued and when it holds.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use url::Url;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_PKIX_AUTHORITY_INFO_ACCESS,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::subscribe::Refused;

/// How long a certificate is kept. SNS changes them about once a year, under a new URL; asking
/// once a day also drops one that was withdrawn.
const KEPT: Duration = Duration::from_hours(24);

/// Most certificates between that of SNS and a root. Amazon's own chains have one.
const MAX_ISSUERS: usize = 3;

/// Where issuers of Amazon's certificates are fetched from: "CA Issuers" of SNS's certificates
/// (`http://crt.r2m01.amazontrust.com/r2m01.cer` in that of 2025, tests/vectors/sns).
const ISSUERS_DOMAIN: &str = ".amazontrust.com";

/// Why a certificate could not be fetched.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Fetches certificates.
pub trait CertificateSource: Send + Sync {
    /// The body that a GET of `url` gives with status 200. The URL has been checked: it is
    /// `https://sns.<region>.amazonaws.com/….pem`, or `http://….amazontrust.com/…` for an issuer
    /// (plain, because an issuer proves itself by its signature).
    ///
    /// Follow no redirects, and bound time and size: certificates are a few kilobytes.
    ///
    /// # Errors
    /// Whatever kept it from coming; the message is refused for now and may come again.
    fn get(&self, url: &str) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
}

/// The roots of Amazon Trust Services, out of those that Mozilla trusts for TLS servers.
#[must_use]
pub fn amazon_roots() -> Vec<TrustAnchor<'static>> {
    let is_amazons = |root: &&TrustAnchor<'_>| {
        let names: [&[u8]; 2] =
            [b"Amazon Root CA ", b"Starfield Services Root Certificate Authority - G2"];
        names.iter().any(|name| root.subject.windows(name.len()).any(|part| part == *name))
    };
    webpki_roots::TLS_SERVER_ROOTS.iter().filter(is_amazons).cloned().collect()
}

/// The roots in a PEM file, for [`Policy::trust_anchors`](crate::subscribe::Policy::trust_anchors).
///
/// # Errors
/// There is none in it, or something that is no certificate.
pub fn roots_of_pem(pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, Refused> {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .map(|root| {
            let root = root.map_err(|_| Refused::CertificateMalformed)?;
            let anchor = webpki::anchor_from_trusted_cert(&root);
            anchor.map(|anchor| anchor.to_owned()).map_err(|_| Refused::CertificateMalformed)
        })
        .collect::<Result<_, _>>()?;
    if roots.is_empty() { Err(Refused::CertificateMalformed) } else { Ok(roots) }
}

/// A certificate that SNS serves, with those that lead from it to a root.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    leaf: CertificateDer<'static>,
    issuers: Vec<CertificateDer<'static>>,
}

/// The chains that held, by the URL of their certificate.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    kept: Mutex<HashMap<String, (Timestamp, Chain)>>,
    /// Held while one is fetched, so that messages that come together fetch it once. Those whose
    /// certificate is kept do not wait for it.
    fetching: tokio::sync::Mutex<()>,
}

impl Certificates {
    /// The certificate at `url`, which SNS in the region of `topic_arn` serves, if it holds `now`.
    pub(super) async fn at(
        &self,
        url: &str,
        topic_arn: &str,
        anchors: &[TrustAnchor<'static>],
        source: &impl CertificateSource,
        now: Timestamp,
    ) -> Result<Chain, Refused> {
        let url = checked(url, topic_arn)?;
        let kept = || {
            let chain = self.kept(&url, now)?;
            Some(chain.verify(anchors, topic_arn, now).map(|()| chain))
        };
        if let Some(chain) = kept() {
            return chain;
        }
        let _fetching = self.fetching.lock().await;
        if let Some(chain) = kept() {
            return chain; // somebody else has fetched it meanwhile
        }
        let chain = fetch(&url, topic_arn, anchors, source, now).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(url, (now, chain.clone()));
        Ok(chain)
    }

    fn kept(&self, url: &str, now: Timestamp) -> Option<Chain> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| now.duration_since(*since).unsigned_abs() < KEPT);
        kept.get(url).map(|(_, chain)| chain.clone())
    }
}

/// The URL of a certificate, if it is one of SNS's. As in the AWS SDKs; in addition the region is
/// the topic's, as in that for Java.
fn checked(url: &str, topic_arn: &str) -> Result<String, Refused> {
    let url = Url::parse(url).map_err(|_| Refused::CertificateUrl)?;
    if url.scheme() != "https" {
        return Err(Refused::CertificateScheme);
    }
    if url.host_str() != sns_host(topic_arn).as_deref() {
        return Err(Refused::CertificateHost);
    }
    if !is_plain(&url) {
        return Err(Refused::CertificateAuthority);
    }
    if !url.path().ends_with(".pem") {
        return Err(Refused::CertificateExtension);
    }
    Ok(url.into())
}

/// Whether nothing but scheme, host and path is in it.
fn is_plain(url: &Url) -> bool {
    is_host_alone(url) && url.query().is_none() && url.fragment().is_none()
}

/// Whether neither a port nor a user stands beside the host.
pub(super) fn is_host_alone(url: &Url) -> bool {
    url.port().is_none() && url.username().is_empty() && url.password().is_none()
}

/// SNS's host for a topic: `sns.<region>.amazonaws.com`, in China with `.cn`. None for what is no
/// topic's ARN, and for the partitions that the AWS SDKs' verifiers do not know either.
pub(super) fn sns_host(topic_arn: &str) -> Option<String> {
    let (region, suffix) = region_and_suffix(topic_arn)?;
    Some(format!("sns.{region}.{suffix}"))
}

fn region_and_suffix(topic_arn: &str) -> Option<(&str, &'static str)> {
    let mut parts = topic_arn.split(':');
    let ("arn", partition, "sns", region) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?)
    else {
        return None;
    };
    let suffix = match partition {
        "aws" | "aws-us-gov" => "amazonaws.com",
        "aws-cn" => "amazonaws.com.cn",
        _ => return None,
    };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (region.len() >= 3 && region.chars().all(legal)).then_some((region, suffix))
}

/// The names that SNS's certificates are issued to: one for the regions that every account has,
/// others for those that an account must enable, for GovCloud and for China (`SnsHostProvider` of
/// the AWS SDK for Java; a certificate of af-south-1 carries both of its region's names).
fn sns_names(topic_arn: &str) -> Vec<String> {
    let Some((region, suffix)) = region_and_suffix(topic_arn) else { return Vec::new() };
    let mut names = vec![
        format!("sns.{suffix}"),
        format!("sns.{region}.{suffix}"),
        format!("sns-signing.{region}.{suffix}"),
        format!("sns-{region}.{suffix}"),
    ];
    if region.starts_with("us-gov-") {
        names.push(format!("sns-us-gov-west-1.{suffix}"));
    }
    names
}

async fn fetch(
    url: &str,
    topic_arn: &str,
    anchors: &[TrustAnchor<'static>],
    source: &impl CertificateSource,
    now: Timestamp,
) -> Result<Chain, Refused> {
    let body = source.get(url).await.map_err(Refused::CertificateUnavailable)?;
    let mut certificates = CertificateDer::pem_slice_iter(&body)
        .map(|certificate| certificate.map_err(|_| Refused::CertificateMalformed));
    let leaf = certificates.next().ok_or(Refused::CertificateMalformed)??;
    let issuers = certificates.take(MAX_ISSUERS).collect::<Result<_, _>>()?;
    let mut chain = Chain { leaf, issuers };
    // SNS serves its certificate alone; who issued it is fetched from where it says, as browsers
    // do. Each answer has to lead one step on towards a root.
    loop {
        match chain.verify(anchors, topic_arn, now) {
            Err(Refused::CertificateForeign) if chain.issuers.len() < MAX_ISSUERS => {
                let last = chain.issuers.last().unwrap_or(&chain.leaf);
                let url = issuer_url(last).ok_or(Refused::CertificateForeign)?;
                let issuer = source.get(&url).await.map_err(Refused::CertificateUnavailable)?;
                chain.issuers.push(CertificateDer::from(issuer));
            }
            verified => return verified.map(|()| chain),
        }
    }
}

/// Where the issuer's certificate lies, if that is at Amazon.
fn issuer_url(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let access = certificate.get_extension_unique(&OID_PKIX_AUTHORITY_INFO_ACCESS).ok()??;
    let ParsedExtension::AuthorityInfoAccess(access) = access.parsed_extension() else {
        return None;
    };
    access.accessdescs.iter().find_map(|entry| {
        let GeneralName::URI(uri) = entry.access_location else { return None };
        let url = Url::parse(uri).ok()?;
        let is_issuer = entry.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
        let at_amazon = url.host_str().is_some_and(|host| host.ends_with(ISSUERS_DOMAIN));
        let web = matches!(url.scheme(), "http" | "https");
        (is_issuer && at_amazon && web && is_plain(&url)).then(|| url.into())
    })
}

impl Chain {
    /// Whether it leads to one of `anchors` and was issued to SNS, at the time `now`.
    fn verify(
        &self,
        anchors: &[TrustAnchor<'static>],
        topic_arn: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let certificate = self.certificate()?;
        let seconds =
            u64::try_from(now.as_second()).map_err(|_| Refused::CertificateNotYetValid)?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                anchors,
                &self.issuers,
                time,
                KeyUsage::server_auth(), // what SNS's certificates are issued for
                None,                    // not the revocation lists: see KEPT
                None,
            )
            .map_err(|error| match error {
                webpki::Error::CertExpired { .. } => Refused::CertificateExpired,
                webpki::Error::CertNotValidYet { .. } => Refused::CertificateNotYetValid,
                _ => Refused::CertificateForeign,
            })?;
        let is_for = |name: String| {
            ServerName::try_from(name)
                .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        };
        if sns_names(topic_arn).into_iter().any(is_for) {
            Ok(())
        } else {
            Err(Refused::CertificateName)
        }
    }

    /// The certificate of SNS itself.
    pub(super) fn certificate(&self) -> Result<EndEntityCert<'_>, Refused> {
        EndEntityCert::try_from(&self.leaf).map_err(|_| Refused::CertificateMalformed)
    }
}
