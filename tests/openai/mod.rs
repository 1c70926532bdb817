//! OpenAI's own clients, for Python and JavaScript, drive the surface under `/v1`: the programs in this folder do what their users do,
//! and hold all that they get against the clients' own models.

mod document;
mod driver;
mod javascript;
mod model;
mod python;
mod through;
mod types;

use self::driver::Driver;
use self::model::Model;
