//! Tunnels whose TLS ends at the proxy, by an authority of the owner's.

pub(crate) mod clients;
mod files;
mod filters;
mod inside;
mod parents;
mod quotas;
mod real;
pub(crate) mod servers;

use std::fs;

use testkit::{Authority, Client, ClientTls, Issued, Server, ServerTls, Tidegate, ok, program};

use super::port;
use crate::support::{BINARY, Place};
use crate::tls::Desk;

/// A proxy that reads what goes through it, and refuses a part of a site.
pub(super) const READING: &str = "
workers: 1
dns: { servers: ['127.0.0.1:9'], hosts: { a.test: 127.0.0.1, b.test: 127.0.0.1, www.bank.test: 127.0.0.1, far.bank.test: 192.0.2.1, two.test: 127.0.0.1 } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: forward
    egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }
    intercept: { ca: { cert: '@DIR/own/ca.pem', key: '@DIR/own/ca.key' }, except: ['*.bank.test'], upstream_ca: '@DIR/ca.pem'@MORE }
    routes:
      - { match: { path: /private/* }, deny: { status: 403, reason: not for you } }
      - to: origin
";

/// Servers' authority, the owner's own, and what clients need.
pub(super) struct Office {
    /// Where servers have their certificates from.
    pub(super) desk: Desk,
}

impl Office {
    pub(super) fn new() -> Office {
        let office = Office { desk: Desk::new() };
        office.own("own");
        office
    }

    /// Makes an authority for interception.
    fn own(&self, folder: &str) {
        let folder = self.desk.folder.path().join(folder).display().to_string();
        let output = program::output_of(BINARY, &["ca", "--out", &folder]);
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn start(&self, more: &str) -> Tidegate {
        self.desk.start(&READING.replace("@MORE", more), &[])
    }

    /// A client that trusts the owner's authority, and asks for this name.
    fn client(&self, name: &str) -> ClientTls {
        self.trusting("own", name)
    }

    fn trusting(&self, folder: &str, name: &str) -> ClientTls {
        let pem = fs::read_to_string(self.desk.folder.path().join(folder).join("ca.pem")).expect("an authority");
        ClientTls::trusting(&pem, name, &testkit::Wishes::default())
    }

    /// A client whose TLS ends at the proxy, in a tunnel to this server by that name.
    pub(super) fn inside(&self, tidegate: &Tidegate, host: &str, server: &dyn Place) -> Client {
        tunnel(tidegate, host, server).begin(&self.client(host)).expect("a client that trusts us")
    }

    /// A server of these names.
    pub(super) fn server(&self, names: &[&str]) -> (Server, Issued) {
        let issued = self.desk.authority.issue(names);
        (saying(&issued), issued)
    }
}

/// A server that answers with what it was asked for.
fn saying(issued: &Issued) -> Server {
    Server::secured(&ServerTls::new(issued), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(format!("{} {}", request.target, String::from_utf8_lossy(&request.body))));
        }
    })
}

fn tunnel(tidegate: &Tidegate, host: &str, server: &dyn Place) -> Client {
    Client::through(&tidegate.address("web"), &format!("{host}:{}", port(server)))
}

/// A request inside of a tunnel to this host.
fn page(host: &str, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// The line of a tunnel.
fn line_of_tunnel(tidegate: &Tidegate, host: &str) -> serde_json::Value {
    tidegate.log_line("a tunnel's line", |line| line["method"] == "CONNECT" && line["host"] == host)
}

/// An authority that nobody here knows.
fn stranger() -> Authority {
    Authority::new()
}
