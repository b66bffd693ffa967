//! What the system says about the process: the `process_*` families that every exporter has.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::page::Page;

/// The process's use of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    cpu: Duration,
    resident_bytes: u64,
    open_fds: u64,
    max_fds: Option<u64>,
    started: SystemTime,
}

impl Process {
    /// Asks the system; none if `/proc` does not answer. It reads files, so it is not for a worker.
    pub fn read(started: SystemTime) -> Option<Process> {
        let cpu = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        // The listing has a descriptor of its own, which is closed again.
        let open_fds = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
        Some(Process {
            cpu,
            resident_bytes: resident_bytes(&status)?,
            open_fds,
            max_fds: getrlimit(Resource::Nofile).current,
            started,
        })
    }

    /// Memory that is resident, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Descriptors that are open.
    pub fn open_fds(&self) -> u64 {
        self.open_fds
    }

    /// CPU time of all threads, in user space and in the kernel.
    pub fn cpu(&self) -> Duration {
        self.cpu
    }

    pub(super) fn write(&self, page: &mut Page) {
        let alone = |value: f64| [(Vec::new(), value)];
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.counter(
            "process_cpu_seconds_total",
            "CPU time of the process, user and system, in seconds.",
            alone(self.cpu.as_secs_f64()),
        );
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory of the process.",
            alone(self.resident_bytes as f64),
        );
        page.gauge("process_open_fds", "Open file descriptors.", alone(self.open_fds as f64));
        if let Some(max) = self.max_fds {
            page.gauge("process_max_fds", "How many file descriptors may be open.", alone(max as f64));
        }
        page.gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            alone(started.as_secs_f64()),
        );
    }
}

/// The value of `VmRSS:      1234 kB`, in bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let process = Process::read(SystemTime::now()).expect("Linux has /proc");
        assert!(process.resident_bytes() > 100_000 && process.open_fds() >= 3);
    }

    #[test]
    fn resident_memory_is_in_kibibytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
