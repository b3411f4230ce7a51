//! The properties of `Custom::BucketWiring`, which are texts and lists of texts. Pure.

use std::collections::BTreeSet;

use function_common::custom_resource::PropertiesError;
use function_common::settings::bucket_name;
use serde::Deserialize;
use serde_json::Value;

use crate::error::WiringError;
use crate::notification::{Destination, Own};
use crate::quarantine::Quarantine;

/// The attribute with the quarantine policy.
pub const ATTRIBUTE: &str = "QuarantinePolicy";

/// How much of an answer to CloudFormation, 4096 bytes, the policy may take: the ids around it are
/// up to 1.1 KB.
const MAX_ATTRIBUTE: usize = 2900;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Raw {
    bucket_names: Vec<String>,
    trigger: String,
    target_arn: String,
    configuration_id: String,
    quarantine_policy: String,
    tag_key: String,
    partition: String,
    scanner_role_arn: String,
    exempt_principal_arns: Vec<String>,
}

/// What the stack wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// The buckets, each once.
    pub buckets: Vec<String>,
    /// Where they shall send uploads to.
    pub destination: Destination,
    /// How our notification is known again.
    pub own: Own,
    /// The quarantine policy.
    pub quarantine: Quarantine,
    /// Whether that is merged into the buckets' policies.
    pub attach: bool,
    /// The account that all buckets must belong to: the scanner's.
    pub account: String,
}

impl Wiring {
    /// Reads `properties`.
    ///
    /// # Errors
    /// Names every one that is wrong.
    pub fn parse(properties: &Value) -> Result<Self, WiringError> {
        let raw = Raw::deserialize(properties).map_err(PropertiesError::from)?;
        let mut problems = Vec::new();
        let mut expect = |fine: bool, name: &str, value: &str, expected: &str| {
            if !fine {
                problems.push(format!("{name} is `{}`, expected {expected}", value.escape_debug()));
            }
        };

        let buckets = texts(&raw.bucket_names);
        let mut seen = BTreeSet::new();
        for bucket in &buckets {
            if let Err(expected) = bucket_name(bucket) {
                expect(false, "a name in BucketNames", bucket, &expected);
            }
            expect(seen.insert(bucket), "a name in BucketNames", bucket, "each bucket once");
        }

        let target = Arn::parse(&raw.target_arn);
        let service = target.as_ref().map_or("", |arn| arn.service);
        let destination = match raw.trigger.as_str() {
            "queue" => {
                expect(service == "sqs", "TargetArn", &raw.target_arn, "the ARN of a queue");
                Destination::Queue(raw.target_arn.clone())
            }
            "function" => {
                expect(service == "lambda", "TargetArn", &raw.target_arn, "the ARN of a function");
                Destination::Function(raw.target_arn.clone())
            }
            other => {
                let known = other == "eventbridge";
                expect(known, "Trigger", other, "queue, function or eventbridge");
                Destination::EventBridge
            }
        };
        // The longest id of a notification (S3 API reference, "QueueConfiguration").
        let fine = (1..=255).contains(&raw.configuration_id.len());
        expect(fine, "ConfigurationId", &raw.configuration_id, "1 to 255 bytes");
        let attach = raw.quarantine_policy == "attach";
        let known = attach || raw.quarantine_policy == "none";
        expect(known, "QuarantinePolicy", &raw.quarantine_policy, "none or attach");
        expect(is_tag_key(&raw.tag_key), "TagKey", &raw.tag_key, "the key of an object's tag");
        let fine = !raw.partition.is_empty()
            && raw.partition.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        expect(fine, "Partition", &raw.partition, "aws or another partition");

        let role = Arn::parse(&raw.scanner_role_arn)
            .filter(|arn| arn.service == "iam" && arn.resource.starts_with("role/"));
        expect(role.is_some(), "ScannerRoleArn", &raw.scanner_role_arn, "the ARN of a role");
        let account = role.map_or("", |arn| arn.account).to_owned();

        let exempt = texts(&raw.exempt_principal_arns);
        for arn in &exempt {
            if let Err(expected) = principal(arn) {
                expect(false, "an ARN in ExemptPrincipalArns", arn, expected);
            }
        }
        let quarantine = Quarantine {
            id: raw.configuration_id.clone(),
            tag_key: raw.tag_key,
            partition: raw.partition,
            scanner_role_arn: raw.scanner_role_arn,
            exempt_principal_arns: exempt,
        };
        let size = Value::from(quarantine.policy()).to_string().len();
        if size > MAX_ATTRIBUTE {
            problems.push(format!(
                "the attribute {ATTRIBUTE} has {size} bytes, and there is room for {MAX_ATTRIBUTE}; \
                 exempt fewer principals, with wildcards"
            ));
        }
        if !problems.is_empty() {
            return Err(WiringError::Properties(problems));
        }
        let own = Own { id: raw.configuration_id, target: raw.target_arn };
        Ok(Self { buckets, destination, own, quarantine, attach, account })
    }
}

/// An empty list of CloudFormation may hold one empty text; spaces stand around commas.
fn texts(list: &[String]) -> Vec<String> {
    list.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// S3 user guide, "Categorizing your objects using tags". Letters of other scripts are legal in a
/// tag, but would have to be in the name of a condition key.
fn is_tag_key(key: &str) -> bool {
    (1..=128).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || " +-=._:/@".contains(c))
        && !key.starts_with("aws:")
}

struct Arn<'a> {
    service: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `arn:partition:service:region:account:resource`.
    fn parse(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (Some("arn"), Some(_)) = (parts.next(), parts.next()) else { return None };
        let service = parts.next()?;
        let _region = parts.next()?;
        let account = parts.next()?;
        let resource = parts.next().filter(|resource| !resource.is_empty())?;
        Some(Self { service, account, resource })
    }
}

/// Who can be exempt: what `aws:PrincipalArn` can be (IAM user guide, "AWS global condition
/// context keys"), but not everybody.
fn principal(arn: &str) -> Result<(), &'static str> {
    let Some(Arn { service, resource, .. }) = Arn::parse(arn) else {
        return Err("the ARN of a principal (arn:aws:iam::123456789012:role/name)");
    };
    match service {
        "sts" if resource.starts_with("assumed-role/") => {
            Err("the ARN of the role (arn:aws:iam::...:role/...): that of a session never matches")
        }
        "iam" | "sts" if resource.chars().any(|c| c.is_alphanumeric()) => Ok(()),
        "iam" | "sts" => Err("some principals, not all: that would be a policy without effect"),
        _ => Err("the ARN of a principal of IAM"),
    }
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
