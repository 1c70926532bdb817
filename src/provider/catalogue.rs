//! The catalogue: which models there are, and who runs each of them.
//!
//! A model is there because the configuration names it, or because its provider lists it. Lists are
//! asked for at start and on demand, kept for a while, and missed without harm: a provider that cannot
//! be asked keeps the list that it gave last. A provider that lists its models is *open*: a name that
//! nobody knows is passed on to it, for the list may lag behind and some servers list little.
//!
//! Two things hold whatever the lists say. What a name means never depends on whether a list has come.
//! And a model that the configuration names keeps its price and tier under every other name that leads
//! to it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::stream::BoxStream;
use tokio::time::{Instant, timeout};

use super::measured::measured;
use super::{Call, DEMO_MODEL, Event, ListedModel, Provider, ProviderError};
use crate::model::parameters::Parameters;
use crate::model::spec::{ModelSpec, known_window};

/// How long somebody who asks for the models waits for a provider's list.
const LIST_PATIENCE: Duration = Duration::from_secs(3);
/// How long a provider that could not be asked is not asked again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// Models of one list at most; the rest is passed over.
const MAX_LISTED: usize = 2_000;

/// One provider of the catalogue.
pub struct Entry {
    pub provider: Arc<dyn Provider>,
    /// The models that it lists, and any other name, may be asked for.
    pub is_open: bool,
    /// Answers at once, all nodes together. None: as many as the nodes take.
    pub max_running: Option<u32>,
    listing: tokio::sync::Mutex<Listing>,
    listed: RwLock<Arc<Vec<ListedModel>>>,
}

#[derive(Default)]
struct Listing {
    asked_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Entry {
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, is_open: bool, max_running: Option<u32>) -> Self {
        Self {
            provider,
            is_open,
            max_running,
            listing: tokio::sync::Mutex::default(),
            listed: RwLock::default(),
        }
    }

    fn name(&self) -> &str {
        self.provider.name()
    }

    fn listed(&self) -> Arc<Vec<ListedModel>> {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&listed)
    }

    /// Asks for the list if the one that is known is too old. Whoever comes meanwhile waits for it.
    async fn refresh(&self, max_age: Duration) {
        let mut listing = self.listing.lock().await;
        let is_within = |at: Option<Instant>, age| at.is_some_and(|at| at.elapsed() < age);
        if is_within(listing.asked_at, max_age) || is_within(listing.failed_at, PAUSE_AFTER_FAILURE)
        {
            return;
        }
        let name = self.name();
        match timeout(LIST_PATIENCE, self.provider.models()).await {
            Ok(Ok(mut models)) => {
                models.truncate(MAX_LISTED);
                *self.listed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
                *listing = Listing {
                    asked_at: Some(Instant::now()),
                    failed_at: None,
                };
            }
            Ok(Err(error)) => {
                tracing::warn!(provider = name, %error, "the list of models could not be had");
                listing.failed_at = Some(Instant::now());
            }
            Err(_) => {
                tracing::warn!(provider = name, "the list of models did not come in time");
                listing.failed_at = Some(Instant::now());
            }
        }
    }
}

/// Whether two names mean the same model of a provider: Gemini takes a name with `models/` before it,
/// Ollama one without its tag, and some servers do not look at case.
#[must_use]
pub fn is_same_model(one: &str, other: &str) -> bool {
    fn bare(name: &str) -> &str {
        let name = name.trim();
        let name = name.strip_prefix("models/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name)
    }
    bare(one).eq_ignore_ascii_case(bare(other))
}

/// A model of which nothing is known but its name.
fn plain_spec(provider: &str, upstream: &str, id: &str) -> ModelSpec {
    ModelSpec {
        id: id.to_owned(),
        upstream: upstream.to_owned(),
        name: id.to_owned(),
        provider: provider.to_owned(),
        context_window: None,
        max_output: None,
        price: None,
        parameters: Parameters::default(),
        tier: None,
        cache_ttl: None,
    }
}

/// A model and who runs it.
#[derive(Clone)]
pub struct Route {
    pub provider: Arc<dyn Provider>,
    pub spec: Arc<ModelSpec>,
    /// The configuration names the model, or its provider lists it: it is not just what somebody has made up.
    is_known: bool,
}

/// Under which names a model is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub provider: String,
    pub model: String,
}

