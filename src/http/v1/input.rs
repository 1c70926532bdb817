//! What was said, as a program sends it: one text, or items with a role each. Only text is taken.

use entity::chat_message::Role;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::chat::Said;
use crate::http::problem::Problem;

/// A question, or what was said up to it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of messages is taken")]
#[schema(as = ApiInput)]
pub enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// Something that was said.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ApiInputItem)]
pub struct Item {
    /// `message`, which it is without a type. What a model thought (`reasoning`) is passed over.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// `user`, `assistant`, `system` or `developer`.
    #[schema(example = "user")]
    role: Option<String>,
    content: Option<Content>,
}

/// One text, or parts of one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of parts is taken")]
#[schema(as = ApiContent)]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a text.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ApiContentPart)]
pub struct Part {
    /// `input_text`, `output_text`, `text` or `refusal`.
    #[serde(rename = "type")]
    #[schema(example = "input_text")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
}

/// What is asked, and what was said before.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub earlier: Vec<Said>,
    pub question: String,
}

impl Input {
    /// The question, which is the last thing that is said, and what goes before it. `name`: what the parameter is called.
    ///
    /// # Errors
    /// Names the item that cannot be taken.
    pub fn read(self, name: &str) -> Result<Asked, Problem> {
        let items = match self {
            Self::Text(question) => {
                let earlier = Vec::new();
                return Ok(Asked { earlier, question });
            }
            Self::Items(items) => items,
        };
        let mut said = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            said.extend(item.read(&format!("{name}[{place}]"))?);
        }
        match said.pop() {
            Some(Said {
                role: Role::User,
                text: question,
            }) => Ok(Asked {
                earlier: said,
                question,
            }),
            Some(_) => Err(Problem::param(
                name,
                "invalid_value",
                format!("`{name}`: the last message must be the user's: it is what is answered"),
            )),
            None => Err(Problem::param(
                name,
                "missing_required_parameter",
                format!("`{name}` has no message to answer"),
            )),
        }
    }
}

impl Item {
    /// What is said by it, where it says something. `at`: where it stands.
    ///
    /// # Errors
    /// Names the part that cannot be taken.
    pub fn read(self, at: &str) -> Result<Option<Said>, Problem> {
        match self.kind.as_deref() {
            None | Some("message") => {}
            Some("reasoning") => return Ok(None),
            Some(other) => {
                let detail = format!(
                    "`{at}.type`: items of the type {other:?} are not taken here; messages are"
                );
                return Err(Problem::param(
                    format!("{at}.type"),
                    "unsupported_value",
                    detail,
                ));
            }
        }
        let role = match self.role.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system" | "developer") => Role::System,
            other => {
                let (param, code, detail) = match other {
                    Some(role) => (
                        format!("{at}.role"),
                        "invalid_value",
                        format!(
                            "`{at}.role` is {role:?}; it must be `user`, `assistant`, `system` or `developer`"
                        ),
                    ),
                    None => (
                        format!("{at}.role"),
                        "missing_required_parameter",
                        format!("`{at}.role` is missing"),
                    ),
                };
                return Err(Problem::param(param, code, detail));
            }
        };
        let content = self.content.ok_or_else(|| {
            let detail = format!("`{at}.content` is missing");
            Problem::param(
                format!("{at}.content"),
                "missing_required_parameter",
                detail,
            )
        })?;
        let text = content.read(&format!("{at}.content"))?;
        Ok(Some(Said { role, text }))
    }
}

impl Content {
    /// The whole text.
    ///
    /// # Errors
    /// Names the part that is none.
    pub fn read(self, at: &str) -> Result<String, Problem> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts,
        };
        let mut texts = Vec::with_capacity(parts.len());
        for (place, part) in parts.into_iter().enumerate() {
            let text = match part.kind.as_str() {
                "input_text" | "output_text" | "text" => part.text,
                "refusal" => part.refusal,
                other => {
                    let detail = format!(
                        "`{at}[{place}].type`: parts of the type {other:?} are not taken here; only text is"
                    );
                    let param = format!("{at}[{place}].type");
                    return Err(Problem::param(param, "unsupported_value", detail));
                }
            };
            texts.push(text.ok_or_else(|| {
                let detail = format!("`{at}[{place}].text` is missing");
                let param = format!("{at}[{place}].text");
                Problem::param(param, "missing_required_parameter", detail)
            })?);
        }
        Ok(texts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(input: Value) -> Result<Asked, (Option<String>, Option<&'static str>)> {
        let input: Input = serde_json::from_value(input).unwrap();
        input.read("input").map_err(|problem| {
            let api = problem.api.unwrap();
            (api.param, api.code)
        })
    }

    #[test]
    fn the_last_message_is_the_question() {
        let asked = read(json!([
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "Ho", "annotations": []}]},
            {"role": "user", "content": "And?"},
        ]));
        let said = |role, text: &str| Said {
            role,
            text: text.to_owned(),
        };
        let earlier = vec![
            said(Role::System, "Be brief."),
            said(Role::User, "Hi"),
            said(Role::Assistant, "Ho"),
        ];
        let question = "And?".to_owned();
        assert_eq!(asked, Ok(Asked { earlier, question }));
    }

    #[test]
    fn what_is_not_taken_is_named_by_its_place() {
        let named = |param: &str, code| Err((Some(param.to_owned()), Some(code)));
        for (input, refused) in [
            (json!([]), named("input", "missing_required_parameter")),
            (
                json!([{"role": "assistant", "content": "Ho"}]),
                named("input", "invalid_value"),
            ),
            (
                json!([{"role": "tool", "content": "Ho"}]),
                named("input[0].role", "invalid_value"),
            ),
            (
                json!([{"role": "user"}]),
                named("input[0].content", "missing_required_parameter"),
            ),
            (
                json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]),
                named("input[0].content[0].type", "unsupported_value"),
            ),
            (
                json!([{"type": "function_call_output", "call_id": "1", "output": "x"}]),
                named("input[0].type", "unsupported_value"),
            ),
        ] {
            assert_eq!(read(input.clone()), refused, "{input}");
        }
    }
}
