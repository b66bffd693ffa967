//! Packets that the kernel rewrites: listeners with `role: nat`.
//!
//! - `services`: from the configuration and what is known of its servers to what the kernel runs by (sans-IO)
//! - `again`: when to ask the kernel again for what it has refused
//! - `slices`: a change of many services, a few at a time
//! - `notes`: what an operator should know, though nothing is wrong
//! - `ways`: by which interfaces servers and clients are reached
//! - `stand_in`: listeners that this process serves as a proxy, because the kernel cannot
//! - here: one datapath for all of them, opened, kept up to date, and given up
//!
//! No packet ever waits for anything here. What the kernel runs by is pinned in a file system of its own, so it goes on when
//! this process ends, and whoever comes next takes it over: only a configuration without such listeners, or the operator,
//! takes it away.

mod again;
mod notes;
mod services;
mod slices;
mod stand_in;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use config::spec::{Bind, BindAddress, Engine, Listener, Role, Spec};
use config::{Mistake, Mistakes};
use kernel::{Claim, Counters, Datapath, Refusal, Service};

use again::Again;
pub use services::services;
pub use stand_in::in_force;

/// Where the kernel keeps what it runs by.
pub const PINS: &str = "/sys/fs/bpf/tidegate";

/// What the kernel does for us.
#[derive(Default)]
pub struct Nat {
    open: Option<Open>,
    /// The pins are this process's, as long as it has anything there.
    claim: Option<Claim>,
    /// What the kernel runs by.
    applied: Vec<Service>,
    /// What it would not run by, said once.
    refused: Option<Again>,
    /// Listeners that this process serves itself, and why.
    stand_ins: BTreeMap<String, String>,
    /// What the kernel has refused, so that this process stands in.
    hindered: Option<Refusal>,
    /// What went wrong with the last sweep, and when the program was put at interfaces that have come back, each said once.
    unswept: Option<Refusal>,
    unput: Option<Refusal>,
    /// What operators were told.
    notes: BTreeSet<String>,
}

struct Open {
    datapath: Datapath,
    interfaces: Vec<Box<str>>,
    /// Whether an earlier process has begun it.
    is_adopted: bool,
    /// Whether somebody has taken it away, which was said.
    is_gone: bool,
}

/// What a configuration needs of the kernel, looked at and opened, but without a service yet.
#[derive(Default)]
pub struct Plan {
    fresh: Option<Open>,
    /// The pins, where this process has not had them before.
    claim: Option<Claim>,
    is_wanted: bool,
    hindered: Option<Refusal>,
    /// Listeners that this process will serve itself, and why.
    pub stand_ins: BTreeMap<String, String>,
}

impl std::fmt::Debug for Nat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nat")
            .field("applied", &self.applied)
            .field("stand_ins", &self.stand_ins)
            .finish_non_exhaustive()
    }
}

impl Nat {
    /// Opens what a configuration needs, at the interfaces that it names. Nothing of what is there is taken away yet.
    ///
    /// # Errors
    /// What is missing, for each listener that cannot do without.
    pub fn plan(&mut self, spec: &Spec) -> Result<Plan, Vec<Mistake>> {
        let mut plan = Plan::default();
        let listeners: Vec<&Listener> = spec.listeners.iter().filter(|one| one.role == Role::Nat).collect();
        if listeners.is_empty() {
            return Ok(plan);
        }
        if let Some(refusal) = self.goes_on_as_proxy(&listeners) {
            return self.without_kernel(spec, refusal);
        }
        let named = listeners.iter().filter_map(|one| one.nat.as_ref()).flat_map(|nat| &nat.interfaces);
        let mut interfaces: Vec<Box<str>> = named.map(|name| name.as_str().into()).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        // Somebody may have taken away what this process had begun, and have begun something there since.
        let is_ours = self.is_in_force();
        let entries = spec.nat_connections.map_or(Datapath::ENTRIES, |count| 2 * count);
        let suits = |open: &Open| open.interfaces == interfaces && open.datapath.entries() == entries;
        if !is_ours || !self.open.as_ref().is_some_and(suits) {
            let claimed = match &self.claim {
                Some(claim) if claim.stands() => Ok(None),
                _ => Claim::take(Path::new(PINS), &interfaces).map(Some),
            };
            let is_adopted = self.open.is_none() && is_left();
            let opened = claimed.and_then(|claim| {
                plan.claim = claim;
                Datapath::open(Path::new(PINS), &interfaces, entries)
            });
            match opened {
                Ok(datapath) => plan.fresh = Some(Open { datapath, interfaces, is_adopted, is_gone: false }),
                Err(refusal) => return self.without_kernel(spec, &refusal),
            }
        }
        plan.is_wanted = true;
        // It would refuse the services of these families later, when sockets are bound that proxies need.
        let families: BTreeSet<bool> = listeners.iter().flat_map(|one| &one.binds).filter_map(is_v4).collect();
        let judged = match plan.fresh.as_ref().or(self.open.as_ref()) {
            Some(open) => families.into_iter().try_for_each(|is_v4| open.datapath.judge_forwarding(is_v4)),
            None => Ok(()),
        };
        if let Err(refusal) = judged {
            self.undo(plan);
            return self.without_kernel(spec, &refusal);
        }
        Ok(plan)
    }

