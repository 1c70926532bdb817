//! What lies in `deploy/`: each file is read by the tool that it is for, and the balancers are run before real nodes.

mod balancers;
mod compose;
mod files;
mod partitions;
mod scaling;

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

/// Runs a tool to its end. Without it the test fails and names the Debian package that has it.
async fn tool(program: &str, package: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", missing(program, package)))
}

fn missing(program: &str, package: &str) -> String {
    format!(
        "{program} is missing: install Debian's package `{package}` (./scripts/prepare.sh does)"
    )
}

/// All that a tool said, which it must have said content.
fn content(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// A file of the repository with other words in the places of some. Each has to be there.
fn with(path: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{path} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

/// A certificate for this name and its key, both PEM, which stand in `cert.pem`, `key.pem` and, together, `both.pem`.
fn write_certificate(dir: &Path, name: &str) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    std::fs::write(dir.join("cert.pem"), &certificate).unwrap();
    std::fs::write(dir.join("key.pem"), &key).unwrap();
    std::fs::write(dir.join("both.pem"), format!("{certificate}{key}")).unwrap();
    certificate
}
