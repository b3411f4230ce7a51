//! One request: all buckets are checked, then one after the other is changed.
//!
//! S3 replaces a bucket's notifications and its policy as a whole and knows no condition for it.
//! So each is read, merged, written, and read again; when ours is not there then, somebody else
//! wrote at the same time, and it is done once more. What somebody writes between our reading and
//! our writing is lost; that moment is kept short.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::NotificationConfiguration;
use backon::{ExponentialBuilder, Retryable as _};
use function_common::custom_resource::{Action, Attributes, Request};
use serde_json::Value;

use crate::bucket::Bucket;
use crate::error::{BucketError, Problem, WiringError};
use crate::notification::{self, Conflict, Own};
use crate::policy::{self, Change};
use crate::properties::{ATTRIBUTE, Wiring};
use crate::quarantine::sids;

/// Times that a change is done again which did not last, with a pause that doubles.
const AGAIN: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Does what CloudFormation asks for. Done twice, it is the same as done once.
///
/// # Errors
/// Something is not as the stack wants it.
pub async fn handle(s3: &Client, request: Request) -> Result<Attributes, WiringError> {
    match &request.action {
        Action::Create => wire(s3, &Wiring::parse(&request.properties)?, None).await,
        Action::Update { old } => {
            wire(s3, &Wiring::parse(&request.properties)?, past(old).as_ref()).await
        }
        Action::Delete => {
            let Some(past) = past(&request.properties) else { return Ok(Attributes::new()) };
            let failed = take_out(s3, &past, &BTreeSet::new()).await;
            if failed.is_empty() { Ok(Attributes::new()) } else { Err(WiringError::Change(failed)) }
        }
    }
}

/// Properties that held until now. Those that are refused today were refused then, and nothing was
/// wired by them.
fn past(properties: &Value) -> Option<Wiring> {
    let parsed = Wiring::parse(properties);
    if let Err(error) = &parsed {
        tracing::warn!(%error, "these properties were never in force; there is nothing to take out");
    }
    parsed.ok()
}

async fn wire(
    s3: &Client,
    wiring: &Wiring,
    old: Option<&Wiring>,
) -> Result<Attributes, WiringError> {
    let goal = Goal::wired(wiring, old);
    let account = &wiring.account;
    let bucket = |name| Bucket { s3, account, name };
    let mut failed = Vec::new();
    for name in &wiring.buckets {
        if let Err(problem) = goal.check(&bucket(name)).await {
            failed.push(BucketError { bucket: name.clone(), problem });
        }
    }
    if !failed.is_empty() {
        return Err(WiringError::Refused { buckets: wiring.buckets.len(), failed });
    }
    for name in &wiring.buckets {
        // Not one more than needed: the stack rolls back.
        goal.reach(&bucket(name)).await.map_err(|problem| {
            WiringError::Change(vec![BucketError { bucket: name.clone(), problem }])
        })?;
    }
    if let Some(old) = old {
        let failed = take_out(s3, old, &wiring.buckets.iter().collect()).await;
        if !failed.is_empty() {
            return Err(WiringError::Change(failed));
        }
    }
    Ok(Attributes::from([(ATTRIBUTE.to_owned(), wiring.quarantine.policy())]))
}

/// Takes ours out of all buckets of `old` but those to `keep`. One that fails does not stop the
/// others.
async fn take_out(s3: &Client, old: &Wiring, keep: &BTreeSet<&String>) -> Vec<BucketError> {
    let goal = Goal::unwired(old);
    let mut failed = Vec::new();
    for name in old.buckets.iter().filter(|name| !keep.contains(name)) {
        match goal.reach(&Bucket { s3, account: &old.account, name }).await {
            Ok(()) => {}
            Err(problem) if problem.nothing_there() => {
                tracing::warn!(bucket = name, %problem, "there is nothing of ours to take out");
            }
            Err(problem) => failed.push(BucketError { bucket: name.clone(), problem }),
        }
    }
    failed
}

