//! Uploads in parts. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ETag, StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::access::Pairs;
use super::body::{Body, hex};
use super::script::Operation;
use super::service::{Service, broken_upload, call, header_tags};
use super::store::{Store, Upload, Version, checked_tags};

/// The least that a part has, in bytes, which is not the last.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MIN_PART: usize = 5 * 1024 * 1024;

/// An upload that has begun.
#[derive(Debug)]
pub(super) struct Multipart {
    bucket: String,
    key: String,
    upload: Upload,
    parts: BTreeMap<i32, Bytes>,
}

fn no_such_upload() -> S3Error {
    s3_error!(NoSuchUpload, "The specified multipart upload does not exist.")
}

impl Store {
    fn begin_multipart(&mut self, bucket: &str, key: &str, upload: Upload) -> S3Result<String> {
        self.bucket(bucket)?;
        let id = format!("upload-{:04}", self.next_number());
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.multiparts
            .insert(id.clone(), Multipart { bucket, key, upload, parts: BTreeMap::new() });
        Ok(id)
    }

    fn multipart(&mut self, id: &str, bucket: &str, key: &str) -> S3Result<&mut Multipart> {
        let found = self.multiparts.get_mut(id);
        found.filter(|one| one.bucket == bucket && one.key == key).ok_or_else(no_such_upload)
    }

    /// Makes an object of these parts, by number and entity tag.
    fn complete_multipart(
        &mut self,
        id: &str,
        bucket: &str,
        key: &str,
        wanted: &[(i32, ETag)],
    ) -> S3Result<Version> {
        let parts = &self.multipart(id, bucket, key)?.parts;
        let (mut bytes, mut sums) = (Vec::new(), Vec::new());
        if wanted.is_empty() {
            return Err(s3_error!(MalformedXML, "The list of parts is empty"));
        }
        if !wanted.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order"
            ));
        }
        for (index, (number, e_tag)) in wanted.iter().enumerate() {
            let part = parts.get(number).filter(|part| e_tag.value() == hex(&Md5::checksum(part)));
            let part = part.ok_or_else(|| s3_error!(InvalidPart, "A part could not be found"))?;
            if part.len() < MIN_PART && index + 1 < wanted.len() {
                return Err(s3_error!(EntityTooSmall, "A part is smaller than the minimum"));
            }
            bytes.extend_from_slice(part);
            sums.extend(Md5::checksum(part));
        }
        let Some(Multipart { mut upload, .. }) = self.multiparts.remove(id) else {
            return Err(no_such_upload());
        };
        upload.e_tag = Some(format!("{}-{}", hex(&Md5::checksum(&sums)), wanted.len()));
        self.put(bucket, key, Body::from(bytes), upload)
    }
}

/// What a request brings, in memory.
pub(super) async fn collected(body: Option<StreamingBlob>) -> S3Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut body) = body {
        while let Some(chunk) = body.try_next().await.map_err(broken_upload)? {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(bytes)
}

impl Service {
    pub(super) fn create_parts(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, tagging, content_type, metadata, .. } =
            request.input;
        let tags: Pairs = header_tags(tagging.as_deref().unwrap_or_default()).collect();
        let begins = call(Operation::CreateMultipartUpload, &bucket, &key, None);
        let plan = self.begin_tagging(&request.credentials, begins, tags.clone())?;
        let tags = checked_tags(tags)?;
        let upload = Upload { tags, content_type, metadata, ..Upload::default() };
        let upload_id = Some(self.0.state().store.begin_multipart(&bucket, &key, upload)?);
        let (bucket, key) = (Some(bucket), Some(key));
        let output = CreateMultipartUploadOutput { bucket, key, upload_id, ..Default::default() };
        Ok(self.end(&plan, output))
    }

    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number, body, .. } = request.input;
        let part = call(Operation::UploadPart, &bucket, &key, None);
        let plan = self.begin(&request.credentials, part)?;
        let part = Bytes::from(collected(body).await?);
        let e_tag = Some(ETag::Strong(hex(&Md5::checksum(&part))));
        let mut state = self.0.state();
        state.store.multipart(&upload_id, &bucket, &key)?.parts.insert(part_number, part);
        drop(state);
        Ok(self.end(&plan, UploadPartOutput { e_tag, ..Default::default() }))
    }

    pub(super) fn complete_parts(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let completes = call(Operation::CompleteMultipartUpload, &input.bucket, &input.key, None);
        let plan = self.begin(&request.credentials, completes)?;
        if input.if_match.is_some() || input.if_none_match.is_some() {
            return Err(s3_error!(NotImplemented, "FakeS3 does not know this condition here"));
        }
        let parts = input.multipart_upload.and_then(|all| all.parts).unwrap_or_default();
        let parts = parts.into_iter().map(|part| Some((part.part_number?, part.e_tag?)));
        let parts: Option<Vec<_>> = parts.collect();
        let parts = parts.ok_or_else(|| s3_error!(MalformedXML, "A part without a number"))?;
        let mut state = self.0.state();
        let version =
            state.store.complete_multipart(&input.upload_id, &input.bucket, &input.key, &parts)?;
        drop(state);
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            version_id: version.shown_id(),
            e_tag: Some(ETag::Strong(version.e_tag)),
            ..Default::default()
        };
        Ok(self.end(&plan, output))
    }
}
