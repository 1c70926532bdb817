//! The two ways to ask. Closed: each connection asks anew as soon as it is answered, which finds the most that a server
//! can do. Open: everybody asks when they are due, whether the server keeps up or not, which finds how long people
//! wait. Both read events straight from the system: the generator has one core, and has to be faster than the server.

mod closed;
mod connection;
pub mod http2;
mod open;
mod viewer;

pub use closed::{Closed, Measured, Target};
pub use connection::Protocol;
pub use open::{Open, Times, Waited};
