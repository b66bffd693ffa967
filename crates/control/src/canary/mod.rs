//! Canaries: what moves the candidate's share, and what survives a reload of it.

use std::sync::Arc;

use proxy::canary::State;
use proxy::snapshot::{Ending, Snapshot};

/// What a canary should do, as configured. Another plan under the same name is another canary: it begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The stable version's pool.
    pub stable: String,
    /// The candidate's pool.
    pub candidate: String,
    /// The candidate's share, in hundredths of a percent.
    pub share: u32,
}

/// All canaries, by listener, route and plan.
#[derive(Debug, Default)]
pub struct Canaries(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    listener: String,
    route: String,
    plan: Plan,
    state: Arc<State>,
}

impl Canaries {
    /// The state of a canary: the one that it had, if it is the same as before.
    pub fn state(&mut self, listener: &str, route: &str, plan: &Plan, workers: usize) -> Arc<State> {
        let same = |kept: &&Kept| kept.listener == listener && kept.route == route && kept.plan == *plan;
        if let Some(kept) = self.0.iter().find(same) {
            return Arc::clone(&kept.state);
        }
        let state = Arc::new(State::new(plan.share, workers));
        self.0.push(Kept {
            listener: listener.to_owned(),
            route: route.to_owned(),
            plan: plan.clone(),
            state: Arc::clone(&state),
        });
        state
    }

    /// Forgets the canaries that are not in force any more.
    pub fn keep_those_of(&mut self, snapshot: &Snapshot) {
        let routes = || snapshot.listeners.iter().flatten().flat_map(|listener| &listener.routes);
        let serves = |state: &Arc<State>| {
            routes().any(|route| matches!(&route.ending, Ending::Canary(canary) if Arc::ptr_eq(&canary.state, state)))
        };
        self.0.retain(|kept| serves(&kept.state));
    }
}
