//! Namespaces with networks of their own, for what a loopback cannot show. Only root may make them.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tools::skip;

/// A namespace that vanishes with its owner, and all links of it.
#[derive(Debug)]
pub struct Namespace(String);

impl Namespace {
    /// A new one with a loopback; none, with the reason printed, where that is not allowed.
    pub fn try_new() -> Option<Namespace> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tidegate-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if !rustix::process::geteuid().is_root() || !ip(&["netns", "add", &name]) {
            skip("only root makes namespaces");
            return None;
        }
        let namespace = Namespace(name);
        namespace.ip(&["link", "set", "lo", "up"]);
        Some(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Lays a cable to another one that takes packets of this length, with an address at each end.
    ///
    /// # Panics
    /// The system does not do it.
    pub fn connect(&self, other: &Namespace, mtu: u32, ours: (&str, &str), theirs: (&str, &str)) {
        let made =
            ip(&["link", "add", ours.0, "netns", &self.0, "type", "veth", "peer", "name", theirs.0, "netns", &other.0]);
        assert!(made, "a cable");
        for (at, (device, address)) in [(self, ours), (other, theirs)] {
            at.ip(&["address", "add", address, "dev", device]);
            at.ip(&["link", "set", device, "mtu", &mtu.to_string(), "up"]);
        }
    }

    /// Runs a command of `ip` in it.
    ///
    /// # Panics
    /// It fails.
    pub fn ip(&self, arguments: &[&str]) {
        assert!(ip(&[&["-n", &self.0], arguments].concat()), "ip {arguments:?}");
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Works in it, on a thread of its own: what is opened there belongs to it, also afterwards.
    ///
    /// # Panics
    /// The work does.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let file = File::open(format!("/run/netns/{}", self.0)).expect("a namespace");
        thread::scope(|scope| {
            let inside = move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("a way in");
                work()
            };
            scope.spawn(inside).join().expect("the work is done")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
