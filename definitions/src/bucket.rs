//! The definitions bucket: the only thing of AWS that the updater touches.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Tag, Tagging};
use function_common::manifest::{MANIFEST_KEY, Manifest};
use function_common::service_error::{ServiceError, chain};
use tokio::io::AsyncWriteExt as _;

/// Why the bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// S3 refused, or did not answer.
    #[error("{what} {key:?}")]
    Service {
        /// What was being done.
        what: &'static str,
        /// On which key or prefix.
        key: String,
        /// What S3 said.
        #[source]
        source: Box<ServiceError>,
    },
    /// The download broke off, or the file of this side is the trouble.
    #[error("{what} {key:?}: {reason}")]
    Transfer {
        /// What was being done.
        what: &'static str,
        /// On which key.
        key: String,
        /// Why.
        reason: String,
    },
}

impl BucketError {
    /// Whether the same, done later, may succeed by itself.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Service { source, .. } => source.retry(),
            Self::Transfer { .. } => true,
        }
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Service { source, .. } => source.status,
            Self::Transfer { .. } => None,
        }
    }
}

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub e_tag: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// The manifest; none when there is none that this release reads.
    pub manifest: Option<Manifest>,
    /// The entity tag of what lies at its key; none when nothing does.
    pub e_tag: Option<String>,
}

/// What became of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is the one that is served.
    Yes,
    /// Another updater has published since [`Bucket::current`]; nothing was written.
    Overtaken,
}

/// The bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    s3: Client,
    name: String,
}

impl Bucket {
    /// The bucket `name`.
    #[must_use]
    pub fn new(s3: Client, name: &str) -> Self {
        Self { s3, name: name.to_owned() }
    }

    /// What is served now. A manifest that cannot be read is passed over with a warning: it is what
    /// this run replaces.
    ///
    /// # Errors
    /// When S3 does not say.
    pub async fn current(&self) -> Result<Current, BucketError> {
        const WHAT: &str = "cannot read the manifest";
        let get = self.s3.get_object().bucket(&self.name).key(MANIFEST_KEY).send().await;
        let answer = match get.map_err(|error| ServiceError::new("GetObject", &error)) {
            Err(error) if error.is_gone() => return Ok(Current::default()),
            Err(source) => return Err(service(WHAT, MANIFEST_KEY, source)),
            Ok(answer) => answer,
        };
        let e_tag = answer.e_tag.clone();
        let json = answer.body.collect().await;
        let json = json.map_err(|error| transfer(WHAT, MANIFEST_KEY, &error))?.into_bytes();
        let manifest = Manifest::parse(&json)
            .inspect_err(|error| {
                tracing::warn!(error = chain(error), "the manifest is not used, and replaced");
            })
            .ok();
        Ok(Current { manifest, e_tag })
    }

    /// Writes the manifest if what is served is still `replaced`. S3 decides, so of two updaters
    /// one is told that it was overtaken.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn publish(
        &self,
        manifest: &Manifest,
        replaced: &Current,
    ) -> Result<Published, BucketError> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.name)
            .key(MANIFEST_KEY)
            .content_type("application/json")
            .body(manifest.to_json().into_bytes().into());
        let put = match &replaced.e_tag {
            Some(e_tag) => put.if_match(e_tag),
            None => put.if_none_match("*"),
        };
        let put = put.send().await.map_err(|error| {
            let source = ServiceError::new("PutObject", &error);
            service("cannot write the manifest", MANIFEST_KEY, source)
        });
        match put {
            Ok(_) => Ok(Published::Yes),
            // 409: two conditional writes at the same moment; 404: what If-Match named was deleted
            // (S3 user guide, "Conditional requests").
            Err(error) if matches!(error.status(), Some(412 | 409 | 404)) => {
                Ok(Published::Overtaken)
            }
            Err(error) => Err(error),
        }
    }

    /// Downloads an object into a file. Says false when there is no such object.
    ///
    /// # Errors
    /// When S3 refuses, or the object cannot be had whole.
    pub async fn download(&self, key: &str, to: &Path) -> Result<bool, BucketError> {
        const WHAT: &str = "cannot download";
        let get = self.s3.get_object().bucket(&self.name).key(key).send().await;
        let mut answer = match get.map_err(|error| ServiceError::new("GetObject", &error)) {
            Err(error) if error.is_gone() => return Ok(false),
            Err(source) => return Err(service(WHAT, key, source)),
            Ok(answer) => answer,
        };
        let mut file =
            tokio::fs::File::create(to).await.map_err(|error| transfer(WHAT, key, &error))?;
        // A body that ends early is an error of the stream: the SDK compares it with its length.
        while let Some(bytes) =
            answer.body.try_next().await.map_err(|error| transfer(WHAT, key, &error))?
        {
            file.write_all(&bytes).await.map_err(|error| transfer(WHAT, key, &error))?;
        }
        file.flush().await.map_err(|error| transfer(WHAT, key, &error))?;
        Ok(true)
    }

    /// Uploads a file.
    ///
    /// # Errors
    /// When it cannot be read or S3 refuses.
    pub async fn upload(&self, from: &Path, key: &str) -> Result<(), BucketError> {
        const WHAT: &str = "cannot upload";
        let body = ByteStream::from_path(from).await;
        let body = body.map_err(|error| transfer(WHAT, key, &error))?;
        let put = self.s3.put_object().bucket(&self.name).key(key).body(body).send().await;
        put.map(drop).map_err(|error| service(WHAT, key, ServiceError::new("PutObject", &error)))
    }

    /// All objects under `prefix`.
    ///
    /// # Errors
    /// When S3 refuses.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, BucketError> {
        let request = self.s3.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                service("cannot list", prefix, ServiceError::new("ListObjectsV2", &error))
            })?;
            let object = |object: aws_sdk_s3::types::Object| {
                let size = object.size.and_then(|size| size.try_into().ok()).unwrap_or(0);
                let e_tag = object.e_tag.unwrap_or_default();
                Some(Object { key: object.key?, e_tag, size })
            };
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(object));
        }
        Ok(objects)
    }

    /// Gives an object one tag, in place of those that it has.
    ///
    /// # Errors
    /// When S3 refuses.
    pub async fn tag(&self, object: &str, key: &str, value: &str) -> Result<(), BucketError> {
        const WHAT: &str = "cannot tag";
        let tag = Tag::builder().key(key).value(value).build();
        let tagging = tag.and_then(|tag| Tagging::builder().tag_set(tag).build());
        let tagging = tagging.map_err(|error| transfer(WHAT, object, &error))?;
        let put = self.s3.put_object_tagging().bucket(&self.name).key(object).tagging(tagging);
        put.send()
            .await
            .map(drop)
            .map_err(|error| service(WHAT, object, ServiceError::new("PutObjectTagging", &error)))
    }

    /// Deletes an object; it is no error when there is none.
    ///
    /// # Errors
    /// When S3 refuses.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let delete = self.s3.delete_object().bucket(&self.name).key(key).send().await;
        delete.map(drop).map_err(|error| {
            service("cannot delete", key, ServiceError::new("DeleteObject", &error))
        })
    }
}

fn service(what: &'static str, key: &str, source: ServiceError) -> BucketError {
    BucketError::Service { what, key: key.to_owned(), source: Box::new(source) }
}

fn transfer(
    what: &'static str,
    key: &str,
    error: &(dyn std::error::Error + 'static),
) -> BucketError {
    BucketError::Transfer { what, key: key.to_owned(), reason: chain(error) }
}
