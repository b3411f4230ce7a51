use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{Action, Definitions, Finding, Status, Verdict};

/// Longest subject that SNS takes: "less than 100 characters" (SNS API reference, Publish).
const SUBJECT_MAX: usize = 99;

/// Longest `finding` attribute, in characters. ClamAV's names are far shorter; the bound keeps a
/// message under SNS's 262,144 bytes whatever the engine says.
const FINDING_MAX: usize = 1024;

/// What stays as it is in a percent-encoded key: RFC 3986's unreserved characters, and the slash
/// for the reader's sake.
const KEY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The form of the message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageFormat {
    /// The sentence that Widdix's subscribers know.
    #[default]
    Widdix,
    /// The finding as a JSON object.
    Json,
}

/// A finding as SNS carries it. Subject, body and attributes keep to SNS's limits for every legal
/// S3 key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The subject: under 100 printable ASCII characters.
    pub subject: String,
    /// The body.
    pub body: String,
    /// Attribute names and values, all of type `String`; no value is empty.
    pub attributes: Vec<(&'static str, String)>,
}

/// The names of the attributes, in the order in which they are sent. The first
/// [`IN_BOTH_FORMS`] say what the body says in either form; the rest, what only JSON says.
pub(crate) const ATTRIBUTES: [&str; 10] = [
    "bucket",
    "key",
    "status",
    "action",
    "version",
    "key_encoding",
    "finding",
    "reason",
    "definitions",
    "definitions_stale",
];

/// See [`ATTRIBUTES`].
#[cfg(feature = "subscribe")]
pub(crate) const IN_BOTH_FORMS: usize = 6;

/// What attributes are made of.
pub(crate) struct Said<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) status: Status,
    pub(crate) action: Action,
    pub(crate) signatures: &'a [String],
    pub(crate) reason: Option<&'a str>,
    pub(crate) definitions: Option<&'a Definitions>,
}

/// The attributes: names in the order of [`ATTRIBUTES`], no value empty, because SNS refuses the
/// whole message for one empty value.
pub(crate) fn attributes(said: &Said<'_>) -> Vec<(&'static str, String)> {
    let encoded = key_needs_encoding(said.key);
    let key = if encoded { encode_key(said.key) } else { said.key.to_owned() };
    let definitions = said.definitions;
    let values = [
        Some(said.bucket.to_owned()),
        Some(key),
        Some(said.status.to_string()),
        Some(said.action.to_string()),
        said.version.map(str::to_owned),
        encoded.then(|| "url".to_owned()),
        Some(printable(&said.signatures.join(", "), FINDING_MAX)),
        said.reason.map(str::to_owned),
        definitions.map(|Definitions { version, built, .. }| format!("{version}/{built}")),
        definitions.and_then(|definitions| definitions.stale.then(|| "true".to_owned())),
    ];
    let all = ATTRIBUTES.into_iter().zip(values);
    all.filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))).collect()
}

impl Message {
    /// Renders `finding`. The attributes are the same in both formats.
    ///
    /// A key that an attribute cannot carry (see [`key_needs_encoding`]) is percent-encoded in the
    /// attribute, and `key_encoding` = `url` says so. For such a key the body is JSON in both
    /// formats: attributes are not signed, so a sentence could not say whether the key in it is
    /// encoded or is called that.
    #[must_use]
    pub fn render(finding: &Finding, format: MessageFormat) -> Self {
        let Finding { bucket, key, action, .. } = finding;
        let status = finding.verdict.status();
        let body = match format {
            // Without a version there are two spaces before "is", as there always were.
            MessageFormat::Widdix if !key_needs_encoding(key) => format!(
                "s3://{bucket}/{key} {} is {status}, {action} action executed",
                finding.version.as_deref().unwrap_or("")
            ),
            MessageFormat::Widdix | MessageFormat::Json => ascii_json(finding),
        };
        let (signatures, reason) = match &finding.verdict {
            Verdict::Clean => (&[] as &[String], None),
            Verdict::Infected { signatures } => (signatures.as_slice(), None),
            Verdict::Unscannable { reason } => (&[] as &[String], Some(reason.as_str())),
        };
        let attributes = attributes(&Said {
            bucket,
            key,
            version: finding.version.as_deref(),
            status,
            action: *action,
            signatures,
            reason,
            definitions: Some(&finding.definitions),
        });
        let subject = printable(&format!("s3-virusscan s3://{bucket}"), SUBJECT_MAX);
        Self { subject, body, attributes }
    }
}

