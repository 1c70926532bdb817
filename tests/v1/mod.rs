//! What programs of OpenAI's interface ask for.

mod completions;
mod threads;
