//! What whoever runs the server sees of it: metrics, their own listener, traces, and the dashboards and alerts that are
//! made of them.

mod collector;
mod deploy;
mod exposition;
mod house;
mod listener;
mod metrics;
mod traces;
