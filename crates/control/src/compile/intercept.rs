//! How tunnels are read.

use std::sync::Arc;

use config::spec;
use proxy::destination::Names;
use proxy::intercept::Intercept;
use proxy::snapshot::Tls;

use super::matching;
use crate::certificates::Reader;
use crate::registry::Registry;

pub(super) fn intercept(
    name: &str,
    said: &spec::Intercept,
    reader: &Reader,
    names: Arc<Names>,
    registry: &mut Registry,
) -> Arc<Intercept> {
    let tls = Tls {
        terminator: reader.terminator.clone(),
        starttls: None,
        lets_plain: false,
        quic: None,
        early_data: false,
        patience: said.handshake_timeout,
        most: said.handshakes as usize,
        under_way: registry.handshakes(name),
    };
    let except = said.except.iter().map(matching::host).collect();
    let bypass = said.bypass.map(|lasts| (lasts, registry.pins(name)));
    let originators = Arc::clone(&reader.originators);
    Arc::new(Intercept { authority: Arc::clone(&reader.authority), tls, originators, except, names, bypass })
}
