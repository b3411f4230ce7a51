//! What moto leaves out of S3's notifications, filled in as S3 would have sent it.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use aws_sdk_s3::Client;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Adds the `versionId` of versioned buckets, the `sequencer` and who asked (all of which S3 always
/// sends: "Event message structure" in its user guide), and leaves the slashes of keys alone, also
/// inside the wrapper of SNS. One value serves one queue: it remembers what it said, as a message
/// that is delivered again says the same again.
#[derive(Debug)]
pub struct Notifications {
    s3: Client,
    completed: HashMap<String, String>,
    versions: HashSet<String>,
    sequence: u64,
}

impl Notifications {
    /// With a client for the server that sends the notifications.
    #[must_use]
    pub fn new(s3: Client) -> Self {
        let (completed, versions) = (HashMap::new(), HashSet::new());
        Self { s3, completed, versions, sequence: 0x0065_0000_0000_0000 }
    }

    /// The body as S3 would have sent it. What is not a notification of records stays as it is,
    /// and so does a record whose version has been deleted meanwhile.
    ///
    /// # Errors
    ///
    /// The versions of a key cannot be listed.
    pub async fn complete(&mut self, message_id: &str, body: &str) -> anyhow::Result<String> {
        if let Some(completed) = self.completed.get(message_id) {
            return Ok(completed.clone());
        }
        let Ok(mut value) = serde_json::from_str::<Value>(body) else { return Ok(body.to_owned()) };
        // In SNS's wrapper it is a text.
        let inner = value["Message"].as_str().and_then(|text| serde_json::from_str(text).ok());
        let notification = if value["Type"] == "Notification" { inner } else { Some(value.take()) };
        let Some(mut notification) = notification else { return Ok(body.to_owned()) };
        let Some(records) = notification["Records"].as_array_mut() else {
            return Ok(body.to_owned());
        };
        for record in records {
            self.complete_record(record).await?;
        }
        let mut completed = notification.to_string();
        if !value.is_null() {
            value["Message"] = completed.into();
            completed = value.to_string();
        }
        self.completed.insert(message_id.to_owned(), completed.clone());
        Ok(completed)
    }

    async fn complete_record(&mut self, record: &mut Value) -> anyhow::Result<()> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let who = json!({"principalId": "AWS:AIDAEXAMPLE"});
        let from = json!({"sourceIPAddress": "127.0.0.1"});
        let answered = json!({"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "test"});
        fill(&mut record["userIdentity"], &who);
        fill(&mut record["requestParameters"], &from);
        fill(&mut record["responseElements"], &answered);
        fill(&mut record["s3"]["bucket"]["ownerIdentity"], &who);
        let bucket = text(&record["s3"]["bucket"]["name"]);
        let object = &mut record["s3"]["object"];
        let (Some(bucket), Some(encoded)) = (bucket, text(&object["key"])) else { return Ok(()) };
        let etag = text(&object["eTag"]).unwrap_or_default();
        if object["versionId"].is_null()
            && let Some(version) = self.version(&bucket, &decoded(&encoded), &etag).await?
        {
            object["versionId"] = version.into();
        }
        if object["sequencer"].is_null() {
            self.sequence += 1;
            object["sequencer"] = format!("{:018X}", self.sequence).into();
        }
        object["key"] = encoded.replace("%2F", "/").into();
        Ok(())
    }

    /// The oldest version with these bytes that has not been named yet.
    async fn version(
        &mut self,
        bucket: &str,
        key: &str,
        etag: &str,
    ) -> anyhow::Result<Option<String>> {
        let listed = self.s3.list_object_versions().bucket(bucket).prefix(key).send().await;
        let listed =
            listed.with_context(|| format!("listing the versions of {key} in {bucket}"))?;
        let newest_first = listed.versions().iter().rev();
        let version = newest_first
            .filter(|version| version.key() == Some(key))
            .filter(|version| version.e_tag().map(|tag| tag.trim_matches('"')) == Some(etag))
            .filter_map(|version| version.version_id())
            .find(|id| *id != "null" && !self.versions.contains(*id))
            .map(str::to_owned);
        self.versions.extend(version.clone());
        Ok(version)
    }
}

fn fill(gap: &mut Value, with: &Value) {
    if gap.is_null() {
        *gap = with.clone();
    }
}

/// A key as notifications carry it: form-encoded.
fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moto::Moto;
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

    #[test]
    fn decodes_forms() {
        assert_eq!(decoded("a%2Fna%C3%AFve+%2B+b"), "a/naïve + b");
    }

    #[tokio::test]
    async fn names_each_version_once_and_the_same_again_on_redelivery() {
        let moto = Moto::start().await.expect("moto starts");
        let s3 = moto.s3();
        s3.create_bucket().bucket("uploads").send().await.expect("a bucket");
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
        s3.put_bucket_versioning()
            .bucket("uploads")
            .versioning_configuration(enabled.build())
            .send()
            .await
            .expect("versioned");
        let mut ids = Vec::new();
        let mut etag = String::new();
        for _ in 0..2 {
            let body = b"same bytes".to_vec().into();
            let put =
                s3.put_object().bucket("uploads").key("a/ b").body(body).send().await.expect("put");
            ids.push(put.version_id().expect("a version").to_owned());
            etag = put.e_tag().expect("a tag").trim_matches('"').to_owned();
        }

        let object = json!({"key": "a%2F+b", "eTag": etag});
        let body = json!({"Records": [{"s3": {"bucket": {"name": "uploads"}, "object": object}}]});
        let body = body.to_string();
        let mut notifications = Notifications::new(s3);
        let mut objects = Vec::new();
        for message in ["first", "second", "first"] {
            let text = notifications.complete(message, &body).await.expect("completed");
            let value: Value = serde_json::from_str(&text).expect("JSON");
            objects.push(value["Records"][0]["s3"]["object"].clone());
        }
        assert_eq!(objects[0]["versionId"], json!(ids[0]));
        assert_eq!(objects[1]["versionId"], json!(ids[1]));
        assert_eq!(objects[2], objects[0]);
        assert_eq!(objects[0]["key"], json!("a/+b"));
        let again: Value = serde_json::from_str(&notifications.completed["first"]).expect("JSON");
        assert!(again["Records"][0]["userIdentity"]["principalId"].is_string());
        let sequencer = |object: &Value| object["sequencer"].as_str().map(str::to_owned);
        assert!(sequencer(&objects[0]) < sequencer(&objects[1]));

        let wrapped = json!({"Type": "Notification", "Message": body}).to_string();
        let wrapped = notifications.complete("wrapped", &wrapped).await.expect("completed");
        let wrapped: Value = serde_json::from_str(&wrapped).expect("JSON");
        let inner = wrapped["Message"].as_str().expect("a text");
        assert!(inner.contains("sequencer") && inner.contains("userIdentity"), "{inner}");

        let test_event = r#"{"Event":"s3:TestEvent"}"#;
        let untouched = notifications.complete("third", test_event).await.expect("left alone");
        assert_eq!(untouched, test_event);
    }
}