/// What stands for all models that nobody but whoever asked for them has named: of such names there is no end.
const OTHER: &str = "other";

impl Route {
    /// Under which names the model is counted.
    #[must_use]
    pub fn label(&self) -> Label {
        let model = if self.is_known { &self.spec.id } else { OTHER };
        Label {
            provider: self.spec.provider.clone(),
            model: model.to_owned(),
        }
    }

    /// Asks the provider, and counts what comes of it.
    #[must_use]
    pub fn answer(&self, call: Call) -> BoxStream<'static, Result<Event, ProviderError>> {
        measured(self.label(), self.provider.answer(call))
    }
}

/// There is no such model, as far as anybody here knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model {model:?} is not known; {}", spelled(known))]
pub struct UnknownModel {
    pub model: String,
    /// Some that are.
    pub known: Vec<String>,
}

/// Names of models that a complaint lists.
const KNOWN_IN_COMPLAINT: usize = 12;

fn spelled(known: &[String]) -> String {
    match known {
        [] => "none is".to_owned(),
        [one] => format!("{one:?} is"),
        many => {
            let names: Vec<String> = many.iter().map(|name| format!("{name:?}")).collect();
            format!("known are {}", names.join(", "))
        }
    }
}

/// The model that answers when nobody names one.
#[derive(Clone, Copy, Debug)]
pub enum DefaultModel<'a> {
    /// One that the configuration names, by its id.
    Configured(&'a str),
    /// Any other: the provider, and its own name for the model.
    Upstream(&'a str, &'a str),
}

/// All providers and models of this server.
pub struct Catalogue {
    entries: Vec<Entry>,
    configured: Vec<Arc<ModelSpec>>,
    default: Arc<ModelSpec>,
    refresh: Duration,
}

impl Catalogue {
    /// `configured`: where nothing is said of a model's context window, its provider's list counts, and
    /// then what is known of its family. `refresh`: how old a provider's list may become.
    #[must_use]
    pub fn new(
        entries: Vec<Entry>,
        configured: Vec<ModelSpec>,
        default: DefaultModel<'_>,
        refresh: Duration,
    ) -> Self {
        let configured: Vec<Arc<ModelSpec>> = configured.into_iter().map(Arc::new).collect();
        let (provider, upstream, known) = match default {
            DefaultModel::Configured(id) => {
                let known = configured.iter().find(|spec| spec.id == id);
                (DEMO_MODEL, id, known)
            }
            DefaultModel::Upstream(provider, upstream) => {
                let known = of_pair(&configured, provider, upstream);
                (provider, upstream, known)
            }
        };
        let default = known.cloned();
        let mut catalogue = Self {
            default: Arc::new(plain_spec(provider, upstream, upstream)),
            entries,
            configured,
            refresh,
        };
        catalogue.default = default.unwrap_or_else(|| {
            let id = catalogue.id_of(provider, upstream);
            Arc::new(plain_spec(provider, upstream, &id))
        });
        catalogue
    }

    /// One provider with one model, and any other name that somebody asks for.
    #[must_use]
    pub fn of(provider: Arc<dyn Provider>, model: &str) -> Self {
        let name = provider.name().to_owned();
        let entry = Entry::new(provider, true, None);
        let default = DefaultModel::Upstream(&name, model);
        Self::new(vec![entry], Vec::new(), default, Duration::MAX)
    }

    /// The model that answers when nobody names one.
    #[must_use]
    pub fn default_model(&self) -> &ModelSpec {
        &self.default
    }

