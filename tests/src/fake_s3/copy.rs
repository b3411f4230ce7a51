//! Copies. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, MetadataDirective,
    TaggingDirective,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::access::Pairs;
use super::script::{Call, Operation};
use super::service::{Service, call, header_tags};
use super::store::{Upload, checked_tags};

impl Service {
    /// Tags that are copied along are none of the request here: that AWS would take them for such
    /// is not documented, and a test must not rest on it.
    pub(super) fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let conditional = input.copy_source_if_match.is_some()
            || input.copy_source_if_none_match.is_some()
            || input.copy_source_if_modified_since.is_some()
            || input.copy_source_if_unmodified_since.is_some();
        let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
        if conditional || directive == Some(MetadataDirective::REPLACE) {
            return Err(s3_error!(NotImplemented, "FakeS3 copies without conditions, as it is"));
        }
        let CopySource::Bucket { bucket, key, version_id } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "FakeS3 has no access points"));
        };
        let directive = input.tagging_directive.as_ref().map(TaggingDirective::as_str);
        let replaced = directive == Some(TaggingDirective::REPLACE);
        let sent = input.tagging.filter(|_| replaced).unwrap_or_default();
        let sent: Pairs = header_tags(&sent).collect();
        let header = request.headers.get("x-amz-copy-source");
        let header = header.and_then(|header| header.to_str().ok()).map(str::to_owned);
        let writes = call(Operation::CopyObject, &input.bucket, &input.key, None);
        let writes = Call { copy_source: header, ..writes };
        let plan = self.begin_tagging(&request.credentials, writes, sent.clone())?;
        let version_id = version_id.map(String::from);
        let reads = call(Operation::GetObject, &bucket, &key, version_id.as_ref());
        self.0.judge(request.credentials.as_ref(), &reads, Pairs::new())?;

        let source = self.0.with_version(&bucket, &key, version_id.as_deref(), |it| it.clone())?;
        source.check_key()?;
        let copied_version = source.shown_id();
        let upload = Upload {
            tags: if replaced { checked_tags(sent)? } else { source.tags },
            content_type: source.content_type,
            metadata: source.metadata,
            ..Upload::default()
        };
        let body = source.body.expect("what is found is no delete marker");
        let copy = self.0.state().store.put(&input.bucket, &input.key, body, upload)?;
        let output = CopyObjectOutput {
            version_id: copy.shown_id(),
            copy_source_version_id: copied_version,
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(ETag::Strong(copy.e_tag)),
                last_modified: Some(copy.modified.into()),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        };
        Ok(self.end(&plan, output))
    }
}
