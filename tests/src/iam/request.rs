//! What an HTTP request to AWS asks for: action, resource and condition keys.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon
//! S3" (and SNS, SQS, EventBridge), and "Required permissions for Amazon S3 API operations" in the S3 user
//! guide. Only what the functions do is known here; everything else is an error, so that a new
//! call is looked up and not guessed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use iam_rs::{Context, ContextValue};
use percent_encoding::percent_decode_str;
use s3s::dto::Tagging;
use s3s::xml;
use serde_json::Value;

use super::policy::{Principal, Request};

/// Headers of S3 requests that ask for a permission of their own, which nothing here needs.
const FOREIGN_HEADERS: [&str; 5] = [
    "x-amz-acl",
    "x-amz-bypass-governance-retention",
    "x-amz-copy-source",
    "x-amz-grant-",
    "x-amz-object-lock-",
];

/// A request as it comes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Wire<'a> {
    pub(super) method: &'a str,
    /// With or without scheme and host.
    pub(super) uri: &'a str,
    /// Names in small letters.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: &'a [u8],
}

/// Who asks, and whose the buckets are.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) role_arn: String,
    pub(super) account: String,
}

impl Wire<'_> {
    /// The service and the region that the request is signed for.
    fn scope(&self) -> anyhow::Result<(&str, &str)> {
        let header = self.headers.get("authorization").context("it is not signed")?;
        let (_, scope) = header.split_once("Credential=").context("its signature has no scope")?;
        let scope = scope.split(',').next().unwrap_or_default();
        match scope.split('/').collect::<Vec<_>>()[..] {
            [_, _, region, service, "aws4_request"] => Ok((service, region)),
            _ => bail!("its signature is for {scope:?}"),
        }
    }

    /// Whether the body says what the request asks for. (An object's does not, and may be large.)
    pub(super) fn speaks_by_its_body(&self) -> bool {
        let service = self.scope().map_or("", |(service, _)| service);
        let (_, query) = self.uri.split_once('?').unwrap_or_default();
        let tags = form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "tagging");
        service != "s3" || (self.method == "PUT" && tags)
    }

    /// Every permission that the request needs.
    ///
    /// # Errors
    ///
    /// It is none that the functions are known to make.
    pub(super) fn asks_for(&self, caller: &Caller) -> anyhow::Result<Vec<Request>> {
        let asked = self.scope().and_then(|(service, region)| match service {
            "s3" => self.s3(),
            "sns" => self.sns(),
            "events" => self.event_bridge(region, &caller.account),
            "sqs" => self.sqs(region, &caller.account),
            other => bail!("it is for {other}"),
        });
        let asked = asked.with_context(|| {
            format!("{} {}: what it asks for is not known here", self.method, self.uri)
        })?;
        let principal = Principal::Arn(caller.role_arn.clone());
        let asked = asked.into_iter();
        Ok(asked.map(|asked| request_of(&principal, &caller.account, asked)).collect())
    }

    fn s3(&self) -> anyhow::Result<Vec<Asked>> {
        let (path, mut query) = self.path_and_query()?;
        for name in self.headers.keys() {
            let foreign = FOREIGN_HEADERS.iter().any(|foreign| name.starts_with(foreign));
            ensure!(!foreign, "its header {name} asks for more");
        }
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        ensure!(!bucket.is_empty(), "it names no bucket in its path");
        query.remove("x-id"); // the SDK's name for the operation
        let version = if query.remove("versionId").is_some() { "Version" } else { "" };
        let mut context = Context::new();
        if !key.is_empty() {
            let resource = format!("arn:aws:s3:::{bucket}/{key}");
            let subresources: Vec<_> = query.keys().map(String::as_str).collect();
            let object = |name: &str| format!("s3:{name}Object{version}");
            let actions = match (self.method, &subresources[..]) {
                ("GET" | "HEAD", []) => vec![object("Get")],
                ("GET", ["tagging"]) => vec![object("Get") + "Tagging"],
                ("PUT", ["tagging"]) => {
                    context = with_tags(context, tags_of_body(self.body)?);
                    vec![object("Put") + "Tagging"]
                }
                ("PUT", []) if version.is_empty() => match self.headers.get("x-amz-tagging") {
                    None => vec![object("Put")],
                    Some(tags) => {
                        let tags = form_urlencoded::parse(tags.as_bytes()).into_owned().collect();
                        context = with_tags(context, tags);
                        vec![object("Put"), object("Put") + "Tagging"]
                    }
                },
                ("DELETE", []) => vec![object("Delete")],
                (_, other) => bail!("subresources of an object: {other:?}"),
            };
            let asked = |action| (action, resource.clone(), context.clone());
            return Ok(actions.into_iter().map(asked).collect());
        }
        let listing = query.remove("list-type").is_some();
        if listing {
            let prefix = query.remove("prefix").unwrap_or_default();
            context = context.with_string("s3:prefix", prefix);
            for name in ["continuation-token", "max-keys", "start-after"] {
                query.remove(name);
            }
        }
        let subresources: Vec<_> = query.keys().map(String::as_str).collect();
        let action = match (self.method, listing, &subresources[..]) {
            ("GET", true, []) => "s3:ListBucket",
            ("GET", false, ["notification"]) => "s3:GetBucketNotification",
            ("PUT", false, ["notification"]) => "s3:PutBucketNotification",
            ("GET", false, ["policy"]) => "s3:GetBucketPolicy",
            ("PUT", false, ["policy"]) => "s3:PutBucketPolicy",
            ("DELETE", false, ["policy"]) => "s3:DeleteBucketPolicy",
            (_, _, other) => bail!("subresources of a bucket: {other:?}"),
        };
        Ok(vec![(action.to_owned(), format!("arn:aws:s3:::{bucket}"), context)])
    }

    /// The Query protocol.
    fn sns(&self) -> anyhow::Result<Vec<Asked>> {
        let form: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
            form_urlencoded::parse(self.body).collect();
        match (form.get("Action").map(AsRef::as_ref), form.get("TopicArn")) {
            (Some("Publish"), Some(topic)) => {
                Ok(vec![("sns:Publish".to_owned(), topic.to_string(), Context::new())])
            }
            other => bail!("it is {other:?}"),
        }
    }

    /// The JSON protocol. Each entry of PutEvents is judged alone.
    fn event_bridge(&self, region: &str, account: &str) -> anyhow::Result<Vec<Asked>> {
        let body: Value = serde_json::from_slice(self.body).context("its body is no JSON")?;
        let bus = |bus: &Value| {
            let bus = bus.as_str().context("it names no event bus")?;
            let arn = || format!("arn:aws:events:{region}:{account}:event-bus/{bus}");
            Ok::<_, anyhow::Error>(if bus.starts_with("arn:") { bus.to_owned() } else { arn() })
        };
        match self.headers.get("x-amz-target").map(String::as_str) {
            Some("AWSEvents.DescribeEventBus") => {
                let action = "events:DescribeEventBus".to_owned();
                Ok(vec![(action, bus(&body["Name"])?, Context::new())])
            }
            Some("AWSEvents.PutEvents") => {
                let entries = body["Entries"].as_array().context("it has no entries")?;
                let asked = |entry: &Value| {
                    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                    let context = Context::new()
                        .with_string("events:source", text("Source"))
                        .with_string("events:detail-type", text("DetailType"));
                    Ok(("events:PutEvents".to_owned(), bus(&entry["EventBusName"])?, context))
                };
                entries.iter().map(asked).collect()
            }
            other => bail!("it is {other:?}"),
        }
    }

    /// The JSON protocol.
    fn sqs(&self, region: &str, account: &str) -> anyhow::Result<Vec<Asked>> {
        let body: Value = serde_json::from_slice(self.body).context("its body is no JSON")?;
        let url = body["QueueUrl"].as_str().context("it names no queue")?;
        let (_, queue) = url.rsplit_once('/').context("its queue has no name")?;
        let action = match self.headers.get("x-amz-target").map(String::as_str) {
            Some("AmazonSQS.ReceiveMessage") => "sqs:ReceiveMessage",
            Some("AmazonSQS.DeleteMessage") => "sqs:DeleteMessage",
            other => bail!("it is {other:?}"),
        };
        let queue = format!("arn:aws:sqs:{region}:{account}:{queue}");
        Ok(vec![(action.to_owned(), queue, Context::new())])
    }

    /// The path without its first slash, decoded, and the query. Buckets are in the path here.
    fn path_and_query(&self) -> anyhow::Result<(String, BTreeMap<String, String>)> {
        let after_host = match self.uri.split_once("://") {
            Some((_, rest)) => rest.split_once('/').context("it has no path")?.1,
            None => self.uri.trim_start_matches('/'),
        };
        let (path, query) = after_host.split_once('?').unwrap_or((after_host, ""));
        let path = percent_decode_str(path).decode_utf8().context("its path is no UTF-8")?;
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Ok((path.into_owned(), query))
    }
}

