//! Servers and clients of another making, for flows.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};

use testkit::until;

/// A server's process, which ends with the test.
pub(super) struct Process(Child);

impl Process {
    /// Starts it, and waits until it listens.
    pub(super) fn start(command: &mut Command, address: &str) -> Process {
        let process = Process(command.spawn().expect("a server"));
        until("a server listens", || TcpStream::connect(address).is_ok());
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Some have children of their own, which end by this with them; others hear the one, or the other.
        for signal in ["-INT", "-TERM"] {
            let _ = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        }
        let _ = self.0.wait();
    }
}

/// A port that nobody has, for a server that cannot say which one it was given: whoever takes it first makes the test fail, not pass.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

pub(super) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n")
}
