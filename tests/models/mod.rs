//! Models, agents, commands, reasoning, the response cache and limits of cost, from the outside.

mod agents;
mod cache;
mod catalogue;
mod commands;
mod context;
mod formats;
mod limits;
mod providers;
mod reasoning;
