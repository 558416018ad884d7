//! Resource policies of streams and consumers: checked for their form, kept, and given back. They permit and deny nothing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::resource::ResourceRef;
use crate::stream::{account::Account, error::ApiError, json, validate::Violations};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutResourcePolicy {
    #[serde(flatten)]
    resource: ResourceRef,
    policy: Option<String>,
}

pub(super) fn put(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: PutResourcePolicy = json::parse(body)?;
    let mut violations = Violations::default();
    request.resource.check(&mut violations);
    if request.policy.is_none() {
        violations.null("policy");
    }
    violations.finish()?;
    let policy = request.policy.unwrap_or_default();
    check(&policy).map_err(|why| ApiError::invalid_argument(format!("The resource policy is not valid: {why}.")))?;
    let resource = request.resource.find(account)?;
    resource.change(account, |facts| {
        *facts.policy = Some(policy);
        Ok(())
    })?;
    Ok(Vec::new())
}

pub(super) fn get(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ResourceRef = json::parse(body)?;
    let mut violations = Violations::default();
    request.check(&mut violations);
    violations.finish()?;
    let resource = request.find(account)?;
    let policy = resource.policy().ok_or_else(|| no_policy(&resource.arn))?;
    json::answer(&json!({ "Policy": policy }))
}

pub(super) fn delete(account: &Account, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let request: ResourceRef = json::parse(body)?;
    let mut violations = Violations::default();
    request.check(&mut violations);
    violations.finish()?;
    let resource = request.find(account)?;
    resource.change(account, |facts| facts.policy.take().map(drop).ok_or_else(|| no_policy(&resource.arn)))?;
    Ok(Vec::new())
}

fn no_policy(arn: &str) -> ApiError {
    ApiError::not_found(format!("No resource policy found for resource ARN {arn}"))
}

/// A policy is one JSON object whose statements each say who may do what.
fn check(policy: &str) -> Result<(), String> {
    let policy: Value = serde_json::from_str(policy).map_err(|error| format!("it is not JSON ({error})"))?;
    let policy = policy.as_object().ok_or("it is not a JSON object")?;
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err("it has no Statement".to_owned()),
    };
    if statements.is_empty() {
        return Err("it has no Statement".to_owned());
    }
    for statement in statements {
        if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
            return Err("the Effect of a statement is neither Allow nor Deny".to_owned());
        }
        for member in ["Principal", "Action"] {
            if statement.get(member).is_none() && statement.get(format!("Not{member}")).is_none() {
                return Err(format!("a statement has no {member}"));
            }
        }
    }
    Ok(())
}
