//! Blocks that have been rendered, for whoever reads them next: colouring code is dear, and the same
//! answer is shown at its end, at each load of the page and on every device.

use std::sync::{Arc, LazyLock};

use moka::sync::Cache;
use sha2::{Digest, Sha256};

/// What all remembered blocks may take, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// About what a block costs besides its HTML: so that there is a limit on short ones, too.
const ENTRY_BYTES: usize = 192;

type Key = [u8; 32];

static RENDERED: LazyLock<Cache<Key, Arc<str>>> = LazyLock::new(|| {
    Cache::builder()
        .max_capacity(MAX_BYTES)
        .weigher(|_, html: &Arc<str>| bytes(html))
        .build()
});

/// What was made of `source` before, or what is made of it now.
pub(super) fn or_else(source: &str, make: impl FnOnce() -> String) -> String {
    let key: Key = Sha256::digest(source).into();
    RENDERED.get_with(key, || make().into()).to_string()
}

fn bytes(html: &str) -> u32 {
    u32::try_from(html.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_block_is_made_once() {
        let source = "only this test has this block";
        assert_eq!(or_else(source, || "first".to_owned()), "first");
        assert_eq!(or_else(source, || "second".to_owned()), "first");
    }
}