    /// The providers, the default model's own first.
    #[must_use]
    pub fn providers(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.name() != self.default.provider);
        entries
    }

    /// How many answers each provider that has a limit may write at once.
    #[must_use]
    pub fn limits(&self) -> Vec<(String, u32)> {
        let entries = self.entries.iter();
        entries
            .filter_map(|entry| Some((entry.name().to_owned(), entry.max_running?)))
            .collect()
    }

    /// Who answers for a name; for none, the default model.
    ///
    /// A name is, in this order: the id of a configured model or of the default one; `provider/name`;
    /// a name of the default provider's own, if that one is open. What another one lists is found by its
    /// whole name alone, or it would depend on its list what a name means.
    ///
    /// # Errors
    /// If nobody does.
    pub fn resolve(&self, id: Option<&str>) -> Result<Route, UnknownModel> {
        let Some(id) = id else {
            return self.route(&self.default, true);
        };
        let mut named = self.configured.iter().chain([&self.default]);
        if let Some(spec) = named.find(|spec| spec.id == id) {
            return self.route(spec, true);
        }
        if let Some((entry, upstream)) = self.prefixed(id)
            && let Some((spec, is_known)) = self.model_of(entry, upstream)
        {
            return self.route(&spec, is_known);
        }
        let mut entries = self.entries.iter();
        let own = entries.find(|entry| entry.name() == self.default.provider);
        match own.and_then(|own| self.model_of(own, id)) {
            Some((spec, is_known)) => self.route(&spec, is_known),
            None => Err(self.unknown(id)),
        }
    }

    /// Under which names a model is counted that has answered.
    #[must_use]
    pub fn label(&self, model: Option<&str>) -> Label {
        match self.resolve(model) {
            Ok(route) => route.label(),
            Err(_) => Label {
                provider: OTHER.to_owned(),
                model: OTHER.to_owned(),
            },
        }
    }

    /// `provider/name`, taken apart.
    fn prefixed<'a>(&self, id: &'a str) -> Option<(&Entry, &'a str)> {
        let (name, upstream) = id.split_once('/')?;
        let entry = self.entries.iter().find(|entry| entry.name() == name)?;
        (!upstream.is_empty()).then_some((entry, upstream))
    }

    /// A provider's model by the provider's own name for it: as the configuration has it, as the
    /// provider lists it, or, of an open one, by nothing but its name. With it whether it is one of the first two.
    fn model_of(&self, entry: &Entry, upstream: &str) -> Option<(Arc<ModelSpec>, bool)> {
        let provider = entry.name();
        if let Some(spec) = of_pair(&self.configured, provider, upstream) {
            return Some((Arc::clone(spec), true));
        }
        if self.default.provider == provider && is_same_model(&self.default.upstream, upstream) {
            return Some((Arc::clone(&self.default), true));
        }
        if !entry.is_open {
            return None;
        }
        let listed = entry.listed();
        let listed = listed
            .iter()
            .find(|model| is_same_model(&model.id, upstream));
        let spec = match listed {
            Some(listed) => self.listed_spec(entry, listed),
            None => plain_spec(provider, upstream, &self.id_of(provider, upstream)),
        };
        Some((Arc::new(spec), listed.is_some()))
    }

    fn listed_spec(&self, entry: &Entry, listed: &ListedModel) -> ModelSpec {
        let id = self.id_of(entry.name(), &listed.id);
        ModelSpec {
            name: listed.name.clone().unwrap_or_else(|| listed.id.clone()),
            ..plain_spec(entry.name(), &listed.id, &id)
        }
    }

    /// What a model is called that the configuration gives no id: the provider's own name for it, with
    /// the provider before it where that name alone would mean another one.
    fn id_of(&self, provider: &str, upstream: &str) -> String {
        let is_taken = self.configured.iter().any(|spec| spec.id == upstream);
        if provider == self.default.provider && !is_taken && self.prefixed(upstream).is_none() {
            upstream.to_owned()
        } else {
            format!("{provider}/{upstream}")
        }
    }

    fn route(&self, spec: &Arc<ModelSpec>, is_known: bool) -> Result<Route, UnknownModel> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.name() == spec.provider);
        let entry = entry.ok_or_else(|| self.unknown(&spec.id))?;
        Ok(Route {
            provider: Arc::clone(&entry.provider),
            spec: completed(entry, spec),
            is_known,
        })
    }

    fn unknown(&self, id: &str) -> UnknownModel {
        let known = self.known();
        let ids = known.iter().map(|spec| spec.id.clone());
        UnknownModel {
            model: id.to_owned(),
            known: ids.take(KNOWN_IN_COMPLAINT).collect(),
        }
    }

    /// All models that are known now: the default one, the configured ones, those of the lists.
    #[must_use]
    pub fn known(&self) -> Vec<Arc<ModelSpec>> {
        let mut ids = HashSet::new();
        let named = [&self.default].into_iter().chain(&self.configured);
        let mut known: Vec<Arc<ModelSpec>> = named
            .filter(|spec| ids.insert(spec.id.clone()))
            .map(|spec| {
                let mut entries = self.entries.iter();
                let entry = entries.find(|entry| entry.name() == spec.provider);
                entry.map_or_else(|| Arc::clone(spec), |entry| completed(entry, spec))
            })
            .collect();
        for entry in self.providers().into_iter().filter(|entry| entry.is_open) {
            for listed in entry.listed().iter() {
                // One that the configuration names stands there already.
                let is_default = self.default.provider == entry.name()
                    && is_same_model(&self.default.upstream, &listed.id);
                if is_default || of_pair(&self.configured, entry.name(), &listed.id).is_some() {
                    continue;
                }
                let spec = Arc::new(self.listed_spec(entry, listed));
                if ids.insert(spec.id.clone()) {
                    known.push(completed(entry, &spec));
                }
            }
        }
        known
    }

    /// The same, once the lists that are too old have been asked for again.
    pub async fn models(&self) -> Vec<Arc<ModelSpec>> {
        let asked = self.entries.iter().filter(|entry| self.needs_list(entry));
        let refreshed = asked.map(|entry| entry.refresh(self.refresh));
        futures::future::join_all(refreshed).await;
        self.known()
    }

    /// An open provider's list is offered; of any other it tells the windows that nobody has set.
    fn needs_list(&self, entry: &Entry) -> bool {
        let is_short =
            |spec: &Arc<ModelSpec>| spec.provider == entry.name() && spec.context_window.is_none();
        let mut named = self.configured.iter().chain([&self.default]);
        entry.is_open || named.any(is_short)
    }
}

