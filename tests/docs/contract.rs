//! The OpenAPI document: each body that it speaks of has an example, and each example is what its schema says. An
//! implementation of JSON Schema that is not ours says so.

use std::process::Stdio;

use tokio::process::Command;

const MISSING: &str = "the Python tools are missing: install Python 3 with its venv module (on Debian: \
    python3-venv), then `./scripts/prepare.sh` (./scripts/test.sh does)";
const PYTHON: &str = "tests/third_party/.venv/bin/python";
const SCRIPT: &str = "tests/docs/examples.py";
/// Examples that there are, at least: fewer, and they have got lost.
const EXAMPLES: usize = 100;

#[tokio::test]
async fn each_body_has_an_example_that_its_schema_allows() {
    let checked = Command::new(PYTHON)
        .args([SCRIPT, "docs/openapi.json"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect(MISSING);
    let told = String::from_utf8_lossy(&checked.stdout);
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{told}\n{complaints}");
    let examples: usize = told.trim().parse().unwrap();
    assert!(examples >= EXAMPLES, "{examples} examples are there");
}
