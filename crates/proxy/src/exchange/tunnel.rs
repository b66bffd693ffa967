//! A request for a tunnel.

use base::{Fault, Kind};

use super::{After, Exchange};
use crate::session::Session;
use crate::snapshot::{Arm, Listener, Route};
use crate::{attempt, destination, intercept};

/// Makes a tunnel of it, by one way or another.
pub(crate) async fn tunnel(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
) -> Result<After, Fault> {
    let mut other;
    let mut arm = arm;
    loop {
        if !arm.pool.takes_tunnels() {
            x.notes.reason = "a pool that speaks TLS or HTTP/2 by itself takes no tunnels";
            return Err(Fault::client(Kind::Denied));
        }
        let opened = match intercept::wanted(x, listener) {
            Some(intercept) => Box::pin(intercept::open(session, x, listener, route, arm, intercept)).await,
            None => attempt::open(session, x, listener, route, arm).await,
        };
        match opened {
            Err(fault) if !x.client.answered => other = destination::lead_elsewhere(session, x, route, fault).await?,
            ended => return ended,
        }
        arm = &other;
    }
}
