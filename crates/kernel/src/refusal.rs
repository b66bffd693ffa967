//! Why something is not in force: exactly what is missing, and the way out.

use std::fmt;
use std::path::PathBuf;

/// What the kernel, or the one who started the process, must still provide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The process lacks capabilities: their names.
    Capabilities(Vec<&'static str>),
    /// An interface does not exist in the process's network namespace.
    NoInterface(Box<str>),
    /// No interface is named.
    NoInterfaces,
    /// The folder of the pins is not in a BPF file system.
    NoBpffs(PathBuf),
    /// The folder of the pins could not be made, or not opened, by this user.
    NoFolder {
        /// Where it should be.
        pins: PathBuf,
        /// What the kernel said.
        said: String,
    },
    /// The kernel is older than anything that this works with.
    OldKernel(Box<str>),
    /// Packets are not forwarded where they arrive: the name for `sysctl`.
    NotForwarding(String),
    /// Nobody can say whether an earlier process has left something.
    Unseen {
        /// Where it would be.
        pins: PathBuf,
        /// What the kernel said.
        said: String,
    },
    /// A process that lives has the pins.
    Claimed {
        /// Where they are.
        pins: PathBuf,
        /// Who it is, in words.
        by: String,
    },
    /// A service is wrong in itself.
    Service {
        /// Its name.
        name: Box<str>,
        /// What is wrong.
        why: String,
    },
    /// A table would overflow.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// The kernel refused something: what was asked of it, and its answer.
    Kernel {
        /// What was asked.
        what: String,
        /// What it said.
        said: String,
    },
}

impl Refusal {
    /// Of a call that failed.
    pub(crate) fn of(what: impl Into<String>, error: &dyn std::error::Error) -> Refusal {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            // Some of aya's errors repeat their source, some hide it.
            let deeper = error.to_string();
            if !said.contains(&deeper) {
                said = format!("{said}: {deeper}");
            }
            source = error.source();
        }
        Refusal::Kernel { what: what.into(), said }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Capabilities(missing) => write!(
                out,
                "NAT in the kernel needs capabilities that this process lacks, give them to the service (`AmbientCapabilities=` of \
                 systemd, `setcap` of the file) or start it as root: {}",
                missing.join(", ")
            ),
            Refusal::NoInterface(name) => write!(out, "there is no interface of this name, see `ip link`: {name}"),
            Refusal::NoInterfaces => write!(out, "NAT in the kernel needs an interface at least"),
            Refusal::NoBpffs(path) => write!(
                out,
                "no BPF file system is mounted there, run `mount -t bpf bpf /sys/fs/bpf`: {}",
                path.display()
            ),
            Refusal::NoFolder { pins, said } => write!(
                out,
                "this process cannot have the folder of its pins, make it for its user as root with `install -d -o USER -m 700 {}`, and let \
                 that user in by `chmod 711` on the folders above it: {said}",
                pins.display()
            ),
            Refusal::OldKernel(release) => write!(out, "NAT in the kernel needs Linux 5.10 or newer: {release}"),
            Refusal::NotForwarding(key) => {
                write!(out, "packets that arrive are not forwarded, run `sysctl -w {key}=1`")
            }
            Refusal::Unseen { pins, said } => write!(
                out,
                "this process may not see whether an earlier one has left packets to be rewritten inside the kernel, let its user look \
                 into `{}` (`chmod o+x` on the folders above it): {said}",
                pins.display()
            ),
            Refusal::Claimed { pins, by } => write!(
                out,
                "a process that runs has `{}`, by which one at a time has packets rewritten, stop it, or change its configuration and \
                 reload that: {by}",
                pins.display()
            ),
            Refusal::Service { name, why } => write!(out, "service `{name}`: {why}"),
            Refusal::TooMany { what, count, most } => {
                write!(out, "too many {what} for the kernel's tables, at most {most}: {count}")
            }
            Refusal::Kernel { what, said } => write!(out, "the kernel did not {what}: {said}"),
        }
    }
}

impl std::error::Error for Refusal {}
