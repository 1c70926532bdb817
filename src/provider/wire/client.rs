//! The one place that makes an HTTP client, with everything that holds for all its requests.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Proxy};
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::settings::{ConnectError, KeyHeader, ProviderSettings, WireFormat};
use crate::provider::{anthropic, gemini};

/// What is ready before the first request.
pub(super) struct Way {
    pub client: Client,
    pub base: Url,
    /// The key and the headers of the settings.
    pub headers: HeaderMap,
}

pub(super) fn open(settings: &ProviderSettings) -> Result<Way, ConnectError> {
    let base = base_url(settings)?;
    Ok(Way {
        client: client(settings, &base)?,
        headers: headers(settings)?,
        base,
    })
}

fn base_url(settings: &ProviderSettings) -> Result<Url, ConnectError> {
    let mut base = Url::parse(settings.base_url.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| ConnectError::BaseUrl {
            name: settings.name.clone(),
        })?;
    // The makers' own tools take the address without a version. Servers that speak OpenAI's format
    // may have none, so nothing is put there.
    let version = match settings.format {
        WireFormat::Anthropic => "/v1",
        WireFormat::Gemini => "/v1beta",
        WireFormat::OpenAi | WireFormat::OpenAiResponses | WireFormat::Ollama => "",
    };
    if base.path() == "/" && !version.is_empty() {
        base.set_path(version);
    }
    Ok(base)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that makes the client for the way to the models"
)]
fn client(settings: &ProviderSettings, base: &Url) -> Result<Client, ConnectError> {
    let mut builder = Client::builder();
    if let Some(address) = &settings.proxy {
        builder = builder.proxy(proxy(settings, address)?);
    } else if is_loopback(base) {
        // A proxy of the environment's knows the way to the world, not to this machine.
        builder = builder.no_proxy();
    }
    if let Some(pem) = &settings.ca_certificate {
        builder = trusting(builder, pem).ok_or_else(|| ConnectError::CaCertificate {
            name: settings.name.clone(),
        })?;
    }
    builder
        .user_agent(concat!("pollen/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.limits.connect)
        // A key must not follow a redirect to somebody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| match &settings.ca_certificate {
            // The bytes of a certificate are looked at only here.
            Some(_) => ConnectError::CaCertificate {
                name: settings.name.clone(),
            },
            None => ConnectError::Client {
                name: settings.name.clone(),
                reason: super::explain::chain(&error),
            },
        })
}

fn proxy(settings: &ProviderSettings, address: &str) -> Result<Proxy, ConnectError> {
    let wrong = || ConnectError::Proxy {
        name: settings.name.clone(),
    };
    let url = Url::parse(address.trim()).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    Proxy::all(url).map_err(|_| wrong())
}

fn trusting(builder: ClientBuilder, pem: &[u8]) -> Option<ClientBuilder> {
    let certificates = Certificate::from_pem_bundle(pem).ok()?;
    (!certificates.is_empty()).then(|| builder.tls_certs_merge(certificates))
}

fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn headers(settings: &ProviderSettings) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    if settings.format == WireFormat::Anthropic {
        headers.insert(
            HeaderName::from_static("anthropic-version"),
            HeaderValue::from_static(anthropic::VERSION),
        );
    }
    if let Some((name, value)) = key(settings)? {
        headers.insert(name, value);
    }
    for (name, value) in &settings.headers {
        let wrong = || ConnectError::Header {
            name: settings.name.clone(),
            header: name.clone(),
        };
        let key = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        headers.insert(key, secret(value).ok_or_else(wrong)?);
    }
    Ok(headers)
}

fn key(settings: &ProviderSettings) -> Result<Option<(HeaderName, HeaderValue)>, ConnectError> {
    let Some(key) = settings.key() else {
        return Ok(None);
    };
    let header = settings
        .key_header
        .clone()
        .unwrap_or_else(|| match settings.format {
            WireFormat::OpenAi | WireFormat::OpenAiResponses | WireFormat::Ollama => {
                KeyHeader::Bearer
            }
            WireFormat::Anthropic => KeyHeader::Named(anthropic::KEY_HEADER.to_owned()),
            WireFormat::Gemini => KeyHeader::Named(gemini::KEY_HEADER.to_owned()),
        });
    let (name, value) = match header {
        KeyHeader::Bearer => (AUTHORIZATION, secret(&format!("Bearer {key}"))),
        KeyHeader::Named(name) => {
            let parsed = HeaderName::try_from(name.as_str());
            let parsed = parsed.map_err(|_| ConnectError::Header {
                name: settings.name.clone(),
                header: name,
            })?;
            (parsed, secret(key))
        }
    };
    let value = value.ok_or_else(|| ConnectError::Key {
        name: settings.name.clone(),
    })?;
    Ok(Some((name, value)))
}

/// A header's value that no log shows.
fn secret(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl ProviderSettings {
    /// The key as it is sent, if there is one. A file that holds a key often ends in a line break.
    pub(super) fn key(&self) -> Option<&str> {
        let key = self.api_key.as_ref()?.expose_secret().trim();
        (!key.is_empty()).then_some(key)
    }
}
