//! Reading the configuration again while the server runs. It is checked as a whole first, and what it leads to is made
//! beside what is in force: a mistake changes nothing.

use std::sync::Arc;

use metrics::counter;

use super::{
    App, StartError, agents, chat_settings, check_title_model, http_limits, limit_settings, models,
};
use crate::chat::Rules;
use crate::config::{Config, ConfigError, Layers, Reread};

/// Why another reading of the configuration changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl App {
    /// Reads the layers again and goes by their models, agents, tiers and limits from now on. Says in the log what has
    /// changed, what would need a new start, or why nothing has. May be dropped: then nothing has.
    pub async fn reload(&mut self, layers: &Layers) {
        let result = match self.try_reload(layers).await {
            Ok(()) => "done",
            Err(error) => {
                tracing::error!(%error, "the configuration was read again and is wrong: all stays as it was");
                "refused"
            }
        };
        counter!("pollen_reloads_total", "result" => result).increment(1);
    }

    async fn try_reload(&mut self, layers: &Layers) -> Result<(), ReloadError> {
        let Reread {
            config,
            changed,
            held,
        } = self.config.reread(Config::load(layers)?);
        let catalogue = Arc::new(models::catalogue(&config).await?);
        check_title_model(&config, &catalogue)?;
        let unknown = agents::warnings(&config.all_agents, &catalogue);
        for warning in config.warnings.iter().chain(&unknown) {
            tracing::warn!("{warning}");
        }
        if !held.is_empty() {
            let keys = held.join(", ");
            tracing::warn!(keys, "these have other values now, which need a new start");
        }
        // With the lists of its models, as far as they come within their time.
        catalogue.models().await;
        self.rates.change(limit_settings(&config));
        self.controls.change(http_limits(&config));
        self.chats.go_by(Rules {
            settings: chat_settings(&config),
            catalogue,
        });
        *self.config = config;
        let keys = changed.join(", ");
        tracing::info!(keys, "the configuration was read again");
        Ok(())
    }
}
