//! Starting: the command line, the configuration, the choice of a model, the limits of the listener.

mod command_line;
mod configuration;
mod listener;
mod model;
mod providers;
