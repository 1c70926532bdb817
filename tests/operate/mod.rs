//! The life of a server: it goes without anybody's noticing, reads its configuration again, is copied and brought back,
//! and says what is wrong with its set-up.

mod backup;
mod doctor;
mod reload;
mod rolling;
