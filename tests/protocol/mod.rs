//! The polling protocol as properties (P1 to P6), and under load.

mod crowd;
mod held;
mod positions;
mod quick;
mod quiet;
mod readers;
mod unchanged;
