//! What the harness's own child processes have in common: they say where they listen, and end when the harness does, for
//! then the pipe closes that is their standard input.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;

/// The line that the harness waits for.
pub fn say_address(address: SocketAddr) {
    #[expect(clippy::print_stdout, reason = "it is read by the harness")]
    {
        println!("http://{address}");
    }
}

pub async fn until_stdin_closes() {
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 16];
    while matches!(stdin.read(&mut nothing).await, Ok(1..)) {}
}