/// Action, resource, condition keys.
type Asked = (String, String, Context);

/// A request of `principal` for a resource of `account`, with the condition keys that requests
/// for any action have. `aws:PrincipalArn` is there if the request is signed (IAM user guide, "AWS
/// global condition context keys"). What it would be for a service in its own name is not said
/// there; here it is missing, and negated conditions are true either way.
pub(crate) fn request_of(
    principal: &Principal,
    account: &str,
    (action, resource, mut context): Asked,
) -> Request {
    if let Principal::Arn(arn) = principal {
        context = context.with_string("aws:PrincipalArn", arn);
    }
    context = context.with_string("aws:ResourceAccount", account);
    // Here all is plain HTTP; on AWS the SDK speaks TLS.
    context = context.with_boolean("aws:SecureTransport", true);
    Request { principal: principal.clone(), action, resource, context }
}

/// Adds the condition keys about the tags that a request brings.
#[must_use]
pub fn with_tags(mut context: Context, tags: Vec<(String, String)>) -> Context {
    let keys = tags.iter().map(|(key, _)| key.clone()).collect();
    context.insert("s3:RequestObjectTagKeys".to_owned(), ContextValue::StringList(keys));
    for (key, value) in tags {
        context = context.with_string(format!("s3:RequestObjectTag/{key}"), value);
    }
    context
}

fn tags_of_body(body: &[u8]) -> anyhow::Result<Vec<(String, String)>> {
    use xml::Deserialize as _;

    let tagging = Tagging::deserialize(&mut xml::Deserializer::new(body));
    let tagging = tagging.context("its body is no tag set")?;
    let pair = |tag: s3s::dto::Tag| Ok((tag.key.context("a key")?, tag.value.unwrap_or_default()));
    tagging.tag_set.into_iter().map(pair).collect()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
