//! What becomes of a response's content on its way, once its head is what the client will see.

use wire::grpc::Form;
use wire::{Framing, Version};

use crate::exchange::Exchange;
use crate::policy::{Client, Compress, grpc_web};
use crate::relay::{Encoders, Transform};
use crate::session::Session;
use crate::snapshot::Route;

/// The change of the content that follows, if there is one: the head says so already. `arrived` is how it came.
pub(super) fn reshape(session: &Session, x: &mut Exchange, route: &Route, arrived: Framing) -> Option<Transform> {
    if let Some(wanted @ (Form::Web | Form::WebText)) = x.facts.call.filter(|_| route.grpc_web) {
        return grpc_web::backwards(&mut x.response, wanted).filter(|_| arrived != Framing::None);
    }
    let compress = route.compress.as_ref()?;
    let client = Client { wish: x.facts.wish, version: x.client.version };
    let recipe = compress.choose(client, &x.request, &mut x.response)?;
    if arrived == Framing::None {
        // The answer to a HEAD.
        Compress::coded(&mut x.response, recipe);
        return None;
    }
    let encoder = Encoders::lend(&session.worker, recipe, compress.at_once)?;
    Compress::coded(&mut x.response, recipe);
    Some(Transform::Compress(encoder))
}

/// How content goes on whose length nobody knows any more.
pub(super) fn framing(client: Version) -> Framing {
    if client == Version::H10 { Framing::UntilClose } else { Framing::Unknown }
}
