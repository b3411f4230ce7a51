//! The S3 operations, as [`s3s`] hands them over after it has checked the signature.

use percent_encoding::percent_decode_str;
use s3s::auth::Credentials;
use s3s::dto::{
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketPolicyInput,
    DeleteBucketPolicyOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, ETag, ETagCondition, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    PutBucketPolicyInput, PutBucketPolicyOutput, PutObjectInput, PutObjectOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, StreamingBlob, Tag, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::FakeS3;
use super::access::Pairs;
use super::body::{Body, BodyFault, Download};
use super::multipart::collected;
use super::script::{Call, Operation, Plan};
use super::store::{Tags, Upload, Version, checked_tags};

/// The service of one client.
#[derive(Debug)]
pub(super) struct Service(pub(super) FakeS3);

impl Service {
    /// Logs the call, runs what is to run before it, and fails it if that was asked for or whoever
    /// signed it may not do that.
    pub(super) fn begin(&self, signed_by: &Option<Credentials>, call: Call) -> S3Result<Plan> {
        self.begin_tagging(signed_by, call, Pairs::new())
    }

    /// The same for a call that brings tags.
    pub(super) fn begin_tagging(
        &self,
        signed_by: &Option<Credentials>,
        call: Call,
        tags: Pairs,
    ) -> S3Result<Plan> {
        let mut plan = self.0.state().script.plan(call.clone());
        for hook in &plan.before {
            hook(&self.0);
        }
        if let Some(error) = plan.error.take() {
            return Err(error);
        }
        self.0.judge(signed_by.as_ref(), &call, tags)?;
        Ok(plan)
    }

    pub(super) fn end<T>(&self, plan: &Plan, output: T) -> S3Response<T> {
        for hook in &plan.after {
            hook(&self.0);
        }
        S3Response::new(output)
    }
}

pub(super) fn call(
    operation: Operation,
    bucket: &str,
    key: &str,
    version_id: Option<&String>,
) -> Call {
    Call {
        operation,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        version_id: version_id.cloned(),
        range: None,
        if_match: None,
        copy_source: None,
    }
}

fn condition_text(condition: Option<&ETagCondition>) -> Option<String> {
    condition.map(|condition| match condition {
        ETagCondition::ETag(e_tag) => e_tag.value().to_owned(),
        ETagCondition::Any => "*".to_owned(),
    })
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).expect("no test has an object of 8 EiB")
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let plan = self.begin(
            &request.credentials,
            Call {
                range: input.range.map(|range| range.to_header_string()),
                if_match: condition_text(input.if_match.as_ref()),
                ..call(Operation::GetObject, &input.bucket, &input.key, input.version_id.as_ref())
            },
        )?;
        if input.if_modified_since.is_some()
            || input.if_unmodified_since.is_some()
            || input.part_number.is_some()
        {
            return Err(s3_error!(NotImplemented, "FakeS3 does not know this condition or part"));
        }
        let id = input.version_id.as_deref();
        let version = self.0.with_version(&input.bucket, &input.key, id, |found| found.clone())?;
        version.check_key()?;
        version.check_match(input.if_match.as_ref())?;
        if version.is_one_of(input.if_none_match.as_ref()) {
            return Err(S3Error::new(S3ErrorCode::NotModified));
        }
        let body = version.body.clone().expect("what is found is no delete marker");
        let size = body.size();
        let range = match input.range {
            None => 0..size,
            Some(range) => range
                .check(size)
                .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?,
        };
        let with_length = !matches!(plan.body, Some(BodyFault::EndWithoutLength(_)));
        let output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: with_length.then(|| signed(range.end - range.start)),
            // Says whether the answer is the whole object (200) or a part (206).
            content_range: input
                .range
                .map(|_| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            content_type: version.content_type.clone(),
            e_tag: Some(ETag::Strong(version.e_tag.clone())),
            last_modified: Some(version.modified.into()),
            metadata: version.metadata.clone(),
            tag_count: tag_count(&version),
            version_id: version.shown_id(),
            body: Some(StreamingBlob::new(Download::new(body, range, plan.body))),
            ..GetObjectOutput::default()
        };
        Ok(self.end(&plan, output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let plan = self.begin(
            &request.credentials,
            Call {
                if_match: condition_text(input.if_match.as_ref()),
                ..call(Operation::HeadObject, &input.bucket, &input.key, input.version_id.as_ref())
            },
        )?;
        if input.if_modified_since.is_some()
            || input.if_unmodified_since.is_some()
            || input.part_number.is_some()
            || input.range.is_some()
        {
            return Err(s3_error!(NotImplemented, "FakeS3 does not know this condition or part"));
        }
        let id = input.version_id.as_deref();
        let version = self.0.with_version(&input.bucket, &input.key, id, |found| found.clone())?;
        version.check_key()?;
        version.check_match(input.if_match.as_ref())?;
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: version.body.as_ref().map(|body| signed(body.size())),
            content_type: version.content_type.clone(),
            e_tag: Some(ETag::Strong(version.e_tag.clone())),
            last_modified: Some(version.modified.into()),
            metadata: version.metadata.clone(),
            version_id: version.shown_id(),
            ..HeadObjectOutput::default()
        };
        Ok(self.end(&plan, output))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let tags: Pairs = header_tags(input.tagging.as_deref().unwrap_or_default()).collect();
        let upload = Call {
            if_match: condition_text(input.if_match.as_ref()),
            ..call(Operation::PutObject, &input.bucket, &input.key, None)
        };
        let plan = self.begin_tagging(&request.credentials, upload, tags.clone())?;
        if matches!(input.if_none_match, Some(ETagCondition::ETag(_))) {
            // S3 itself knows only the form "*" here.
            return Err(s3_error!(NotImplemented, "If-None-Match takes only * for PutObject"));
        }
        let upload = Upload {
            tags: checked_tags(tags)?,
            content_type: input.content_type,
            metadata: input.metadata,
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            e_tag: None,
            customer_key: false,
        };
        let body = Body::from(collected(input.body).await?);
        let version = self.0.state().store.put(&input.bucket, &input.key, body, upload)?;
        let output = PutObjectOutput {
            version_id: version.shown_id(),
            e_tag: Some(ETag::Strong(version.e_tag)),
            ..PutObjectOutput::default()
        };
        Ok(self.end(&plan, output))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.create_parts(request)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.put_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete_parts(request)
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let plan = self.begin(
            &request.credentials,
            call(Operation::ListObjectsV2, &input.bucket, &prefix, None),
        )?;
        if input.delimiter.is_some() || input.start_after.is_some() || input.encoding_type.is_some()
        {
            return Err(s3_error!(NotImplemented, "FakeS3 lists by prefix only"));
        }
        let page = input.max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(1000);
        let after = input.continuation_token.unwrap_or_default();
        let mut found = self.0.state().store.list(&input.bucket, &prefix, &after)?;
        let more = found.len() > page;
        found.truncate(page);
        let next = more.then(|| found.last().map(|(key, _)| key.clone())).flatten();
        let objects = found.into_iter().map(|(key, version)| Object {
            key: Some(key),
            size: version.body.as_ref().map(|body| signed(body.size())),
            e_tag: Some(ETag::Strong(version.e_tag)),
            last_modified: Some(version.modified.into()),
            ..Object::default()
        });
        let contents: Vec<_> = objects.collect();
        let output = ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            contents: Some(contents),
            is_truncated: Some(more),
            next_continuation_token: next,
            ..ListObjectsV2Output::default()
        };
        Ok(self.end(&plan, output))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let if_match = input.if_match.as_ref();
        let plan = self.begin(
            &request.credentials,
            Call {
                if_match: condition_text(if_match),
                ..call(
                    Operation::DeleteObject,
                    &input.bucket,
                    &input.key,
                    input.version_id.as_ref(),
                )
            },
        )?;
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(s3_error!(NotImplemented, "Directory buckets only"));
        }
        let id = input.version_id.as_deref();
        let deleted = self.0.state().store.delete(&input.bucket, &input.key, id, if_match)?;
        let output = DeleteObjectOutput {
            delete_marker: deleted.delete_marker.then_some(true),
            version_id: deleted.version_id,
            ..DeleteObjectOutput::default()
        };
        Ok(self.end(&plan, output))
    }

    async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let GetObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        let plan = self.begin(
            &request.credentials,
            call(Operation::GetObjectTagging, &bucket, &key, version_id.as_ref()),
        )?;
        let output = self.0.with_version(&bucket, &key, version_id.as_deref(), |version| {
            let tags = version.tags.iter();
            GetObjectTaggingOutput {
                tag_set: tags
                    .map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) })
                    .collect(),
                version_id: version.shown_id(),
            }
        })?;
        Ok(self.end(&plan, output))
    }

    async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let PutObjectTaggingInput { bucket, key, version_id, tagging, .. } = request.input;
        let tags = tagging.tag_set.into_iter();
        let tags: Pairs =
            tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
        let tagged = call(Operation::PutObjectTagging, &bucket, &key, version_id.as_ref());
        let plan = self.begin_tagging(&request.credentials, tagged, tags.clone())?;
        let tags = checked_tags(tags)?;
        let version_id = self.0.with_version(&bucket, &key, version_id.as_deref(), |version| {
            version.tags = tags;
            version.shown_id()
        })?;
        Ok(self.end(&plan, PutObjectTaggingOutput { version_id }))
    }

    async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let DeleteObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        let plan = self.begin(
            &request.credentials,
            call(Operation::DeleteObjectTagging, &bucket, &key, version_id.as_ref()),
        )?;
        let version_id = self.0.with_version(&bucket, &key, version_id.as_deref(), |version| {
            version.tags = Tags::new();
            version.shown_id()
        })?;
        Ok(self.end(&plan, DeleteObjectTaggingOutput { version_id }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(request)
    }

    async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        self.notifications_of(request)
    }

    async fn put_bucket_notification_configuration(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        self.set_notifications_of(request)
    }

    async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        self.policy_of(request)
    }

    async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        self.set_policy_of(request)
    }

    async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.delete_policy_of(request)
    }
}

/// `x-amz-tagging-count` is there only if there are tags.
fn tag_count(version: &Version) -> Option<i32> {
    i32::try_from(version.tags.len()).ok().filter(|count| *count > 0)
}

/// The pairs of an `x-amz-tagging` header, which is encoded as a form.
pub(super) fn header_tags(header: &str) -> impl Iterator<Item = (String, String)> {
    header.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

pub(super) fn broken_upload(error: s3s::StdError) -> S3Error {
    s3_error!(IncompleteBody, "The upload broke off: {error}")
}
