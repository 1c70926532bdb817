//! What is known of whoever asks. It is gathered on the way in and kept with the request, as one value: each more
//! would cost every poll a place of its own.

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap};

use super::extract::Form;
use super::identify::Identified;
use super::peer::ClientAddress;
use super::v1;

#[derive(Clone)]
pub(super) struct Visitor {
    pub client: ClientAddress,
    /// In which form they want their answer.
    pub form: Form,
    /// What finds out who it is. None: nobody may ask so far.
    pub identified: Option<Identified>,
}

impl Visitor {
    pub fn new(client: ClientAddress, headers: &HeaderMap) -> Self {
        Self {
            client,
            form: Form::of(headers),
            identified: None,
        }
    }

    /// Whoever asks by this request. One that came over no connection, as those of tests, comes from nowhere.
    pub fn of(request: &mut Request) -> &mut Self {
        if request.extensions().get::<Self>().is_none() {
            let visitor = Self::new(ClientAddress::UNKNOWN, request.headers());
            request.extensions_mut().insert(visitor);
        }
        let is_api = v1::is_here(request.uri().path());
        let nobody = || Self::new(ClientAddress::UNKNOWN, &HeaderMap::new());
        let visitor = request.extensions_mut().get_or_insert_with(nobody);
        if is_api {
            // There is nothing to be seen there, whoever looks.
            visitor.form = Form::Json;
        }
        visitor
    }

    /// What finds out who it is.
    pub fn identified(extensions: &Extensions) -> Option<&Identified> {
        extensions.get::<Self>()?.identified.as_ref()
    }
}
