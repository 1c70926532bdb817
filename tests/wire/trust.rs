//! A server with a certificate of one's own: trusted when its CA is named, and an explained
//! failure when it is not.

use std::sync::Arc;

use pollen::provider::{ProviderSettings, Verdict, WireFormat, connect};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{call, finished, hear, settings, text};
use crate::support::upstream::{delta, finish};

/// A CA and a server that it vouches for: the CA's PEM and the server's address.
async fn serve() -> (String, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let issuer = Issuer::new(ca, ca_key);
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust us hangs up here.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"}") {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let body = delta("safe") + &finish("stop");
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            });
        }
    });
    (ca_pem, format!("https://localhost:{port}/v1"))
}

#[tokio::test]
async fn a_ca_of_ones_own() {
    let (pem, base_url) = serve().await;
    let provider = connect(ProviderSettings {
        ca_certificate: Some(pem.into_bytes()),
        ..settings(WireFormat::OpenAi, base_url.clone())
    })
    .unwrap();
    let heard = hear(&*provider, call("m")).await;
    assert_eq!(
        heard.events,
        [text("safe"), finished("stop")],
        "{:?}",
        heard.error
    );

    let provider = connect(settings(WireFormat::OpenAi, base_url)).unwrap();
    let heard = hear(&*provider, call("m")).await;
    let (code, words) = heard.failure();
    assert_eq!(code, "provider_unreachable");
    assert!(
        words.contains("certificate that is not trusted here") && words.contains("(`ca_file`)"),
        "{words}"
    );
    assert_eq!(heard.error.unwrap().verdict, Verdict::Fail);
}
