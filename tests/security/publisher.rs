//! An application that publishes the keys of its JSON Web Tokens, and one that should: what it answers
//! can be anything. The keys are made anew in each run.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, RsaKeySize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A key that signs, and what is published of it.
#[derive(Clone)]
pub struct SigningKey {
    pub algorithm: Algorithm,
    pub public: Value,
    pub public_pem: String,
    key: EncodingKey,
}

impl SigningKey {
    /// A key for this algorithm, published under this id.
    pub fn new(id: &str, algorithm: Algorithm) -> Self {
        use Algorithm as A;
        let (pair, key, mut public) = match algorithm {
            A::ES256 | A::ES384 => {
                let (curve, kind) = if algorithm == A::ES256 {
                    ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256)
                } else {
                    ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384)
                };
                let pair = KeyPair::generate_for(kind).unwrap();
                let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
                let (x, y) = pair.public_key_raw()[1..].split_at(pair.public_key_raw().len() / 2);
                let public = json!({"kty": "EC", "crv": curve, "x": url64(x), "y": url64(y)});
                (pair, key, public)
            }
            A::EdDSA => {
                let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
                let key = EncodingKey::from_ed_der(pair.serialized_der());
                let x = url64(pair.public_key_raw());
                let public = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
                (pair, key, public)
            }
            _ => {
                let kind = &rcgen::PKCS_RSA_SHA256;
                let pair = KeyPair::generate_rsa_for(kind, RsaKeySize::_2048).unwrap();
                let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
                let public = Jwk::from_encoding_key(&key, algorithm).unwrap();
                (pair, key, serde_json::to_value(public).unwrap())
            }
        };
        public["kid"] = json!(id);
        public["use"] = json!("sig");
        Self {
            algorithm,
            public,
            public_pem: pair.public_key_pem(),
            key,
        }
    }

    /// A token with these claims that names this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.public["kid"].as_str(), claims)
    }

    /// One that names another, or none.
    pub fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = id.map(str::to_owned);
        self.sign_with(&header, claims)
    }

    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }

    /// What is published of it, with this said otherwise.
    pub fn published(&self, name: &str, value: Value) -> Value {
        let mut key = self.public.clone();
        key[name] = value;
        key
    }
}

pub fn url64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the application answers.
#[derive(Clone)]
pub enum Says {
    /// These keys.
    Keys(Vec<Value>),
    /// This, with this status.
    Answer(u16, String),
    /// That the keys are there.
    Redirect(String),
    /// A document without an end.
    Endless,
    /// Nothing, and keeps the connection.
    Nothing,
    /// Nothing, and hangs up.
    HangUp,
}

/// The application. It ends with this value.
pub struct Publisher {
    pub address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Publisher {
    pub async fn start(says: Says) -> Self {
        Self::start_by(says, None).await
    }

    /// By TLS, with the PEM of the CA that vouches for it.
    pub async fn start_safely(says: Says) -> (Self, String) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::start_by(says, Some(acceptor)).await, ca_pem)
    }

    async fn start_by(says: Says, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::<Mutex<usize>>::default());
        let (said, counted) = (Arc::clone(&says), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, says) = (tls.clone(), Arc::clone(&said));
                let asked = Arc::clone(&counted);
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            // A client that does not trust us hangs up here.
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, &says, &asked).await;
                            }
                        }
                        None => answer(stream, &says, &asked).await,
                    }
                });
            }
        });
        Self {
            address,
            says,
            asked,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    /// From now on it answers so.
    pub fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// From now on it publishes these.
    pub fn publishes(&self, keys: &[&SigningKey]) {
        self.says(keys_of(keys));
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

pub fn keys_of(keys: &[&SigningKey]) -> Says {
    Says::Keys(keys.iter().map(|key| key.public.clone()).collect())
}

async fn answer<S>(mut stream: S, says: &Mutex<Says>, asked: &Mutex<usize>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    *asked.lock().unwrap() += 1;
    let says = says.lock().unwrap().clone();
    let (status, more, body) = match says {
        Says::Keys(keys) => (200, String::new(), json!({"keys": keys}).to_string()),
        Says::Answer(status, body) => (status, String::new(), body),
        Says::Redirect(to) => (302, format!("location: {to}\r\n"), String::new()),
        Says::Endless => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
            let mut sent = stream.write_all(head).await;
            while sent.is_ok() {
                sent = stream.write_all(chunk.as_bytes()).await;
            }
            return;
        }
        Says::Nothing => return std::future::pending().await,
        Says::HangUp => return,
    };
    let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n{more}");
    write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}
