//! The page's files, embedded in the binary. `assets/README.md` says where each comes from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use bytes::Bytes;
use rust_embed::Embed;

use crate::http::encoding::gzip_small;

/// Bytes of the hash that go into an address.
const FINGERPRINT_BYTES: usize = 8;

#[derive(Embed)]
#[folder = "assets/"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
struct Files;

/// One file, as it is sent.
pub struct Asset {
    pub media_type: String,
    pub bytes: Bytes,
    /// Compressed, once for all.
    pub gzip: Bytes,
    /// The beginning of the contents' SHA-256, in hex.
    pub fingerprint: String,
    url: String,
}

static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let asset = |name: &str| {
        let file = Files::get(name)?;
        let hash = file.metadata.sha256_hash();
        let hash = &hash[..FINGERPRINT_BYTES];
        let fingerprint = hash.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let bytes = Bytes::from(file.data.into_owned());
        Some(Asset {
            media_type: file.metadata.mimetype().to_owned(),
            gzip: gzip_small(&bytes).into(),
            bytes,
            url: format!("/assets/{name}?v={fingerprint}"),
            fingerprint,
        })
    };
    Files::iter()
        .filter_map(|name| asset(&name).map(|asset| (name.into_owned(), asset)))
        .collect()
});

/// The file of this name.
pub fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.get(name)
}

/// The address of a file, for templates.
pub fn url(name: &str) -> &'static str {
    find(name).map_or("", |asset| &asset.url)
}

/// One of the pictures of `icons.svg`, by its id there. It says nothing to who cannot see it.
pub struct Icon(pub &'static str);

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, id) = (url("icons.svg"), self.0);
        write!(
            f,
            "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"{file}#{id}\"/></svg>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names in quotes behind `word` in the templates and the types.
    fn names(word: &str) -> Vec<String> {
        let folders = ["src/http/templates", "src/http/view"];
        let files = folders
            .iter()
            .flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let texts = files.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
        let mut names = Vec::new();
        for text in texts {
            let quoted = text
                .split(word)
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            names.extend(quoted.map(str::to_owned));
        }
        names
    }

    #[test]
    fn every_file_and_every_icon_that_is_named_is_there() {
        let sprite = find("icons.svg").unwrap();
        let sprite = String::from_utf8(sprite.bytes.to_vec()).unwrap();
        for icon in names("{{ Icon(\"") {
            assert!(sprite.contains(&format!("<symbol id=\"{icon}\"")), "{icon}");
        }
        for file in names("{{ assets::url(\"") {
            assert!(find(&file).is_some(), "{file}");
        }
    }
}
