//! Agents: named personas that an operator has set up. Their system prompt is a template.

use entity::Timestamp;

use super::parameters::Parameters;

/// The variables that a template may use.
pub const VARIABLES: [&str; 5] = ["date", "time", "user", "agent", "model"];

/// One persona.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agent {
    pub alias: String,
    pub name: String,
    pub description: String,
    /// A character or two, an emoji for instance.
    pub icon: String,
    /// `#rrggbb`.
    pub colour: String,
    pub system_prompt: String,
    /// What the agent says first; empty: nothing.
    pub greeting: String,
    /// The model that answers, by its id. None: the chat's own, else the server's default.
    pub model: Option<String>,
    pub parameters: Parameters,
    /// Questions to begin with.
    pub suggestions: Vec<String>,
}

/// What the variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub now: Timestamp,
    pub user: &'a str,
    pub agent: &'a str,
    pub model: &'a str,
}

impl Values<'_> {
    fn of(&self, variable: &str) -> Option<String> {
        let now = self.now.to_datetime();
        match variable {
            "date" => Some(now.format("%Y-%m-%d").to_string()),
            "time" => Some(now.format("%H:%M UTC").to_string()),
            "user" => Some(self.user.to_owned()),
            "agent" => Some(self.agent.to_owned()),
            "model" => Some(self.model.to_owned()),
            _ => None,
        }
    }
}

/// The template with values in the place of `{{variable}}`. What is no variable stays as it is.
#[must_use]
pub fn render(template: &str, values: &Values<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    for (text, variable) in pieces(template) {
        out.push_str(text);
        if let Some(variable) = variable {
            match values.of(variable.trim()) {
                Some(value) => out.push_str(&value),
                None => out.extend(["{{", variable, "}}"]),
            }
        }
    }
    out
}

/// The first thing between double braces that is no variable.
#[must_use]
pub fn unknown_variable(template: &str) -> Option<&str> {
    pieces(template)
        .into_iter()
        .filter_map(|(_, variable)| variable.map(str::trim))
        .find(|variable| !VARIABLES.contains(variable))
}

/// The template cut into texts, each with what stands between the double braces behind it.
fn pieces(template: &str) -> Vec<(&str, Option<&str>)> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once("{{") {
        let Some((variable, after)) = behind.split_once("}}") else {
            break;
        };
        pieces.push((text, Some(variable)));
        rest = after;
    }
    pieces.push((rest, None));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_nothing_else() {
        let values = Values {
            now: Timestamp(1_795_226_400_000),
            user: "{{date}}",
            agent: "Bee",
            model: "m",
        };
        let text = "{{ user }} asks {{agent}} on {{date}} at {{time}}: {{else}} {{ open";
        assert_eq!(
            render(text, &values),
            "{{date}} asks Bee on 2026-11-21 at 02:00 UTC: {{else}} {{ open"
        );
        assert_eq!(render("", &values), "");
        assert_eq!(unknown_variable(text), Some("else"));
        assert_eq!(unknown_variable("{{date}} {model}"), None);
    }
}
