//! What a program may say in the body that only Pollen knows: `pollen`, the counterpart of the object of that name in what
//! it gets. Libraries send a body as it is; headers may not come through.

use serde::Deserialize;
use serde_json::Value;

use crate::http::problem::Problem;

/// The parameter's name.
pub const OWN: &str = "pollen";
const KEY: &str = "idempotency_key";

/// The key under which a request has its effect once, where no header has it.
///
/// # Errors
/// If there is anything else in it.
pub fn key_in(body: &[u8]) -> Result<Option<String>, Problem> {
    #[derive(Deserialize)]
    struct Own {
        pollen: Option<Value>,
    }
    // What is wrong with the rest is told by whoever reads that.
    let own = serde_json::from_slice(body).ok();
    let Some(own) = own.and_then(|own: Own| own.pollen) else {
        return Ok(None);
    };
    let Value::Object(own) = own else {
        let detail = format!("`{OWN}` must be an object: `{{\"{KEY}\": \"…\"}}`");
        return Err(Problem::param(OWN, "invalid_type", detail));
    };
    let mut key = None;
    for (name, value) in own {
        let param = format!("{OWN}.{}", super::ids::quoted(&name));
        match value {
            Value::String(value) if name == KEY => key = Some(value),
            Value::Null if name == KEY => {}
            _ if name == KEY => {
                let detail = format!("`{param}` must be a string");
                return Err(Problem::param(param, "invalid_type", detail));
            }
            _ => {
                let detail = format!("`{param}` is not a parameter that this server knows");
                return Err(Problem::param(param, "unknown_parameter", detail));
            }
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<String>, Option<String>> {
        key_in(body.as_bytes()).map_err(|problem| problem.api.and_then(|api| api.param))
    }

    #[test]
    fn a_key_is_found_and_anything_else_is_named() {
        let key = Ok(Some("7f3a".to_owned()));
        let named = |param: &str| Err(Some(param.to_owned()));
        for (body, expected) in [
            (
                r#"{"input": "x", "pollen": {"idempotency_key": "7f3a"}}"#,
                key,
            ),
            (r#"{"pollen": {"idempotency_key": null}}"#, Ok(None)),
            (r#"{"pollen": null}"#, Ok(None)),
            (r#"{"input": "x"}"#, Ok(None)),
            ("", Ok(None)),
            (r#"{"pollen": 7}"#, named("pollen")),
            (
                r#"{"pollen": {"idempotency_key": 7}}"#,
                named("pollen.idempotency_key"),
            ),
            (r#"{"pollen": {"key": "x"}}"#, named("pollen.key")),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
    }
}
