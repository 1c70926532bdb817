//! Who may come in, out of the configuration: the ways, their keys, and what cookies are signed with.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use entity::Timestamp;
use secrecy::ExposeSecret;

use super::StartError;
use crate::config::{AuthMode, Config, JwtConfig};
use crate::http::{Gate, Gateway, Key};
use crate::identity::{Identity, IdentitySettings, JwtSettings, KeySource, Modes};
use crate::model::clock::{Clock, SystemClock};
use crate::model::secret::NewSecret;
use crate::provider::{ProviderSettings, TimeLimits, WireFormat};
use crate::store::Store;

/// The ending of the file with the key of cookies, which stands next to a SQLite database.
pub(super) const KEY_ENDING: &str = "key";
/// From the request for published keys to their first byte, and between two.
const KEYS_LIMIT: Duration = Duration::from_secs(5);

/// What the command line needs to see to users and tokens.
pub struct Access {
    pub store: Arc<Store>,
    pub identity: Identity,
    clock: Arc<dyn Clock>,
}

impl Access {
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Opens the database for a command, beside a server that may be running on it.
///
/// # Errors
/// If the database cannot be used.
pub async fn open_access(config: &Config) -> Result<Access, StartError> {
    let settings = super::store_settings(config);
    let store = Store::open_beside(&settings)
        .await
        .map_err(|source| StartError::Database {
            url: config.database_name(),
            source,
        })?;
    let (store, clock): (_, Arc<dyn Clock>) = (Arc::new(store), Arc::new(SystemClock));
    let identity = identity(config, Arc::clone(&store), Arc::clone(&clock))?;
    Ok(Access {
        store,
        identity,
        clock,
    })
}

pub(super) fn gate(
    config: &Config,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
) -> Result<Gate, StartError> {
    let gateway = &config.auth.proxy;
    Ok(Gate {
        identity: Arc::new(identity(config, store, clock)?),
        key: cookie_key(config)?,
        local_hosts: config.auth.local_hosts.0.clone(),
        other_sites: config.cors.origins.0.clone(),
        gateway: Gateway {
            user: gateway.user_header.clone(),
            name: gateway.name_header.clone(),
            groups: gateway.groups_header.clone(),
            tier: gateway.tier_header.clone(),
            sign_out_url: gateway.sign_out_url.clone(),
        },
    })
}

fn identity(
    config: &Config,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
) -> Result<Identity, StartError> {
    let auth = &config.auth;
    let has = |mode| auth.modes.0.contains(&mode);
    let settings = IdentitySettings {
        modes: Modes {
            local: has(AuthMode::Local),
            anonymous: has(AuthMode::Anonymous),
            token: has(AuthMode::Token),
            jwt: has(AuthMode::Jwt),
            proxy: has(AuthMode::Proxy),
        },
        idle: Duration::from_millis(auth.session_idle_ms),
        absolute: Duration::from_millis(auth.session_absolute_ms),
        recheck: Duration::from_millis(auth.recheck_ms),
        jwt: has(AuthMode::Jwt)
            .then(|| jwt(config, &auth.jwt))
            .transpose()?,
        admin_group: Some(auth.proxy.admin_group.clone()).filter(|group| !group.is_empty()),
    };
    Identity::new(store, clock, settings).map_err(StartError::PublishedKeys)
}

fn jwt(config: &Config, jwt: &JwtConfig) -> Result<JwtSettings, StartError> {
    let keys = if jwt.jwks_url.is_empty() {
        KeySource::Secret(jwt.secret.clone())
    } else {
        KeySource::Published {
            at: Box::new(other_server(config, "auth.jwt", &jwt.jwks_url)?),
            refresh: Duration::from_millis(jwt.refresh_ms),
        }
    };
    Ok(JwtSettings {
        keys,
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        leeway: Duration::from_millis(jwt.leeway_ms),
        required: jwt.required_claims.0.clone(),
        user_claim: jwt.user_claim.clone(),
        name_claim: jwt.name_claim.clone(),
        tier_claim: jwt.tier_claim.clone(),
        admin_claim: jwt.admin_claim.clone(),
    })
}

/// By the same proxy, and with the same certificates, as to the models.
pub(super) fn other_server(
    config: &Config,
    name: &str,
    url: &str,
) -> Result<ProviderSettings, StartError> {
    let upstream = &config.upstream;
    let path = &upstream.ca_file;
    let read = (!path.is_empty()).then(|| fs::read(path)).transpose();
    let ca_certificate = read.map_err(|source| StartError::CaFile {
        path: path.clone(),
        source,
    })?;
    Ok(ProviderSettings {
        name: name.to_owned(),
        format: WireFormat::OpenAi,
        base_url: url.to_owned(),
        api_key: None,
        key_header: None,
        headers: Vec::new(),
        query: Vec::new(),
        send_reasoning: false,
        limits: TimeLimits {
            connect: Duration::from_millis(upstream.connect_timeout_ms),
            first_byte: KEYS_LIMIT,
            stall: KEYS_LIMIT,
            total: Some(KEYS_LIMIT),
        },
        proxy: Some(upstream.proxy.clone()).filter(|proxy| !proxy.is_empty()),
        ca_certificate,
    })
}

/// Out of the configuration; with SQLite, else out of the file next to the database, which is made when
/// it is first needed.
fn cookie_key(config: &Config) -> Result<Key, StartError> {
    let secret = config.auth.secret.expose_secret();
    if !secret.is_empty() {
        return Ok(Key::derive_from(secret.as_bytes()));
    }
    let modes = &config.auth.modes.0;
    let without = [AuthMode::Local, AuthMode::Proxy];
    if modes.iter().all(|mode| without.contains(mode)) {
        // There are no cookies to sign.
        return Ok(Key::generate());
    }
    let path = key_file(config);
    let secret = kept_secret(&path).map_err(|source| StartError::CookieKey {
        path: path.display().to_string(),
        source,
    })?;
    Ok(Key::derive_from(secret.as_bytes()))
}

pub(super) fn key_file(config: &Config) -> PathBuf {
    let url = config.database_url.expose_secret();
    let file = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let file = file.split('?').next().unwrap_or(file);
    Path::new(file).with_extension(KEY_ENDING)
}

/// The secret in the file, which nobody else may read.
fn kept_secret(path: &Path) -> std::io::Result<String> {
    let fresh = NewSecret::generate("").map_err(std::io::Error::other)?;
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(mut file) => {
            file.write_all(fresh.text.as_bytes())?;
            file.sync_all()?;
            Ok(fresh.text)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let kept = fs::read_to_string(path)?;
            let kept = kept.trim();
            if kept.len() < fresh.text.len() {
                let reason = "it is cut short: delete it, which ends all sessions";
                return Err(std::io::Error::other(reason));
            }
            Ok(kept.to_owned())
        }
        Err(error) => Err(error),
    }
}
