//! Where claimants' files lie: a folder of the installation, or a bucket. What comes here is sealed already.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};

use crate::error::{AppError, AppResult};
use crate::https::{Connector, Trust};
use crate::settings::Settings;

/// The folder of files within the data folder.
pub const FOLDER: &str = "evidence";

/// How often a bucket is asked again before a file counts as not stored, and for how long.
const MAX_RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The object store of one installation.
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Opens the store of the settings.
    pub fn open(settings: &Settings) -> AppResult<Self> {
        match &settings.evidence_url {
            Some(url) => Self::bucket(url, &settings.trust),
            None => Self::folder(settings),
        }
    }

    /// `s3://bucket/prefix`; region, endpoint and keys come from the usual `AWS_…` variables.
    fn bucket(url: &str, trust: &Trust) -> AppResult<Self> {
        let wrong = |why: &str| AppError::Usage(format!("REDRESS_EVIDENCE_URL: {why}; give s3://bucket/prefix"));
        let place = url.strip_prefix("s3://").ok_or_else(|| wrong("it does not begin with s3://"))?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let retry = RetryConfig { max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_http_connector(Connector(trust.clone()))
            .build()
            .map_err(|error| wrong(&error.to_string()))?;
        let prefix = Path::parse(prefix).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, prefix)) })
    }

    fn folder(settings: &Settings) -> AppResult<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let folder = settings.data_dir.join(FOLDER);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(AppError::io(format!("creating {}", folder.display())))?;
        // What is acknowledged must be on disk.
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(failed("opening the folder of evidence"))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)) })
    }

    /// Writes a file; one of the same name is replaced whole.
    pub fn put(&self, name: &str, content: Vec<u8>) -> AppResult<()> {
        let payload = PutPayload::from(content);
        wait(self.store.put(&Path::from(name), payload))?.map(drop).map_err(failed("storing a file"))
    }

    /// Reads a file whole.
    pub fn get(&self, name: &str) -> AppResult<Vec<u8>> {
        let path = Path::from(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        wait(read)?.map(|bytes| bytes.to_vec()).map_err(failed("reading a file"))
    }

    /// Deletes a file; one that is gone already is no fault.
    pub fn delete(&self, name: &str) -> AppResult<()> {
        match wait(self.store.delete(&Path::from(name)))? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed("deleting a file")(error)),
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(object_store::Error) -> AppError {
    move |error| AppError::Io { what: what.to_owned(), source: std::io::Error::other(error) }
}

/// The store speaks async, and everything that uses it does not: the caller's own thread drives it.
fn wait<T>(work: impl Future<Output = T>) -> AppResult<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AppError::io("starting to speak with the object store"))?;
    Ok(runtime.block_on(work))
}
