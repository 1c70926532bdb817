//! The polling protocol as properties (P1 to P6), and under load.

mod crowd;
mod positions;
mod quick;
mod quiet;
mod readers;
