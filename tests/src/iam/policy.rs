//! Policy documents, and what they say to a request: the policy language itself is [`iam_rs`]'s.
//!
//! Beside it stands what makes it fit for a proof. Elements, operators and condition keys that no
//! test here has tried are refused when a document is read, so that a policy with more in it is
//! not evaluated by guess; and each action of each statement is judged apart, so that it can be
//! said which of them a request used.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context as _, bail, ensure};
use iam_rs::{
    Arn, Context, Decision as Verdict, IAMPolicy, IAMRequest, PolicyEvaluator, Principal as Named,
    PrincipalId,
};
use serde_json::{Value, json};

/// What a statement may hold.
const ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

/// The condition operators that the tests below try.
const OPERATORS: [&str; 10] = [
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Bool",
    "ForAnyValue:StringEqualsIgnoreCase",
    "Null",
    "StringEquals",
    "StringLike",
    "StringNotEquals",
    "StringNotLike",
];

/// The condition keys that requests carry here where AWS would set them. A key that is missing
/// makes a negated operator true: another one than these would be guessed.
const KEYS: [&str; 12] = [
    "aws:PrincipalArn",
    "aws:ResourceAccount",
    "aws:SecureTransport",
    "aws:SourceArn",
    "events:detail-type",
    "events:source",
    "kms:ViaService",
    "s3:ExistingObjectTag/",
    "s3:prefix",
    "s3:RequestObjectTag/",
    "s3:RequestObjectTagKeys",
    "s3:x-amz-copy-source",
];

/// One action of one statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The statement's `Sid`.
    pub sid: String,
    /// The action, as the statement writes it.
    pub action: String,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of statement {}", self.action, self.sid)
    }
}

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The ARN of a role, whoever has assumed it, of a user, or of an account's root user.
    Arn(String),
    /// A service in its own name: `cloudfront.amazonaws.com`.
    Service(String),
    /// Somebody who did not sign the request.
    Anonymous,
}

impl Principal {
    /// In the words of [`iam_rs`], which has none for an unsigned request. It becomes a kind of
    /// principal that no policy here can name, so that only `*` is about it.
    fn named(&self) -> Named {
        match self {
            Self::Arn(arn) => Named::Aws(PrincipalId::String(arn.clone())),
            Self::Service(name) => Named::Service(PrincipalId::String(name.clone())),
            Self::Anonymous => Named::CanonicalUser(PrincipalId::String("0".repeat(64))),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(name) | Self::Service(name) => f.write_str(name),
            Self::Anonymous => f.write_str("an unsigned request"),
        }
    }
}

/// What is asked for: `principal` wants to do `action` on `resource`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks.
    pub principal: Principal,
    /// Service and action: `s3:GetObject`.
    pub action: String,
    /// The ARN of what it is done to.
    pub resource: String,
    /// Condition keys and their values.
    pub context: Context,
}

/// What policies say to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// These allow it, and nothing denies it.
    Allowed(BTreeSet<Grant>),
    /// These deny it, whatever allows it.
    Denied(BTreeSet<Grant>),
    /// Nothing allows it.
    NotAllowed,
}

/// The policies that hold for one principal, or for one resource.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    grant: Grant,
    allows: bool,
    evaluator: PolicyEvaluator,
}

impl Policies {
    /// Reads policy documents.
    ///
    /// # Errors
    ///
    /// One is malformed, or holds something that is not evaluated here.
    pub fn read(documents: &[Value]) -> anyhow::Result<Self> {
        let mut rules = Vec::new();
        for document in documents {
            ensure!(document["Version"] == "2012-10-17", "another policy language: {document}");
            for statement in list(&document["Statement"]) {
                let read = self::rules(statement);
                rules.extend(read.with_context(|| format!("in the statement {statement}"))?);
            }
        }
        let mut seen = BTreeSet::new();
        for Rule { grant, .. } in &rules {
            ensure!(seen.insert(grant), "there are two of {grant}");
        }
        Ok(Self { rules })
    }

    /// Reads the policy of a resource, whose statements say whom they are about.
    ///
    /// # Errors
    ///
    /// As [`Policies::read`]; or a statement does not say it.
    pub fn of_resource(document: &Value) -> anyhow::Result<Self> {
        for statement in list(&document["Statement"]) {
            ensure!(!statement["Principal"].is_null(), "it has no Principal: {statement}");
        }
        Self::read(std::slice::from_ref(document))
    }

