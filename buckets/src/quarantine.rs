//! The quarantine policy: an object can be read when its tag says `clean`, and only the scanner
//! writes that tag. Pure. `docs/QUARANTINE.md` explains what it stops and what it does not.
//!
//! Both statements deny, to whoever it is, actions on objects only: the owner of the bucket can
//! always change or remove them.

use notifier_common::Verdict;
use serde_json::{Value, json};

/// Stands for the bucket's name where no bucket is meant.
pub const BUCKET_NAME: &str = "BUCKET_NAME";

/// What the statements are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Who they belong to: see [`sids`].
    pub id: String,
    /// Key of the tag with the verdict.
    pub tag_key: String,
    /// `aws`, `aws-cn` or another.
    pub partition: String,
    /// Role of the scanner, which reads what nobody else does and writes the tag.
    pub scanner_role_arn: String,
    /// Who may read what is not clean; may hold wildcards.
    pub exempt_principal_arns: Vec<String>,
}

/// The ids by which the statements of `id` are found again, for reading and for tagging. Two ids
/// never have one in common. A Sid is letters and digits (IAM user guide, "IAM JSON policy
/// elements: Sid"), so another character is written as `Z` and its bytes in hexadecimal.
#[must_use]
pub fn sids(id: &str) -> [String; 2] {
    let mut name = String::new();
    for byte in id.bytes() {
        match char::from(byte) {
            legal if legal.is_ascii_alphanumeric() && legal != 'Z' => name.push(legal),
            _ => name.push_str(&format!("Z{byte:02X}")),
        }
    }
    [format!("S3VirusScanRead{name}"), format!("S3VirusScanTag{name}")]
}

impl Quarantine {
    /// The statements for one bucket.
    ///
    /// - Reading. The condition on the tag is also true for an object without tags: a negated
    ///   operator matches when its key is absent (IAM user guide, "IAM JSON policy elements:
    ///   Condition operators"). So is the one on the principal for an anonymous request or one of
    ///   an AWS service (CloudFront), which have no `aws:PrincipalArn`. For an assumed role that
    ///   key is the ARN of the role (IAM user guide, "AWS global condition context keys").
    /// - Tagging, with an upload (`x-amz-tagging`: PUT, POST, multipart, presigned) and after it.
    ///   Upper and lower case are the same here, because they are in the *names* of condition
    ///   keys: without it a tag `S3-VIRUSSCAN` could count as `s3-virusscan` above.
    #[must_use]
    pub fn statements(&self, bucket: &str) -> Vec<Value> {
        let [read, tag] = sids(&self.id);
        let objects = format!("arn:{}:s3:::{bucket}/*", self.partition);
        let mut readers = vec![self.scanner_role_arn.clone()];
        readers.extend(self.exempt_principal_arns.iter().cloned());
        let existing_tag = format!("s3:ExistingObjectTag/{}", self.tag_key);
        vec![
            json!({
                "Sid": read,
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                "Resource": objects,
                "Condition": {
                    "StringNotEquals": { existing_tag: Verdict::Clean.status().as_str() },
                    "ArnNotLike": { "aws:PrincipalArn": readers },
                },
            }),
            json!({
                "Sid": tag,
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"],
                "Resource": objects,
                "Condition": {
                    "ForAnyValue:StringEqualsIgnoreCase": {
                        "s3:RequestObjectTagKeys": [self.tag_key],
                    },
                    "ArnNotEquals": { "aws:PrincipalArn": self.scanner_role_arn },
                },
            }),
        ]
    }

    /// The whole policy, for a bucket that is called [`BUCKET_NAME`].
    #[must_use]
    pub fn policy(&self) -> String {
        let statements = self.statements(BUCKET_NAME);
        json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn quarantine() -> Quarantine {
        Quarantine {
            id: "s3-virusscan".into(),
            tag_key: "s3-virusscan".into(),
            partition: "aws".into(),
            scanner_role_arn: "arn:aws:iam::123456789012:role/s3-virusscan-ScannerRole".into(),
            exempt_principal_arns: vec!["arn:aws:iam::123456789012:role/backup".into()],
        }
    }

    /// The blocks of `language` in a document.
    fn blocks<'a>(docs: &'a str, language: &str) -> Vec<&'a str> {
        let begin = format!("```{language}\n");
        docs.split(begin.as_str()).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
    }

    #[test]
    fn the_policy_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/QUARANTINE.md");
        let blocks = blocks(docs, "json");
        let documented: Value = serde_json::from_str(blocks[0]).expect("the first block is JSON");
        let rendered: Value = serde_json::from_str(&quarantine().policy()).expect("it is JSON");
        assert_eq!(documented, rendered);
        for block in blocks {
            serde_json::from_str::<Value>(block).unwrap_or_else(|error| panic!("{error}: {block}"));
        }
    }

    #[test]
    fn no_statement_can_lock_the_owner_out() {
        for statement in quarantine().statements("uploads") {
            for action in statement["Action"].as_array().expect("a list") {
                let action = action.as_str().expect("a text");
                assert!(action.starts_with("s3:GetObject") || action.starts_with("s3:PutObject"));
                assert!(!action.contains('*'), "{action}");
            }
            assert_eq!(statement["Resource"], "arn:aws:s3:::uploads/*", "objects, not the bucket");
        }
    }

    #[test]
    fn exempt_principals_read_and_do_not_tag() {
        let [read, tag] = quarantine().statements("b").try_into().expect("two statements");
        let backup = "arn:aws:iam::123456789012:role/backup";
        assert_eq!(read["Condition"]["ArnNotLike"]["aws:PrincipalArn"][1], backup);
        assert!(!tag.to_string().contains(backup));
    }

    #[test]
    fn sids_are_legal_and_those_of_two_stacks_differ() {
        let ids = ["a-b", "ab", "aZ2Db", "a_b", "A-b", "Z", "Z5A"];
        let all: BTreeSet<String> = ids.iter().flat_map(|id| sids(id)).collect();
        assert_eq!(all.len(), 2 * ids.len(), "{all:?}");
        assert!(all.iter().all(|sid| sid.chars().all(|c| c.is_ascii_alphanumeric())), "{all:?}");
    }
}
