//! Ports for servers that have to be told theirs.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that systems give out by themselves (Linux from 32768 on): nobody takes one of
/// these between the look at it and its use.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that nobody listens at, on the loopback address. Each call gives another.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two test programs at a time begin at different ones.
        let place = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + place % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
