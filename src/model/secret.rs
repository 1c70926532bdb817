//! Secrets that the server hands out: tokens and links. They are shown once; what is kept is a digest, so
//! that whoever reads the database has none of them. A digest without salt is enough for what nobody can guess.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Random bytes in a secret.
const SECRET_BYTES: usize = 32;
/// Characters after the prefix by which people tell secrets apart.
const HEAD_CHARS: usize = 6;

/// A new secret, and what is kept of it.
pub struct NewSecret {
    /// To be shown once.
    pub text: String,
    pub head: String,
    pub hash: String,
}

/// The system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(#[from] getrandom::Error);

impl NewSecret {
    /// 256 random bits in hexadecimal behind a prefix: `pln_…`.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn generate(prefix: &str) -> Result<Self, NoRandomness> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let text = format!("{prefix}{}", hexadecimal(&bytes));
        Ok(Self {
            head: text[..prefix.len() + HEAD_CHARS].to_owned(),
            hash: hash(&text),
            text,
        })
    }
}

/// SHA-256 of a secret, in hexadecimal: what it is looked up by.
#[must_use]
pub fn hash(secret: &str) -> String {
    hexadecimal(&Sha256::digest(secret))
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_found_by_their_digest() {
        let (one, other) = (
            NewSecret::generate("pln_").unwrap(),
            NewSecret::generate("pln_").unwrap(),
        );
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), "pln_".len() + 2 * SECRET_BYTES);
        assert!(one.text.starts_with(&one.head));
        assert_eq!(one.hash, hash(&one.text));
        assert!(!one.hash.contains(&one.text[4..20]));
    }

    #[test]
    fn the_digest_is_sha_256() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc"), of_abc);
    }
}
