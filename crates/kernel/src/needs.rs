//! What the machine and whoever started the process must provide, looked at before the kernel is asked: its own answers would
//! be numbers. Everything is read through the calling thread, whose network namespace counts.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::Refusal;
use crate::layout::Range;

/// Where the program is put: from Linux 6.6 on as a link that can be pinned, before as a filter of traffic control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A link of TCX.
    Tcx,
    /// A filter at the `clsact` discipline.
    Clsact,
}

/// All that can be known before the first call.
pub(crate) fn judge(pins: &Path, interfaces: &[Box<str>]) -> Result<Hook, Refusal> {
    let status = read("/proc/thread-self/status");
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(Refusal::Capabilities(missing));
    }
    let release = read("/proc/sys/kernel/osrelease");
    let hook = hook_of(release.trim()).ok_or_else(|| Refusal::OldKernel(release.trim().into()))?;
    if interfaces.is_empty() {
        return Err(Refusal::NoInterfaces);
    }
    let devices = read("/proc/thread-self/net/dev");
    if let Some(absent) = interfaces.iter().find(|name| !is_listed(&devices, name)) {
        return Err(Refusal::NoInterface(absent.clone()));
    }
    if !is_bpffs(&read("/proc/thread-self/mountinfo"), &existing(pins)) {
        return Err(Refusal::NoBpffs(pins.to_owned()));
    }
    Ok(hook)
}

/// Packets of this family must be forwarded where they arrive, or the kernel says no way for any of them.
pub(crate) fn judge_forwarding(interfaces: &[Box<str>], is_v4: bool) -> Result<(), Refusal> {
    let family = if is_v4 { "ipv4" } else { "ipv6" };
    for name in interfaces {
        if read(&format!("/proc/sys/net/{family}/conf/{name}/forwarding")).trim() == "1" {
            continue;
        }
        let all = if is_v4 { "net.ipv4.ip_forward".to_owned() } else { "net.ipv6.conf.all.forwarding".to_owned() };
        let is_all = read(&format!("/proc/sys/{}", all.replace('.', "/"))).trim() == "1";
        // `sysctl` takes slashes where a name has dots.
        let own = format!("net/{family}/conf/{name}/forwarding");
        return Err(Refusal::NotForwarding(if is_all { own } else { all }));
    }
    Ok(())
}

/// Whether interfaces of this kernel hold a program by themselves.
pub(crate) fn holds_filters() -> bool {
    hook_of(read("/proc/sys/kernel/osrelease").trim()) == Some(Hook::Clsact)
}

/// Every interface.
pub(crate) fn interfaces() -> Vec<Box<str>> {
    let devices = read("/proc/thread-self/net/dev");
    devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().into())).collect()
}

/// Whether there is an interface of each of these names.
pub fn are_there<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let devices = read("/proc/thread-self/net/dev");
    names.into_iter().all(|name| is_listed(&devices, name))
}

/// The number of each of these, in their order; none of one that is not there. One that was removed may come back under its name,
/// and is another one to the kernel.
pub(crate) fn numbers(interfaces: &[Box<str>]) -> Vec<Option<u32>> {
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok();
    interfaces.iter().map(|name| name_to_index(socket.as_ref()?, name).ok()).collect()
}

/// The ports that the kernel does not give to connections of its own, so that none of ours is one of its: the larger part on
/// either side of those.
pub(crate) fn free_ports() -> Range {
    range_beside(&read("/proc/sys/net/ipv4/ip_local_port_range"))
}

fn range_beside(local: &str) -> Range {
    let mut bounds = local.split_whitespace().filter_map(|bound| bound.parse::<u16>().ok());
    let (low, high) = (bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999));
    let (below, above) = (low.saturating_sub(UNPRIVILEGED), u16::MAX - high);
    match below.max(above) {
        // Nearly all ports are the kernel's: share them.
        count if count < 1024 => Range { first: UNPRIVILEGED, count: u16::MAX - UNPRIVILEGED, is_shared: true },
        count if count == below => Range { first: UNPRIVILEGED, count, is_shared: false },
        count => Range { first: high + 1, count, is_shared: false },
    }
}

const UNPRIVILEGED: u16 = 1024;

