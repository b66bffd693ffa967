//! Whether servers are well: active checks, and what control notes, logs and takes back of what workers see.
//!
//! - `judge`: from checks that pass and fail to a server that is up or down (sans-IO)
//! - `talk`: what a check says and expects, one file a protocol (sans-IO)
//! - `probe`: one check: a connection, a conversation, an end in time
//! - `prober`: checks of one address, again and again, for every pool that asks for them
//! - `panel`: the servers of a pool compared with one another
//! - `ward`: one server with what is known of it: since when, and why
//!
//! Everything here runs on control's thread, each prober as a task of its own: a slow check delays no other. Workers see
//! nothing but the standing of a server, which is atomic.

mod judge;
mod panel;
mod probe;
mod prober;
mod shared;
mod talk;
mod ward;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proxy::balance::outlier::most_ejected;
use proxy::pool::Server;

use crate::compile::Care;
use crate::registry::REMEMBERED;
use panel::Panel;
use prober::{Prober, Subject};
pub use ward::{Note, Transition, Ward};

/// The servers of the process and their checks, by identity: a reload keeps what it names again.
#[derive(Debug, Default)]
pub struct Health {
    /// By [`Server::slot`].
    wards: HashMap<usize, Rc<Ward>>,
    /// Those that have left, and when. Their servers are as they were if they come back in time.
    gone: HashMap<usize, (Rc<Ward>, Instant)>,
    probers: HashMap<Subject, Prober>,
    /// By the pool's key.
    panels: HashMap<usize, Panel>,
}

/// How often control looks at what workers have noticed.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Health {
    /// Watches the servers of these pools from now on, and no others. What is checked in the same way as before keeps its
    /// verdict; what is new is checked at once.
    pub fn watch(&mut self, pools: &[Care]) {
        let now = Instant::now();
        let begins = self.wards.is_empty();
        let mut wards = HashMap::new();
        let mut panels = HashMap::new();
        #[expect(clippy::mutable_key_type, reason = "of TLS only the place in memory is compared, which never changes")]
        let mut wanted: HashMap<Subject, Vec<Rc<Ward>>> = HashMap::new();
        for care in pools {
            if let (Some(server), Some(outlier)) = (care.pool.servers.first(), &care.outlier) {
                server.ejections().set_most(most_ejected(care.pool.servers.len(), outlier.max_ejected));
            }
            let mut of_pool = Vec::new();
            for server in &care.pool.servers {
                let known = self.wards.remove(&server.slot);
                let is_new = known.is_none();
                let ward = known.unwrap_or_else(|| match self.gone.remove(&server.slot) {
                    Some((before, _)) => Ward::again(server, care, &before),
                    None => Ward::new(server, care),
                });
                ward.adopt(care);
                if is_new && !begins {
                    ward.joined(now);
                }
                if let Some(health) = &care.health {
                    wanted.entry(Subject::of(server, health, &care.pool)).or_default().push(Rc::clone(&ward));
                } else {
                    ward.unchecked();
                }
                of_pool.push(Rc::clone(&ward));
                wards.insert(server.slot, ward);
            }
            if let Some(panel) = care.outlier.as_ref().and_then(|outlier| Panel::new(outlier, of_pool, now)) {
                let before = self.panels.remove(&care.pool.key);
                panels.insert(care.pool.key, panel.after(before));
            }
        }
        self.gone.retain(|_, (_, left)| now.saturating_duration_since(*left) < REMEMBERED);
        for (slot, ward) in std::mem::replace(&mut self.wards, wards) {
            ward.release(now);
            self.gone.insert(slot, (ward, now));
        }
        self.panels = panels;
        self.probers.retain(|subject, _| wanted.contains_key(subject));
        for (subject, wards) in wanted {
            match self.probers.get(&subject) {
                Some(prober) => prober.serve(wards),
                None => {
                    let prober = Prober::start(&subject, wards);
                    self.probers.insert(subject, prober);
                }
            }
        }
    }

    /// Looks at what workers and operators have done to servers since, and at what time has brought.
    pub fn look(&self) {
        let now = Instant::now();
        self.wards.values().for_each(|ward| ward.look(now));
    }

    /// Compares the servers of each pool whose time has come.
    pub fn compare(&mut self) {
        let now = Instant::now();
        self.panels.values_mut().for_each(|panel| panel.look(now));
    }

    /// What is known of a server.
    pub fn ward(&self, server: &Server) -> Option<&Ward> {
        self.wards.get(&server.slot).map(|ward| &**ward)
    }
}