/// The finding as JSON in ASCII: whatever a key holds, nothing of it meets SNS's rules for
/// characters.
fn ascii_json(finding: &Finding) -> String {
    let json = serde_json::to_string(finding).expect("a finding has string keys only");
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings JSON is ASCII without control characters.
        if c.is_ascii() && !c.is_ascii_control() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// Whether an SNS message attribute cannot carry this key as it is: it holds a control character
/// or noncharacter (not allowed in a message: the W3C XML 1.0 character range), or a character
/// beyond U+FFFF ("Surrogate values are not supported in the message attributes", SNS developer
/// guide), or it is only white space.
#[must_use]
pub fn key_needs_encoding(key: &str) -> bool {
    let refused = |c: char| c.is_control() || c > '\u{FFFD}';
    key.chars().any(refused) || key.trim().is_empty()
}

/// Percent-encodes a key; letters, digits and `- . _ ~ /` stay.
#[must_use]
pub fn encode_key(key: &str) -> String {
    utf8_percent_encode(key, KEY).to_string()
}

/// The text with everything but printable ASCII replaced by `?`, cut to `max` characters.
fn printable(text: &str, max: usize) -> String {
    text.chars().take(max).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use serde_json::json;

    use super::*;
    use crate::{Action, Definitions, Reason};

    fn finding(key: &str, verdict: Verdict) -> Finding {
        Finding {
            bucket: "my-bucket".into(),
            key: key.into(),
            version: None,
            etag: Some("0123".into()),
            sequencer: None,
            size: 68,
            verdict,
            action: Action::No,
            engine: "1.4.6".into(),
            definitions: Definitions {
                version: 28129,
                built: "2026-09-20T06:26:26Z".into(),
                age_hours: 5,
                stale: false,
            },
            duration_ms: 12,
        }
    }

    fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
        message.attributes.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn text_body_without_a_version_has_widdix_two_spaces() {
        let message =
            Message::render(&finding("dir/a b.pdf", Verdict::Clean), MessageFormat::Widdix);
        assert_eq!(message.body, "s3://my-bucket/dir/a b.pdf  is clean, no action executed");
        assert_eq!(message.subject, "s3-virusscan s3://my-bucket");
        assert_eq!(
            message.attributes,
            [
                ("bucket", "my-bucket"),
                ("key", "dir/a b.pdf"),
                ("status", "clean"),
                ("action", "no"),
                ("definitions", "28129/2026-09-20T06:26:26Z"),
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn version_and_signatures_are_said_when_there_are_any() {
        let infected = Verdict::Infected { signatures: vec!["A.B-1".into(), "C".into()] };
        let finding = Finding {
            version: Some("v1".into()),
            action: Action::Delete,
            ..finding("k", infected)
        };
        let message = Message::render(&finding, MessageFormat::Widdix);
        assert_eq!(message.body, "s3://my-bucket/k v1 is infected, delete action executed");
        assert_eq!(attribute(&message, "version"), Some("v1"));
        assert_eq!(attribute(&message, "finding"), Some("A.B-1, C"));
        assert_eq!(attribute(&message, "reason"), None);
    }

    #[test]
    fn stale_definitions_are_said_in_every_form() {
        let mut finding = finding("k", Verdict::Clean);
        finding.definitions.stale = true;
        let message = Message::render(&finding, MessageFormat::Json);
        assert_eq!(attribute(&message, "definitions_stale"), Some("true"));
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["definitions"]["stale"], true);
    }

    #[test]
    fn a_queue_with_raw_delivery_can_carry_all_attributes() {
        // "raw message delivery ... up to 10 message attributes" (SNS developer guide).
        let mut finding = finding(" ", Verdict::Infected { signatures: vec!["A".into()] });
        finding.version = Some("v1".into());
        finding.definitions.stale = true;
        let message = Message::render(&finding, MessageFormat::Widdix);
        assert_eq!(message.attributes.len(), 9, "{:?}", message.attributes);
    }

    #[test]
    fn json_body_is_the_finding_and_the_attributes_stay() {
        let unscannable = Verdict::Unscannable { reason: Reason::Encrypted };
        let finding = finding("k", unscannable);
        let json = Message::render(&finding, MessageFormat::Json);
        let body: serde_json::Value = serde_json::from_str(&json.body).unwrap();
        assert_eq!(
            body,
            json!({
                "schema": 1, "bucket": "my-bucket", "key": "k", "etag": "0123", "size": 68,
                "status": "no", "action": "no", "reason": "encrypted", "engine": "1.4.6",
                "definitions": {"version": 28129, "built": "2026-09-20T06:26:26Z",
                    "age_hours": 5, "stale": false},
                "duration_ms": 12,
            })
        );
        let text = Message::render(&finding, MessageFormat::Widdix);
        assert_eq!(json.attributes, text.attributes);
        assert_eq!(attribute(&json, "reason"), Some("encrypted"));
    }

    #[test]
    fn keys_that_an_attribute_cannot_carry_are_encoded_and_come_back() {
        for key in ["a\nb", "a\u{1}b", "smile \u{1F600}.png", " ", "x\u{FFFE}", "del\u{7f}"] {
            assert!(key_needs_encoding(key), "{key:?}");
            let message = Message::render(&finding(key, Verdict::Clean), MessageFormat::Widdix);
            assert_eq!(attribute(&message, "key_encoding"), Some("url"));
            let carried = attribute(&message, "key").unwrap();
            assert!(carried.is_ascii(), "{carried}");
            assert_eq!(percent_decode_str(carried).decode_utf8().unwrap(), key);
            // JSON, because a sentence could not say whether the key in it is encoded.
            assert!(message.body.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", message.body);
            let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
            assert_eq!(body["key"], key);
        }
    }

    #[test]
    fn ordinary_keys_stay_as_they_are() {
        for key in ["a b+c/ü 日本.txt", "100%25.txt", "../x//y", "q?a=b&c#d"] {
            let message = Message::render(&finding(key, Verdict::Clean), MessageFormat::Widdix);
            assert_eq!(attribute(&message, "key"), Some(key));
            assert_eq!(attribute(&message, "key_encoding"), None);
        }
    }

    #[test]
    fn subject_keeps_to_sns_limits_whatever_the_bucket_is_called() {
        let finding = Finding { bucket: "ü\n".repeat(200), ..finding("k", Verdict::Clean) };
        let subject = Message::render(&finding, MessageFormat::Widdix).subject;
        assert!(
            subject.len() < 100 && subject.bytes().all(|b| (b' '..=b'~').contains(&b)),
            "{subject}"
        );
    }

    #[test]
    fn no_attribute_is_empty_and_a_long_signature_is_cut() {
        let infected = Verdict::Infected { signatures: vec!["é".repeat(5000)] };
        let finding = Finding { bucket: String::new(), ..finding("k", infected) };
        let message = Message::render(&finding, MessageFormat::Widdix);
        assert!(message.attributes.iter().all(|(_, value)| !value.is_empty()));
        assert_eq!(attribute(&message, "finding").map(str::len), Some(FINDING_MAX));
    }
}
