//! Requests and tunnels by one way or another: where nobody can be connected to by one, the next that the route has.

use base::{Fault, Kind};

use super::{After, Exchange};
use crate::attempt;
use crate::destination;
use crate::intercept;
use crate::quota;
use crate::session::Session;
use crate::snapshot::{Arm, Ending, Listener, Route};
use crate::worker::Worker;

/// Makes a tunnel of what was asked for in another protocol than HTTP, if its route leads anywhere: there is no answer but that it does.
pub(crate) async fn pass(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
) -> Result<After, Fault> {
    quota::begin(x, route)?;
    let led;
    let arm = match &route.ending {
        Ending::Pools(arms) => choose(&session.worker, x, arms),
        Ending::Ways(ways) => {
            led = Box::pin(destination::lead(session, x, ways)).await?;
            &led
        }
        _ => return Err(Fault::client(Kind::Denied)),
    };
    tunnel(session, x, listener, route, arm).await
}

/// Attempts it by the ways that are left.
pub(super) async fn elsewhere(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    mut fault: Fault,
) -> Result<After, Fault> {
    loop {
        let arm = destination::lead_elsewhere(session, x, route, fault).await?;
        match attempt::attempt(session, x, route, &arm).await {
            Ok(upstream) => return attempt::deliver(session, x, listener, route, &arm, upstream).await,
            Err(other) => fault = other,
        }
    }
}

/// Makes a tunnel of it, by one way or another.
pub(super) async fn tunnel(
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
        let opened = match intercept::wanted(session, x, listener, arm).await? {
            Some(reads) => Box::pin(intercept::open(session, x, listener, route, arm, reads)).await.inspect(|after| {
                if matches!(after, After::Inside(_)) {
                    // It stands for as long as it is used, and its requests have places of their own.
                    (x.entry, x.permit) = (None, None);
                    quota::give_back(x.meter.take());
                }
            }),
            None => attempt::open(session, x, listener, route, arm).await,
        };
        match opened {
            Err(fault) if !x.client.answered => other = destination::lead_elsewhere(session, x, route, fault).await?,
            ended => return ended,
        }
        arm = &other;
    }
}

/// Draws one of several pools by its share.
pub(crate) fn choose<'a>(worker: &Worker, x: &mut Exchange, arms: &'a [Arm]) -> &'a Arm {
    let number = if arms.len() == 1 {
        0
    } else {
        let drawn = worker.random.borrow_mut().u32(0..10_000);
        arms.iter().position(|arm| drawn < arm.up_to).unwrap_or(arms.len() - 1)
    };
    x.notes.arm = Some(number);
    &arms[number]
}