/// The configured model of a provider's by the provider's own name for it: the first, if several are.
fn of_pair<'a>(
    configured: &'a [Arc<ModelSpec>],
    provider: &str,
    upstream: &str,
) -> Option<&'a Arc<ModelSpec>> {
    let of_provider = || configured.iter().filter(|spec| spec.provider == provider);
    let exact = of_provider().find(|spec| spec.upstream == upstream);
    exact.or_else(|| of_provider().find(|spec| is_same_model(&spec.upstream, upstream)))
}

/// What nobody has set: as the provider lists it, or as is known of the model's family.
fn completed(entry: &Entry, spec: &Arc<ModelSpec>) -> Arc<ModelSpec> {
    if spec.context_window.is_some() && spec.max_output.is_some() {
        return Arc::clone(spec);
    }
    let listed = entry.listed();
    let listed = listed
        .iter()
        .find(|model| is_same_model(&model.id, &spec.upstream));
    let window = listed.and_then(|model| model.context_window);
    Arc::new(ModelSpec {
        context_window: spec.context_window.or(window).or_else(|| {
            (!entry.provider.reserves_window()).then(|| known_window(&spec.upstream))?
        }),
        max_output: spec
            .max_output
            .or_else(|| listed.and_then(|model| model.max_output)),
        ..ModelSpec::clone(spec)
    })
}