    /// Everything that is allowed under some condition.
    #[must_use]
    pub fn grants(&self) -> BTreeSet<Grant> {
        let allowing = self.rules.iter().filter(|rule| rule.allows);
        allowing.map(|rule| rule.grant.clone()).collect()
    }

    /// The same policies without one grant.
    #[must_use]
    pub fn without(&self, grant: &Grant) -> Self {
        let others = self.rules.iter().filter(|rule| rule.grant != *grant);
        Self { rules: others.cloned().collect() }
    }

    /// What these policies say to `request`.
    ///
    /// # Errors
    ///
    /// The request names no valid resource.
    pub fn decide(&self, request: &Request) -> anyhow::Result<Decision> {
        let asked = || format!("asking for {} on {}", request.action, request.resource);
        let resource = Arn::parse(&request.resource).with_context(asked)?;
        let (principal, context) = (request.principal.named(), request.context.clone());
        let asks =
            IAMRequest::new_with_context(principal, request.action.clone(), resource, context);
        let (mut allowed, mut denied) = (BTreeSet::new(), BTreeSet::new());
        for rule in &self.rules {
            match rule.evaluator.evaluate(&asks).with_context(asked)?.decision {
                Verdict::Allow => allowed.insert(rule.grant.clone()),
                Verdict::Deny => denied.insert(rule.grant.clone()),
                Verdict::NotApplicable => continue,
            };
        }
        Ok(match (denied.is_empty(), allowed.is_empty()) {
            (false, _) => Decision::Denied(denied),
            (true, false) => Decision::Allowed(allowed),
            (true, true) => Decision::NotAllowed,
        })
    }
}

/// One for each action of a statement.
fn rules(statement: &Value) -> anyhow::Result<Vec<Rule>> {
    let elements = statement.as_object().context("it is no object")?;
    for element in elements.keys() {
        ensure!(ELEMENTS.contains(&element.as_str()), "{element} is not evaluated here");
    }
    for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
        ensure!(OPERATORS.contains(&operator.as_str()), "{operator} is not evaluated here");
        for (key, values) in keys.as_object().context("a condition without keys")? {
            let known =
                |known: &&str| key == known || known.ends_with('/') && key.starts_with(*known);
            ensure!(KEYS.iter().any(known), "{key} is not evaluated here");
            // AWS takes wildcards there, iam_rs does not.
            let wild = list(values).any(|value| value.to_string().contains(['*', '?']));
            ensure!(operator != "ArnNotEquals" || !wild, "{operator} with a wildcard");
        }
    }
    check_principal(&statement["Principal"])?;
    let allows = match statement["Effect"].as_str() {
        Some("Allow") => true,
        Some("Deny") => false,
        other => bail!("its effect is {other:?}"),
    };
    let sid = statement["Sid"].as_str().context("it has no Sid, which tests name it by")?;
    let mut rules = Vec::new();
    for action in list(&statement["Action"]) {
        let action = action.as_str().context("an action that is no text")?;
        let mut alone = statement.clone();
        alone["Action"] = json!(action);
        let policy = json!({"Version": "2012-10-17", "Statement": [alone]});
        let policy: IAMPolicy = serde_json::from_value(policy)?;
        let grant = Grant { sid: sid.to_owned(), action: action.to_owned() };
        rules.push(Rule { grant, allows, evaluator: PolicyEvaluator::with_policies(vec![policy]) });
    }
    ensure!(!rules.is_empty(), "it has no action");
    Ok(rules)
}

/// An error unless it is everybody, one role or user, or one service. What stands for several, as
/// an account does for all who are in it, is not evaluated here.
fn check_principal(principal: &Value) -> anyhow::Result<()> {
    let fine = match principal {
        Value::Null => true, // that of the identity which has the policy
        Value::String(all) => all == "*",
        Value::Object(kinds) => {
            kinds.len() == 1
                && kinds.iter().all(|(kind, name)| {
                    let name = name.as_str().unwrap_or_default();
                    let one = name.starts_with("arn:")
                        && (name.contains(":role/") || name.contains(":user/"));
                    !name.contains(['*', '?'])
                        && (kind == "AWS" && one || kind == "Service" && !name.is_empty())
                })
        }
        _ => false,
    };
    ensure!(fine, "the principal {principal} is not evaluated here");
    Ok(())
}

/// One value, or each of a list.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.iter(),
        Value::Null => [].iter(),
        one => std::slice::from_ref(one).iter(),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
