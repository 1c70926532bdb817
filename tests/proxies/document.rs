//! `docs/PROXIES.md`: its table is what the tests find, and its configurations are taken by their programs.

use std::fs;

use super::intermediary::{Kind, WITHOUT_SETPRIV};
use super::{APACHE, HAPROXY, NGINX, ROWS, Row, VARNISH};

const PATH: &str = "docs/PROXIES.md";

#[test]
fn the_table_of_the_document_is_what_the_tests_find() {
    const BEGIN: &str = "<!-- the table: made by a test -->\n";
    const END: &str = "<!-- the end of the table -->\n";
    let document = fs::read_to_string(PATH).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let head = "| between | how it is set | Pollen, by script | Pollen, in the browser | the stream's first words | the stream's end |\n\
        | --- | --- | --- | --- | --- | --- |\n";
    let rows = ROWS.map(
        |Row {
             between,
             set,
             stream,
         }| {
            let stream = stream.words();
            format!("| {between} | {set} | grows, whole | grows, whole | {stream} |\n")
        },
    );
    let made = format!("{head}{}", rows.concat());
    if std::env::var_os("POLLEN_UPDATE_DOCS").is_some() {
        fs::write(PATH, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert!(
            written == made,
            "{PATH} is out of date: run `POLLEN_UPDATE_DOCS=1 cargo test the_table_of_the_document`"
        );
    }
}

/// The block of the document in this language.
fn block(language: &str) -> String {
    let document = fs::read_to_string(PATH).unwrap();
    let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```\n").unwrap().0.to_owned()
}

/// Has a program read a configuration of the document, in what stands around it where it is used.
async fn read_by(kind: &Kind, arguments: &[&str], configuration: String) {
    let dir = tempfile::tempdir().unwrap();
    let (conf, dir_text) = (dir.path().join("conf"), dir.path().display().to_string());
    fs::write(&conf, configuration.replace("{dir}", &dir_text)).unwrap();
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("{dir}", &dir_text));
    let output = kind.command(dir.path()).args(arguments).arg(&conf).output();
    let output = output.await.expect(WITHOUT_SETPRIV);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", kind.program);
}

#[tokio::test]
async fn the_configurations_of_the_document_are_taken_by_their_programs() {
    let temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
        .map(|name| format!("{name}_temp_path {{dir}}/{name};"))
        .concat();
    let nginx = format!(
        "pid {{dir}}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\n{}}}\n",
        block("nginx")
    );
    read_by(&NGINX, &["-t", "-e", "{dir}/log", "-c"], nginx).await;
    read_by(&HAPROXY, &["-c", "-f"], block("haproxy")).await;
    read_by(&VARNISH, &["-C", "-n", "{dir}", "-f"], block("vcl")).await;
    let modules = ["mpm_event", "authz_core", "headers", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let apache = format!(
        "ServerRoot {{dir}}\nErrorLog {{dir}}/log\nListen 8081\n{modules}{}",
        block("apache")
    );
    read_by(&APACHE, &["-t", "-f"], apache).await;
}
