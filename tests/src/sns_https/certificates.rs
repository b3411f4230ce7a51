//! Certificates as they stand around SNS, below a root of our own.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, date_time_ymd,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey as _;
use sha2::{Digest as _, Sha256};
use yasna::Tag;
use yasna::models::ObjectIdentifier;

/// Where the certificate of who issued SNS's lies, in DER ("CA Issuers" of the certificate in
/// `tests/vectors/sns/sns-2025.pem`).
pub const ISSUER_URL: &str = "http://crt.r2m01.amazontrust.com/r2m01.cer";

/// Where nobody should be led by a certificate.
pub const ELSEWHERE_URL: &str = "http://crt.amazontrust.com.example/r2m01.cer";

/// The name that SNS's certificates are issued to, whatever the region.
const SNS: &str = "sns.amazonaws.com";

/// Authority information access (RFC 5280, 4.2.2.1), and its entry for the issuer's certificate.
const AUTHORITY_INFO_ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
const CA_ISSUERS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 48, 2];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a signing certificate is like. For one below a foreign root take that of another [`Pki`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// As that of SNS.
    Good,
    /// It held in 2024.
    Expired,
    /// It holds from 2098 on.
    NotYetValid,
    /// Issued to another service.
    OtherName,
    /// Its key is none of RSA.
    EcKey,
    /// It says that its issuer is not at Amazon, but at [`ELSEWHERE_URL`].
    IssuerElsewhere,
}

/// A root, an issuer below it, and the key of the signing certificates, which the issuer issues.
/// All hold from 2025 to 2099.
pub struct Pki {
    root: Authority,
    issuer: Authority,
    signing_key: Arc<SigningKey>,
}

/// A key in the two forms that are needed.
struct SigningKey {
    pair: KeyPair,
    /// For SHA1, which rcgen's provider does not sign any more.
    rsa: Option<RsaPrivateKey>,
}

/// A certificate with its key: what signs messages.
pub struct SigningCertificate {
    /// The certificate as SNS serves it: alone.
    pub pem: String,
    /// Who issued it, as Amazon serves that: DER.
    pub issuer: Vec<u8>,
    key: Arc<SigningKey>,
}

/// What a TLS server shows, both in PEM.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key (PKCS #8).
    pub key: String,
}

impl Pki {
    /// Makes new keys and certificates.
    ///
    /// # Errors
    ///
    /// The random generator of this machine fails.
    pub fn new() -> anyhow::Result<Self> {
        let root = authority("Test Root CA 1")?;
        let root = CertifiedIssuer::self_signed(root, rsa_key()?).context("making a root")?;
        let issuer = authority("Test RSA 2048 M01")?;
        let issuer = CertifiedIssuer::signed_by(issuer, rsa_key()?, &root);
        let issuer = issuer.context("making an issuer")?;
        let signing_key = Arc::new(SigningKey::new(rsa_key()?)?);
        Ok(Self { root, issuer, signing_key })
    }

    /// The root, for who is to trust it.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The root in DER.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        self.root.der()
    }

    /// A certificate that SNS could sign messages with.
    ///
    /// # Errors
    ///
    /// The random generator of this machine fails.
    pub fn signing(&self, leaf: Leaf) -> anyhow::Result<SigningCertificate> {
        let name = if leaf == Leaf::OtherName { "sqs.amazonaws.com" } else { SNS };
        let mut params = params(name, [name])?;
        let issuer = if leaf == Leaf::IssuerElsewhere { ELSEWHERE_URL } else { ISSUER_URL };
        params.custom_extensions = vec![ca_issuers(issuer)];
        match leaf {
            Leaf::Good | Leaf::OtherName | Leaf::EcKey | Leaf::IssuerElsewhere => {}
            Leaf::Expired => {
                params.not_before = date_time_ymd(2024, 1, 1);
                params.not_after = date_time_ymd(2024, 12, 31);
            }
            Leaf::NotYetValid => params.not_before = date_time_ymd(2098, 1, 1),
        }
        let key = match leaf {
            Leaf::EcKey => Arc::new(SigningKey::new(ec_key()?)?),
            _ => Arc::clone(&self.signing_key),
        };
        let certificate = params.signed_by(&key.pair, &self.issuer);
        let certificate = certificate.context("issuing a signing certificate")?;
        Ok(SigningCertificate { pem: certificate.pem(), issuer: self.issuer.der().to_vec(), key })
    }

    /// A certificate for a TLS server with these names (or addresses), which the root itself
    /// issues.
    ///
    /// # Errors
    ///
    /// One of `names` is no name.
    pub fn server<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<ServerCertificate> {
        let params = params("a server of the test", names)?;
        let key = ec_key()?;
        let certificate = params.signed_by(&key, &self.root);
        let certificate = certificate.context("issuing a server's certificate")?;
        Ok(ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl SigningCertificate {
    /// Where SNS serves it.
    #[must_use]
    pub fn url(&self, region: &str) -> String {
        format!("https://sns.{region}.amazonaws.com{}", self.path())
    }

    /// The path of that. The digits identify the certificate.
    #[must_use]
    pub fn path(&self) -> String {
        let digest = Sha256::digest(&self.pem);
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("/SimpleNotificationService-{hex}.pem")
    }

    /// PKCS #1 v1.5 over SHA1.
    pub(super) fn sign_sha1(&self, text: &[u8]) -> anyhow::Result<Vec<u8>> {
        use sha1::{Digest as _, Sha1};
        let key = self.key.rsa.as_ref().context("there is no SHA1 signature by this key")?;
        let padding = rsa::Pkcs1v15Sign::new::<Sha1>();
        key.sign(padding, &Sha1::digest(text)).context("signing over SHA1")
    }

    /// PKCS #1 v1.5 over SHA256; ECDSA with a key for that.
    pub(super) fn sign_sha256(&self, text: &[u8]) -> anyhow::Result<Vec<u8>> {
        use rcgen::SigningKey as _;
        self.key.pair.sign(text).context("signing over SHA256")
    }
}

impl SigningKey {
    fn new(pair: KeyPair) -> anyhow::Result<Self> {
        let rsa = match pair.algorithm() == &PKCS_RSA_SHA256 {
            true => Some(RsaPrivateKey::from_pkcs8_der(pair.serialized_der())?),
            false => None,
        };
        Ok(Self { pair, rsa })
    }
}

fn rsa_key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_RSA_SHA256).context("making an RSA key")
}

fn ec_key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("making an EC key")
}

fn params<'a>(
    subject: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<CertificateParams> {
    let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).context("naming a certificate")?;
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn authority(subject: &str) -> anyhow::Result<CertificateParams> {
    let mut params = params(subject, [])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// "CA Issuers" is `url` (RFC 5280, 4.2.2.1); rcgen does not know this extension.
fn ca_issuers(url: &str) -> CustomExtension {
    let access = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&ObjectIdentifier::from_slice(&CA_ISSUERS));
                // GeneralName: uniformResourceIdentifier [6] IA5String.
                writer.next().write_tagged_implicit(Tag::context(6), |writer| {
                    writer.write_ia5_string(url);
                });
            });
        });
    });
    CustomExtension::from_oid_content(&AUTHORITY_INFO_ACCESS, access)
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningCertificate").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").finish_non_exhaustive()
    }
}
