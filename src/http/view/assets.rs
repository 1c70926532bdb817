//! The page's files, embedded in the binary. `assets/README.md` says where each comes from.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_embed::{Embed, EmbeddedFile};

/// Bytes of the hash that go into an address.
const FINGERPRINT_BYTES: usize = 8;

#[derive(Embed)]
#[folder = "assets/"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
pub struct Assets;

/// The beginning of the file's SHA-256, in hex.
pub fn fingerprint(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    hash[..FINGERPRINT_BYTES]
        .iter()
        .fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The address of a file, for templates.
pub fn url(file: &str) -> Cow<'_, str> {
    match Assets::get(file) {
        Some(asset) => format!("/assets/{file}?v={}", fingerprint(&asset)).into(),
        None => format!("/assets/{file}").into(),
    }
}
