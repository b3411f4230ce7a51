//! Merges our statements into a bucket policy and takes them out, by their ids; the others stay
//! what they are. Pure.

use serde_json::{Map, Value, json};

/// The largest bucket policy, in bytes (S3 user guide, "Bucket policies for Amazon S3").
pub const MAX_POLICY: usize = 20 * 1024;

/// Why a policy is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not what S3 gives.
    #[error("its policy cannot be read ({0}), so that it is left alone")]
    Form(String),
    /// There is no room.
    #[error(
        "its policy would have {0} bytes with our statements, and S3 takes {MAX_POLICY}; make the \
         policy shorter, exempt fewer principals, or deploy with QuarantinePolicy=none"
    )]
    TooLarge(usize),
}

/// What is to be done with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is as it shall be.
    None,
    /// It is to be replaced with this text.
    Put(String),
    /// Nothing is left of it.
    Delete,
}

struct Policy {
    document: Map<String, Value>,
    statements: Vec<Value>,
}

impl Policy {
    fn parse(text: Option<&str>) -> Result<Self, PolicyError> {
        let Some(text) = text else {
            let mut document = Map::new();
            document.insert("Version".into(), json!("2012-10-17"));
            return Ok(Self { document, statements: Vec::new() });
        };
        let form = |reason: &str| PolicyError::Form(reason.to_owned());
        let document: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| form(&error.to_string()))?;
        let statements = match document.get("Statement") {
            None => Vec::new(),
            Some(Value::Array(statements)) => statements.clone(),
            Some(one @ Value::Object(_)) => vec![one.clone()],
            Some(_) => return Err(form("its Statement is neither a list nor an object")),
        };
        Ok(Self { document, statements })
    }

    fn foreign(&self, sids: &[String]) -> Vec<Value> {
        self.statements.iter().filter(|statement| !is_ours(statement, sids)).cloned().collect()
    }
}

fn is_ours(statement: &Value, sids: &[String]) -> bool {
    statement["Sid"].as_str().is_some_and(|sid| sids.iter().any(|ours| ours == sid))
}

/// What makes of `current` the policy without statements of the ids `sids`, and with `ours` behind
/// the others.
///
/// # Errors
/// `current` is no policy, or the new one is too large.
pub fn merged(
    current: Option<&str>,
    sids: &[String],
    ours: &[Value],
) -> Result<Change, PolicyError> {
    let Policy { mut document, statements } = Policy::parse(current)?;
    let mut wanted: Vec<Value> =
        statements.iter().filter(|statement| !is_ours(statement, sids)).cloned().collect();
    wanted.extend(ours.iter().cloned());
    if wanted == statements {
        return Ok(Change::None);
    }
    if wanted.is_empty() {
        return Ok(Change::Delete);
    }
    document.insert("Statement".into(), wanted.into());
    let text = Value::from(document).to_string();
    if text.len() > MAX_POLICY && !ours.is_empty() {
        return Err(PolicyError::TooLarge(text.len()));
    }
    Ok(Change::Put(text))
}

/// Whether `current` holds exactly those of the statements `sids` that are among `ours`. S3 may
/// write a statement otherwise than it was sent, so its text is not compared.
///
/// # Errors
/// `current` is no policy.
pub fn settled(
    current: Option<&str>,
    sids: &[String],
    ours: &[Value],
) -> Result<bool, PolicyError> {
    let found = Policy::parse(current)?;
    let mut found: Vec<&Value> = found
        .statements
        .iter()
        .filter(|statement| is_ours(statement, sids))
        .map(|statement| &statement["Sid"])
        .collect();
    let mut wanted: Vec<&Value> = ours.iter().map(|statement| &statement["Sid"]).collect();
    found.sort_by_key(|sid| sid.as_str());
    wanted.sort_by_key(|sid| sid.as_str());
    Ok(found == wanted)
}