/// What a bucket shall be like.
struct Goal<'a> {
    /// What is ours in it, now or until now.
    own: Vec<Own>,
    /// The ids of our statements.
    sids: Vec<String>,
    /// Whether its policy is looked at: the function may not, unless the stack attaches one.
    policies: bool,
    /// What shall be there; nothing if none.
    wiring: Option<&'a Wiring>,
}

impl<'a> Goal<'a> {
    fn wired(wiring: &'a Wiring, old: Option<&Wiring>) -> Self {
        let all = || std::iter::once(wiring).chain(old);
        Self {
            own: all().map(|wiring| wiring.own.clone()).collect(),
            sids: all().flat_map(|wiring| sids(&wiring.own.id)).collect(),
            policies: all().any(|wiring| wiring.attach),
            wiring: Some(wiring),
        }
    }

    fn unwired(old: &'a Wiring) -> Self {
        Self { wiring: None, ..Self::wired(old, None) }
    }

    fn notifications(
        &self,
        current: &NotificationConfiguration,
    ) -> Result<NotificationConfiguration, Conflict> {
        match self.wiring {
            Some(Wiring { own, destination, .. }) => {
                notification::with(current, &self.own, &own.id, destination)
            }
            None => Ok(notification::without(current, &self.own)),
        }
    }

    fn statements(&self, bucket: &str) -> Vec<Value> {
        match self.wiring {
            Some(wiring) if wiring.attach => wiring.quarantine.statements(bucket),
            _ => Vec::new(),
        }
    }

    /// Whether the bucket could be brought there.
    async fn check(&self, bucket: &Bucket<'_>) -> Result<(), Problem> {
        self.notifications(&bucket.notifications().await?)?;
        if self.policies {
            let current = bucket.policy().await?;
            policy::merged(current.as_deref(), &self.sids, &self.statements(bucket.name))?;
        }
        Ok(())
    }

    /// Brings the bucket there. It is never held shut by the policy without being scanned.
    async fn reach(&self, bucket: &Bucket<'_>) -> Result<(), Problem> {
        let pauses =
            || ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(AGAIN);
        let notify = || async { self.reach_notifications(bucket).await };
        let protect = || async { self.reach_policy(bucket).await };
        if self.wiring.is_none() && self.policies {
            protect.retry(pauses()).when(Problem::passing).await?;
        }
        notify.retry(pauses()).when(Problem::passing).await?;
        if self.wiring.is_some() && self.policies {
            protect.retry(pauses()).when(Problem::passing).await?;
        }
        Ok(())
    }

    async fn reach_notifications(&self, bucket: &Bucket<'_>) -> Result<(), Problem> {
        let before = bucket.notifications().await?;
        let wanted = self.notifications(&before)?;
        if notification::same(&before, &wanted) {
            return Ok(());
        }
        bucket.put_notifications(wanted.clone()).await?;
        let after = bucket.notifications().await?;
        if !notification::same(&after, &self.notifications(&after)?) {
            return Err(Problem::Unsettled("notification configuration"));
        }
        if !notification::same(&after, &wanted) {
            tracing::warn!(bucket = bucket.name, "somebody else changed its notifications as well");
        }
        tracing::info!(
            bucket = bucket.name,
            wired = self.wiring.is_some(),
            "notifications written"
        );
        Ok(())
    }

    async fn reach_policy(&self, bucket: &Bucket<'_>) -> Result<(), Problem> {
        let before = bucket.policy().await?;
        let ours = self.statements(bucket.name);
        match policy::merged(before.as_deref(), &self.sids, &ours)? {
            Change::None => return Ok(()),
            Change::Put(text) => bucket.put_policy(text).await?,
            Change::Delete => bucket.delete_policy().await?,
        }
        let after = bucket.policy().await?;
        if !policy::settled(after.as_deref(), &self.sids, &ours)? {
            return Err(Problem::Unsettled("policy"));
        }
        if !policy::same_foreign(before.as_deref(), after.as_deref(), &self.sids)? {
            tracing::warn!(bucket = bucket.name, "somebody else changed its policy as well");
        }
        tracing::info!(bucket = bucket.name, attached = !ours.is_empty(), "policy written");
        Ok(())
    }
}
