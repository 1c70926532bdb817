//! Which provider answers: what the configuration says, or the first that is there.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use super::{Demo, DemoSettings, OpenAi, OpenAiSettings, Provider, TimeLimits};

const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const OPENAI_MODEL: &str = "gpt-4.1-mini";
/// What a server is asked for when it names no model: those that have one model do not look.
const UNNAMED_MODEL: &str = "default";
/// A local server answers at once or is not there.
const PROBE_LIMIT: Duration = Duration::from_millis(700);

/// What to choose from.
#[derive(Clone, Debug)]
pub struct Selection {
    pub choice: Choice,
    pub openai_key: SecretString,
    /// Empty: OpenAI itself.
    pub openai_base_url: String,
    /// Empty: chosen here.
    pub openai_model: String,
    pub ollama_base_url: String,
    /// Empty: the first that Ollama lists.
    pub ollama_model: String,
    pub demo: DemoSettings,
    pub limits: TimeLimits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Auto,
    OpenAi,
    Ollama,
    Demo,
}

/// The provider to use.
///
/// # Errors
/// If the HTTP client cannot be made (its TLS, its proxy settings).
pub async fn select(selection: Selection) -> Result<Arc<dyn Provider>, reqwest::Error> {
    let has_openai =
        !selection.openai_key.expose_secret().is_empty() || !selection.openai_base_url.is_empty();
    match selection.choice {
        Choice::Demo => Ok(Arc::new(Demo::new(selection.demo))),
        Choice::OpenAi => Ok(Arc::new(openai(selection).await?)),
        Choice::Auto if has_openai => Ok(Arc::new(openai(selection).await?)),
        Choice::Ollama => {
            let client = client(&selection.ollama_base_url, selection.limits)?;
            let model = first_ollama_model(&client, &selection).await;
            Ok(Arc::new(ollama(client, &selection, model)))
        }
        Choice::Auto => {
            let client = client(&selection.ollama_base_url, selection.limits)?;
            match first_ollama_model(&client, &selection).await {
                Some(model) => Ok(Arc::new(ollama(client, &selection, Some(model)))),
                None => Ok(Arc::new(Demo::new(selection.demo))),
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes the client for the way to the models"
)]
fn client(base_url: &str, limits: TimeLimits) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder();
    if is_loopback(base_url) {
        // A proxy of the environment's knows the way to the world, not to this machine.
        builder = builder.no_proxy();
    }
    builder
        .user_agent(concat!("pollen/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        // A key must not follow a redirect to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

fn is_loopback(base_url: &str) -> bool {
    match Url::parse(base_url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn openai(selection: Selection) -> Result<OpenAi, reqwest::Error> {
    let is_openai_itself = selection.openai_base_url.is_empty();
    let base_url = if is_openai_itself {
        OPENAI_BASE_URL.to_owned()
    } else {
        selection.openai_base_url
    };
    let client = client(&base_url, selection.limits)?;
    let api_key = Some(selection.openai_key).filter(|key| !key.expose_secret().is_empty());
    let model = if !selection.openai_model.is_empty() {
        selection.openai_model
    } else if is_openai_itself {
        OPENAI_MODEL.to_owned()
    } else {
        first_listed_model(&client, &base_url, api_key.as_ref())
            .await
            .unwrap_or_else(|| UNNAMED_MODEL.to_owned())
    };
    let settings = OpenAiSettings {
        name: "openai".to_owned(),
        base_url,
        api_key,
        model,
        limits: selection.limits,
    };
    Ok(OpenAi::new(client, settings))
}

fn ollama(client: Client, selection: &Selection, model: Option<String>) -> OpenAi {
    let settings = OpenAiSettings {
        name: "ollama".to_owned(),
        base_url: format!("{}/v1", selection.ollama_base_url.trim_end_matches('/')),
        api_key: None,
        model: model.unwrap_or_else(|| UNNAMED_MODEL.to_owned()),
        limits: selection.limits,
    };
    OpenAi::new(client, settings)
}

/// The model that a compatible server lists first: `GET {base_url}/models`.
async fn first_listed_model(
    client: &Client,
    base_url: &str,
    api_key: Option<&SecretString>,
) -> Option<String> {
    #[derive(Deserialize)]
    struct Listing {
        data: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        id: String,
    }
    let url = format!("{}/models", base_url.trim_end_matches('/'));
    let mut request = client.get(url).timeout(PROBE_LIMIT);
    if let Some(key) = api_key {
        request = request.bearer_auth(key.expose_secret());
    }
    let listing: Listing = request.send().await.ok()?.json().await.ok()?;
    Some(listing.data.into_iter().next()?.id)
}

/// The model that Ollama is to use, if there is an Ollama that has one: `GET /api/tags`.
async fn first_ollama_model(client: &Client, selection: &Selection) -> Option<String> {
    #[derive(Deserialize)]
    struct Listing {
        models: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        name: String,
    }
    let url = format!(
        "{}/api/tags",
        selection.ollama_base_url.trim_end_matches('/')
    );
    let answer = client.get(url).timeout(PROBE_LIMIT).send().await;
    let listing: Option<Listing> = match answer {
        Ok(answer) => answer.json().await.ok(),
        Err(_) => None,
    };
    if !selection.ollama_model.is_empty() {
        let is_there = listing.is_some() || selection.choice == Choice::Ollama;
        return is_there.then(|| selection.ollama_model.clone());
    }
    let first = listing?.models.into_iter().next();
    if first.is_none() {
        tracing::warn!("an Ollama answers, but has no model: `ollama pull` one");
    }
    Some(first?.name)
}
