//! What should be known about the agents, for the log: nothing here keeps a server from starting, but
//! a chat with such an agent would not be what its operator had in mind.

use crate::config::AgentConfig;
use crate::model::agent::{VARIABLES, unknown_variable};
use crate::provider::Catalogue;

/// Agents whose templates name no variable of ours, and agents whose model nobody has.
pub(super) fn warnings(agents: &[AgentConfig], catalogue: &Catalogue) -> Vec<String> {
    let mut warnings = Vec::new();
    for agent in agents {
        let alias = &agent.alias;
        let texts = [
            ("system_prompt", &agent.system_prompt),
            ("greeting", &agent.greeting),
        ];
        for (key, text) in texts {
            if let Some(variable) = unknown_variable(text) {
                warnings.push(format!(
                    "the agent {alias:?}: `{{{{{variable}}}}}` in its `{key}` is no variable and stays as it is; there are: {}",
                    VARIABLES.join(", ")
                ));
            }
        }
        // Asks nobody: a provider that lists its models may have any, and is believed.
        let resolved = agent.model.as_deref().map(|id| catalogue.resolve(Some(id)));
        if let Some(Err(unknown)) = resolved {
            warnings.push(format!(
                "the agent {alias:?}: {unknown}; no chat can take it on"
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, FileNeed, Layers};

    async fn warned(file: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pollen.toml");
        std::fs::write(&path, file).unwrap();
        let config = Config::load(&Layers {
            file: Some((path, FileNeed::Required)),
            ..Layers::default()
        })
        .unwrap();
        let catalogue = super::super::models::catalogue(&config).await.unwrap();
        warnings(&config.all_agents, &catalogue)
    }

    /// A provider of one model, which it is not asked for.
    const CLOSED: &str = "[[provider]]\nname = \"one\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
        [[model]]\nid = \"gpt\"\nprovider = \"one\"\n";

    #[tokio::test]
    async fn what_is_in_order_is_not_warned_of() {
        let agent = "[[agent]]\nalias = \"bee\"\nname = \"Bee\"\nmodel = \"gpt\"\ngreeting = \"{{ date }} {time}\"\n";
        assert_eq!(
            warned(&format!("{CLOSED}{agent}")).await,
            Vec::<String>::new()
        );
        // Whoever lists its models may have this one too.
        let agent = agent.replace("gpt", "one/newer");
        let open = CLOSED.replace("[[model]]", "list_models = true\n[[model]]");
        assert_eq!(
            warned(&format!("{open}{agent}")).await,
            Vec::<String>::new()
        );
    }

    #[tokio::test]
    async fn an_unknown_variable_and_an_unknown_model_are_warned_of() {
        let agent = "[[agent]]\nalias = \"bee\"\nname = \"Bee\"\nmodel = \"gtp\"\ngreeting = \"I am {{agent}}.\"\nsystem_prompt = \"It is {{ day }}.\"\n";
        let warned = warned(&format!("{CLOSED}{agent}")).await;
        let expected = [
            "the agent \"bee\": `{{day}}` in its `system_prompt` is no variable and stays as it is; there are: date, time, user, agent, model",
            "the agent \"bee\": the model \"gtp\" is not known; ",
        ];
        assert_eq!(warned.len(), expected.len(), "{warned:?}");
        for (warned, expected) in warned.iter().zip(expected) {
            assert!(warned.starts_with(expected), "{warned}");
        }
    }
}