/// A file of the kernel's; what cannot be read says nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN stands for the newer two.
    let is_admin = has(21);
    [("CAP_BPF", 39, is_admin), ("CAP_NET_ADMIN", 12, false), ("CAP_PERFMON", 38, is_admin)]
        .into_iter()
        .filter(|(_, bit, otherwise)| !has(*bit) && !otherwise)
        .map(|(name, ..)| name)
        .collect()
}

/// 5.10 has `bpf_redirect_neigh`, 6.6 has TCX.
fn hook_of(release: &str) -> Option<Hook> {
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    match (numbers.next()?, numbers.next()?) {
        version if version >= (6, 6) => Some(Hook::Tcx),
        version if version >= (5, 10) => Some(Hook::Clsact),
        _ => None,
    }
}

fn is_listed(devices: &str, name: &str) -> bool {
    devices.lines().filter_map(|line| line.split_once(':')).any(|(listed, _)| listed.trim() == name)
}

/// The deepest folder on the way that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or_default()
}

/// Whether the mount that a path is in is a BPF file system: the last of the longest that it begins with.
fn is_bpffs(mounts: &str, path: &Path) -> bool {
    let mut found = ("", 0);
    for line in mounts.lines() {
        let (Some(point), Some((_, source))) = (line.split(' ').nth(4), line.split_once(" - ")) else { continue };
        let kind = source.split(' ').next().unwrap_or_default();
        if path.starts_with(point) && point.len() >= found.1 {
            found = (kind, point.len());
        }
    }
    found.0 == "bpf"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let of = |bits: u64| missing_capabilities(&format!("Name:\tx\nCapInh:\t0\nCapEff:\t{bits:016x}\nCapBnd:\t0\n"));
        assert_eq!(of(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(of(1 << 12 | 1 << 38), ["CAP_BPF"]);
        assert_eq!(of(1 << 12 | 1 << 21), [""; 0]);
        assert_eq!(of(1 << 12 | 1 << 38 | 1 << 39), [""; 0]);
        assert_eq!(of(1 << 21), ["CAP_NET_ADMIN"]);
    }

    #[test]
    fn the_kernels_version_decides_the_hook() {
        for (release, wanted) in [
            ("6.18.44-fc-v669", Some(Hook::Tcx)),
            ("6.6.0", Some(Hook::Tcx)),
            ("6.1.0-18-amd64", Some(Hook::Clsact)),
            ("5.10.0", Some(Hook::Clsact)),
            ("5.9.16", None),
            ("", None),
        ] {
            assert_eq!(hook_of(release), wanted, "{release}");
        }
    }

    #[test]
    fn ports_lie_beside_the_kernels_own() {
        for (local, wanted) in [
            ("32768\t60999\n", (1024, 31_744, false)),
            ("1024 20000", (20_001, 45_535, false)),
            ("2048 65535", (1024, 1024, false)),
            ("1024 65000", (1024, 64_511, true)),
            ("", (1024, 31_744, false)),
        ] {
            let range = range_beside(local);
            assert_eq!((range.first, range.count, range.is_shared), wanted, "{local}");
        }
    }

    #[test]
    fn the_mount_that_counts_is_the_deepest_and_last() {
        let mounts = "20 1 254:0 / / rw - ext4 /dev/vda rw\n21 20 0:5 / /sys rw - sysfs sysfs rw\n22 21 0:6 / /sys/fs/bpf rw,shared:1 - bpf bpf rw\n";
        assert!(is_bpffs(mounts, Path::new("/sys/fs/bpf/tidegate")));
        assert!(!is_bpffs(mounts, Path::new("/sys/fs/bpfx")));
        assert!(!is_bpffs(mounts, Path::new("/run/tidegate")));
        let covered = format!("{mounts}23 22 0:7 / /sys/fs/bpf rw - tmpfs tmpfs rw\n");
        assert!(!is_bpffs(&covered, Path::new("/sys/fs/bpf/tidegate")));
    }

    #[test]
    fn an_interface_is_found_by_its_whole_name() {
        let devices = "Inter-|   Receive\n face |bytes\n    lo: 0 0\n  eth0: 1 2\n";
        assert!(is_listed(devices, "eth0") && is_listed(devices, "lo"));
        assert!(!is_listed(devices, "eth") && !is_listed(devices, "eth01"));
    }
}