/// Whether the statements of others are the same in both.
///
/// # Errors
/// One of them is no policy.
pub fn same_foreign(
    one: Option<&str>,
    other: Option<&str>,
    sids: &[String],
) -> Result<bool, PolicyError> {
    Ok(Policy::parse(one)?.foreign(sids) == Policy::parse(other)?.foreign(sids))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREIGN: &str = r#"{"Version":"2008-10-17","Id":"theirs","Statement":[{"Sid":"TlsOnly","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}},{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/r"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/ü/*","Condition":{"NumericLessThan":{"s3:max-keys":10}}}]}"#;

    fn sids() -> Vec<String> {
        vec!["OursRead".into(), "OursTag".into()]
    }

    fn ours(version: u32) -> Vec<Value> {
        sids().iter().map(|sid| json!({ "Sid": sid, "Effect": "Deny", "V": version })).collect()
    }

    fn put(current: Option<&str>, ours: &[Value]) -> String {
        match merged(current, &sids(), ours).expect("it merges") {
            Change::Put(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn foreign_statements_survive_to_the_letter() {
        let added = put(Some(FOREIGN), &ours(1));
        let start = FOREIGN.strip_suffix("]}").expect("it ends so");
        assert!(added.starts_with(start), "{added}");
        let changed = put(Some(&added), &ours(2));
        assert!(changed.starts_with(start) && changed.contains(r#""V":2"#), "{changed}");
        assert!(!changed.contains(r#""V":1"#), "{changed}");
        assert_eq!(put(Some(&changed), &[]), FOREIGN);
        assert_eq!(merged(Some(FOREIGN), &sids(), &[]), Ok(Change::None));
    }

    #[test]
    fn a_policy_of_ours_alone_comes_and_goes() {
        let added = put(None, &ours(1));
        assert!(added.contains("2012-10-17"), "{added}");
        assert_eq!(merged(Some(&added), &sids(), &ours(1)), Ok(Change::None));
        assert_eq!(merged(Some(&added), &sids(), &[]), Ok(Change::Delete));
        assert_eq!(merged(None, &sids(), &[]), Ok(Change::None));
    }

    #[test]
    fn one_statement_without_a_list_is_kept() {
        let one = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}}"#;
        let added = put(Some(one), &ours(1));
        let removed = put(Some(&added), &[]);
        let expected =
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}]}"#;
        assert_eq!(removed, expected);
    }

    #[test]
    fn statements_of_another_stack_are_foreign() {
        let others = put(None, &[json!({ "Sid": "OursReadToo" })]);
        let both = put(Some(&others), &ours(1));
        assert_eq!(put(Some(&both), &[]), others);
    }

    #[test]
    fn what_is_no_policy_is_left_alone() {
        for text in ["", "[]", "{", r#"{"Statement":"all"}"#] {
            let error = merged(Some(text), &sids(), &ours(1)).expect_err(text);
            assert!(matches!(error, PolicyError::Form(_)), "{error}");
        }
    }

    #[test]
    fn a_policy_that_would_be_too_large_is_refused_and_can_still_be_left() {
        let long = json!({ "Statement": [{ "Sid": "a".repeat(MAX_POLICY) }] }).to_string();
        let error = merged(Some(&long), &sids(), &ours(1)).expect_err("too large");
        assert!(error.to_string().contains("S3 takes 20480"), "{error}");
        let mut document: Value = serde_json::from_str(&long).expect("JSON");
        document["Statement"].as_array_mut().expect("a list").extend(ours(1));
        assert_eq!(put(Some(&document.to_string()), &[]), long);
    }

    #[test]
    fn settled_looks_at_our_ids_only() {
        let added = put(Some(FOREIGN), &ours(1));
        assert_eq!(settled(Some(&added), &sids(), &ours(2)), Ok(true));
        assert_eq!(settled(Some(&added), &sids(), &[]), Ok(false));
        assert_eq!(settled(Some(FOREIGN), &sids(), &ours(1)), Ok(false));
        assert_eq!(settled(None, &sids(), &[]), Ok(true));
        assert_eq!(same_foreign(Some(&added), Some(FOREIGN), &sids()), Ok(true));
        assert_eq!(same_foreign(Some(&added), None, &sids()), Ok(false));
    }
}