    /// What can be done of a configuration that the kernel has refused: listeners that may are served by this process. Not so
    /// where it serves already: its connections would end.
    ///
    /// # Errors
    /// What is missing, for each listener that cannot do without the kernel.
    pub fn without_kernel(&self, spec: &Spec, refusal: &Refusal) -> Result<Plan, Vec<Mistake>> {
        let (mut plan, mut mistakes) = (Plan { hindered: Some(refusal.clone()), ..Plan::default() }, Vec::new());
        let is_serving = self.is_in_force();
        for listener in spec.listeners.iter().filter(|one| one.role == Role::Nat) {
            match stand_in::judge(listener, refusal, is_serving) {
                Ok(why) => _ = plan.stand_ins.insert(listener.name.clone(), why),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(plan) } else { Err(mistakes) }
    }

    /// Why this process has stood in for the kernel at one of these listeners: it goes on to, since connections would end if it did
    /// not, until one of them insists on the kernel.
    fn goes_on_as_proxy(&self, listeners: &[&Listener]) -> Option<&Refusal> {
        let may = listeners.iter().all(|one| is_auto(one));
        let does = listeners.iter().any(|one| self.stand_ins.contains_key(&one.name));
        self.hindered.as_ref().filter(|_| may && does)
    }

    /// Puts services in force by a plan.
    ///
    /// # Errors
    /// Why the kernel does not run by them; it goes on as before then.
    pub fn commit(&mut self, mut plan: Plan, services: Vec<Service>) -> Result<(), Refusal> {
        if !plan.is_wanted {
            self.give_up(!plan.stand_ins.is_empty())?;
        } else if let Some(open) = plan.fresh.as_mut().or(self.open.as_mut()) {
            if let Err(refusal) = open.datapath.apply(&services) {
                self.undo(plan);
                self.reapply();
                return Err(refusal);
            }
            if let Some(fresh) = plan.fresh {
                let at = fresh.interfaces.join("`, `");
                let before = if fresh.is_adopted { ", as an earlier process has left it" } else { "" };
                observe::log::info(format_args!("packets are rewritten inside the kernel at `{at}`{before}"));
                if let Some(copied) = fresh.datapath.copied() {
                    observe::log::info(format_args!(
                        "the table of connections has room for {} now, {} entries were copied, and for {} there was no room",
                        fresh.datapath.entries() / 2,
                        copied.entries,
                        copied.left_out
                    ));
                }
                if fresh.datapath.shares_ports() {
                    observe::log::warn(format_args!(
                        "the kernel keeps nearly all ports for connections of this host, which may meet those of clients: leave a thousand \
                         beside `net.ipv4.ip_local_port_range`"
                    ));
                }
                self.open = Some(fresh);
                if plan.claim.is_some() {
                    self.claim = plan.claim;
                }
            }
            self.applied = services;
            self.refused = None;
        }
        for (name, why) in &plan.stand_ins {
            if self.stand_ins.get(name) == Some(why) {
                observe::log::info(format_args!(
                    "listener `{name}` is still served by this process as a proxy: the kernel is asked at the next start, or with `engine: kernel`"
                ));
            } else {
                observe::log::warn(format_args!(
                    "listener `{name}` is served by this process as a proxy, not inside the kernel: {why}"
                ));
            }
        }
        self.stand_ins = plan.stand_ins;
        self.hindered = plan.hindered;
        Ok(())
    }

    /// Gives a plan up that will not be put in force: all is as it was, but for a table of connections of another size, which stays.
    pub fn undo(&mut self, plan: Plan) {
        let Some(fresh) = plan.fresh else { return };
        let is_resized = fresh.datapath.copied().is_some();
        if let Err(refusal) = fresh.datapath.withdraw() {
            observe::log::error(format_args!("what was begun inside the kernel stays: {refusal}"));
        }
        if is_resized {
            self.reapply();
        }
    }

    /// Runs by what is now known of servers, of all services but for those that a later call will come to. What the kernel refuses
    /// stays as it was, and is said once.
    pub fn steer(&mut self, services: Vec<Service>) {
        let Some(open) = &mut self.open else { return };
        // What was refused midway has left some of it behind.
        if services == self.applied && self.refused.is_none() {
            return;
        }
        let now = Instant::now();
        if self.refused.as_ref().is_some_and(|refused| !refused.allows(&services, now)) {
            return;
        }
        let slice = slices::next(&self.applied, &services);
        match open.datapath.apply(&slice) {
            Ok(()) => {
                self.applied = slice;
                self.refused = None;
            }
            Err(refusal) => {
                let (again, is_news) = Again::after(self.refused.take(), services, now);
                if is_news {
                    observe::log::error(format_args!("the kernel goes on with the servers that it had: {refusal}"));
                }
                self.refused = Some(again);
            }
        }
    }

    /// Says what an operator should know of a configuration that is in force from now on.
    pub fn remark(&mut self, spec: &Spec) {
        let mut notes = notes::notes(spec);
        notes.extend(ways::notes(spec));
        notes.difference(&self.notes).for_each(|note| observe::log::warn(format_args!("{note}")));
        self.notes = notes;
    }

    /// Puts the program at interfaces that have been removed and have come back.
    pub fn follow_links(&mut self) {
        let is_ours = self.is_in_force();
        let Some(open) = &mut self.open else { return };
        if !is_ours {
            if !std::mem::replace(&mut open.is_gone, true) {
                observe::log::error(format_args!(
                    "packets are no longer rewritten inside the kernel, because somebody has taken that away; a reload begins anew: {PINS}"
                ));
            }
            return;
        }
        // As long as one is not there, packets are rewritten at the others.
        let came_back = open.datapath.came_back().join("`, `");
        if came_back.is_empty() {
            return;
        }
        match Datapath::open(Path::new(PINS), &open.interfaces, open.datapath.entries()) {
            Ok(datapath) => {
                observe::log::info(format_args!(
                    "interfaces have come back, and packets are rewritten there again: `{came_back}`"
                ));
                open.datapath = datapath;
                self.unput = None;
                self.reapply();
            }
            Err(refusal) => {
                if self.unput.as_ref() != Some(&refusal) {
                    observe::log::error(format_args!(
                        "interfaces have come back, and packets are not rewritten there: {refusal}"
                    ));
                }
                self.unput = Some(refusal);
            }
        }
    }

    /// Takes away connections that have ended or were silent for too long.
    pub fn sweep(&mut self) {
        let Some(open) = &mut self.open else { return };
        let failed = open.datapath.sweep().err();
        if let Some(refusal) = failed.as_ref().filter(|refusal| self.unswept.as_ref() != Some(refusal)) {
            observe::log::error(format_args!("connections inside the kernel are not swept: {refusal}"));
        }
        self.unswept = failed;
    }

    /// What was counted since the kernel began, over all processes; nothing if it does nothing for us.
    pub fn counters(&self) -> Option<Counters> {
        self.open.as_ref()?.datapath.counters().ok()
    }

    /// What the kernel runs by.
    pub fn applied(&self) -> &[Service] {
        &self.applied
    }

    /// The interfaces at which packets are rewritten.
    pub fn interfaces(&self) -> &[Box<str>] {
        self.open.as_ref().map(|open| &open.interfaces[..]).unwrap_or_default()
    }

    /// The addresses of a listener whose packets the kernel rewrites; none of another.
    pub fn addresses(&self, listener: &Listener) -> Vec<String> {
        let is_ours = listener.role == Role::Nat && !self.stand_ins.contains_key(&listener.name);
        let address = |bind: &Bind| format!("{}/{}", bind.address, bind.transport.word());
        listener.binds.iter().filter(|_| is_ours).map(address).collect()
    }

    /// Who serves a listener of packets, in one word, and why it is not the kernel.
    pub fn engine_of(&self, listener: &str) -> (&'static str, Option<String>) {
        match self.stand_ins.get(listener) {
            Some(why) => ("proxy", Some(why.clone())),
            None if self.is_in_force() => ("kernel", None),
            None => ("none", Some(format!("somebody has taken that away, a reload begins anew: {PINS}"))),
        }
    }

    /// Listeners that this process serves itself, and why.
    pub fn stand_ins(&self) -> &BTreeMap<String, String> {
        &self.stand_ins
    }

    /// Whether the kernel does what this process has told it: somebody may have taken it away.
    pub fn is_in_force(&self) -> bool {
        self.open.is_some() && self.claim.as_ref().is_some_and(Claim::stands) && is_left()
    }

    /// Says what stays when the process ends.
    pub fn farewell(&self) {
        if self.is_in_force() && !self.applied.is_empty() {
            observe::log::info(format_args!(
                "packets are still rewritten inside the kernel, for the next process to take over; `tidegate nat release` ends it"
            ));
        }
    }

    /// Says what an earlier process has left, where nobody asks for it any more.
    pub fn look_around(&self) {
        let pins = Path::new(PINS);
        // What a process that runs has there is its own.
        if self.open.is_none() && kernel::is_left(pins) == Ok(true) && !kernel::is_claimed(pins) {
            observe::log::warn(format_args!(
                "an earlier process has left packets to be rewritten inside the kernel, and no listener asks for it: `tidegate nat \
                 release` ends it: {PINS}"
            ));
        }
    }

    /// Nothing is asked of the kernel any more. Proxies get no packets as long as it goes on with what another process has left;
    /// where there is none, that is not ours to take away.
    fn give_up(&mut self, for_proxies: bool) -> Result<(), Refusal> {
        let done = match &self.open {
            Some(open) if self.is_in_force() => open.datapath.release().map(|()| true),
            None if for_proxies => kernel::release(Path::new(PINS)),
            Some(_) | None => Ok(false),
        };
        match done {
            Ok(is_released) => {
                if is_released {
                    observe::log::info(format_args!("packets are no longer rewritten inside the kernel"));
                }
                (self.open, self.claim) = (None, None);
                self.applied.clear();
                self.refused = None;
            }
            Err(refusal) if for_proxies => return Err(refusal),
            // It stays ours, without a service from the next look at servers on, and the next reload tries again.
            Err(refusal) => {
                observe::log::error(format_args!("packets are still rewritten inside the kernel: {refusal}"));
            }
        }
        Ok(())
    }

    fn reapply(&mut self) {
        if !self.is_in_force() {
            return;
        }
        let Some(open) = &mut self.open else { return };
        let applied = open.datapath.recollect().and_then(|()| open.datapath.apply(&self.applied));
        // Whether packets are forwarded is looked at before anything is changed: all is as it was.
        if let Err(refusal) = applied
            && !matches!(refusal, Refusal::NotForwarding(_))
        {
            observe::log::error(format_args!("the kernel does not go on as before: {refusal}"));
        }
    }
}

/// What the routes of this host say against a configuration, if it is one for this host: if all interfaces that it names, and all of
/// its sources, are here.
pub fn warnings(spec: &Spec) -> Vec<String> {
    let listeners = || spec.listeners.iter().filter(|one| one.role == Role::Nat);
    let are_here = kernel::are_there(listeners().flat_map(ways::interfaces));
    let sources = listeners().flat_map(|one| &one.nat).flat_map(|nat| &nat.sources);
    if are_here && sources.into_iter().all(|ip| net::listen::is_delivered(*ip).unwrap_or(false)) {
        ways::notes(spec).into_iter().collect()
    } else {
        Vec::new()
    }
}

/// What keeps proxies from getting packets, at each listener that one should serve.
pub fn kept_back(spec: &Spec, refusal: &Refusal) -> Mistakes {
    let of = |listener: &Listener| {
        let name = &listener.name;
        let message = match refusal {
            Refusal::Unseen { .. } => format!("listener `{name}` might get no packets: {refusal}"),
            _ => format!(
                "listener `{name}` would get no packets: they are still rewritten inside the kernel, as another process has left it: \
                 {refusal}"
            ),
        };
        Mistake::new(listener.span.clone(), message)
    };
    Mistakes(spec.listeners.iter().filter(|one| one.role == Role::Nat).map(of).collect())
}

/// Takes away what a process has left in the kernel, for the operator.
pub fn release() -> ExitCode {
    match kernel::release(Path::new(PINS)) {
        Ok(true) => observe::log::info(format_args!("packets are no longer rewritten inside the kernel")),
        Ok(false) => observe::log::info(format_args!("no process has left anything: {PINS}")),
        Err(refusal) => {
            match refusal {
                Refusal::Unseen { .. } => observe::log::error(format_args!("{refusal}")),
                _ => observe::log::error(format_args!("packets are still rewritten inside the kernel: {refusal}")),
            }
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Whether somebody's program is there, this process's or an earlier one's; what cannot be seen is not known to be gone.
fn is_left() -> bool {
    kernel::is_left(Path::new(PINS)).unwrap_or(true)
}

/// The family of an address.
fn is_v4(bind: &Bind) -> Option<bool> {
    match bind.address {
        BindAddress::Ip(address) => Some(address.is_ipv4()),
        _ => None,
    }
}

/// Whether a listener may be served by this process where the kernel cannot.
fn is_auto(listener: &Listener) -> bool {
    listener.nat.as_ref().is_some_and(|nat| nat.engine == Engine::Auto)
}
