//! The configuration itself: what it warns of, who may read its secrets, and whether its addresses fit together.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::Finding;
use crate::app::access::key_file;
use crate::config::{Config, Layers};

const CHECK: &str = "config";
/// The rights of a group and of all others.
const OTHERS: u32 = 0o077;

pub(super) fn look(config: &Config, layers: &Layers) -> Vec<Finding> {
    let file = layers.file.as_ref().map(|(path, _)| path.as_path());
    let file = file.filter(|path| path.exists());
    let named = match file {
        Some(path) => format!("{} and the environment can be read", path.display()),
        None => "there is no file, and the environment can be read".to_owned(),
    };
    let mut findings = vec![Finding::ok(CHECK, named)];
    findings.extend(config.warnings.iter().map(|warning| {
        Finding::warning(
            CHECK,
            warning.clone(),
            "Change it, or leave it if it is meant so.",
        )
    }));
    findings.extend(secrets(config, file));
    findings.extend(addresses(config));
    findings
}

/// Files with secrets in them that others may read.
fn secrets(config: &Config, file: Option<&Path>) -> Vec<Finding> {
    let key = key_file(config);
    let mut files: Vec<&Path> = config
        .provider
        .iter()
        .filter_map(|provider| provider.api_key_file.as_deref())
        .collect();
    files.extend(file.filter(|path| has_secret(path)));
    if config.auth.secret.expose_secret().is_empty() {
        files.push(&key);
    }
    let open = files.into_iter().filter_map(|path| {
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & OTHERS != 0).then(|| {
            let path = path.display();
            Finding::warning(
                CHECK,
                format!("{path} has a secret in it, and others than its owner may read it"),
                format!("chmod 600 {path}"),
            )
        })
    });
    open.collect()
}

/// Whether a key that is a secret has a value in the file.
fn has_secret(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| {
        let Some((key, value)) = line.split_once('=') else {
            return false;
        };
        let (key, value) = (key.trim(), value.trim());
        let is_secret =
            ["api_key", "secret"].contains(&key) || (key.ends_with("_url") && value.contains('@'));
        is_secret && value.len() > 2
    })
}

fn addresses(config: &Config) -> Vec<Finding> {
    let is_https = config.public_url.starts_with("https:");
    let has_proxies = !config.trusted_proxies.0.is_empty();
    let mut findings = Vec::new();
    if is_https && !has_proxies {
        findings.push(Finding::warning(
            CHECK,
            "`public_url` is https, so something stands in front, but `trusted_proxies` names nothing",
            "Name its address in `trusted_proxies`: else all people have one address, and share one limit.",
        ));
    }
    if !is_https && has_proxies {
        findings.push(Finding::warning(
            CHECK,
            "`trusted_proxies` names something in front, but `public_url` is not an https address",
            "Set `public_url` to the address that people use, if it is https: cookies are for HTTPS alone then.",
        ));
    }
    if !config.listen.ip().is_loopback() && config.public_url.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "others may reach {}, and `public_url` is empty",
                config.listen
            ),
            "Set `public_url` to the address that people use: links are made with it.",
        ));
    }
    findings
}
