//! TLS with clients and with servers.

pub(crate) mod acme;
pub(crate) mod addresses;
pub(crate) mod clients;
pub(crate) mod files;
pub(crate) mod folders;
pub(crate) mod handshakes;
pub(crate) mod made;
mod real;
mod relay;
mod requests;
pub(crate) mod servers;
mod sessions;

use std::io::Read as _;

use testkit::tls::der;
use testkit::{Authority, Client, ClientTls, Folder, Issued, Tidegate};

use crate::support::{Place, config, get, start};

/// An authority, and the files that a configuration names: `@DIR` stands for their folder.
pub(crate) struct Desk {
    pub(crate) authority: Authority,
    pub(crate) folder: Folder,
}

/// One listener that shows `main`, in front of one plain server.
pub(crate) const EDGE: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, tls: main, to: app } }
pools: { app: [@APP] }
";

/// The same, answering by itself.
pub(crate) const ALONE: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, tls: main, respond: { body: here } } }
";

/// One plain listener in front of one server that speaks TLS; `@TLS` stands for how.
pub(crate) const ORIGIN: &str = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], tls: @TLS } }
";

impl Desk {
    /// With an authority, in `ca.pem`, and a certificate `main` for a name and its subdomains.
    pub(crate) fn new() -> Desk {
        let desk = Desk { authority: Authority::new(), folder: Folder::new() };
        desk.folder.write("ca.pem", desk.authority.pem());
        desk.issue("main", &["example.com", "*.example.com", "127.0.0.1"]);
        desk
    }

    /// Issues a certificate and writes its files.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Issued {
        let issued = self.authority.issue(names);
        issued.write(&self.folder, file);
        issued
    }

    pub(crate) fn text(&self, text: &str, servers: &[(&str, &dyn Place)]) -> String {
        config(&text.replace("@DIR", &self.folder.path().display().to_string()), servers)
    }

    pub(crate) fn start(&self, text: &str, servers: &[(&str, &dyn Place)]) -> Tidegate {
        start(&self.text(text, servers), &[])
    }

    /// How an ordinary client speaks to `example.com`.
    pub(crate) fn tls(&self) -> ClientTls {
        ClientTls::new(&self.authority, "example.com")
    }

    /// An ordinary client of the listener `web`.
    pub(crate) fn client(&self, tidegate: &Tidegate) -> Client {
        Client::secured(&tidegate.address("web"), &self.tls())
    }
}

/// A plain request for `example.com`.
pub(crate) fn page(target: &str) -> String {
    get(target, "").replace("test.example", "example.com")
}

/// Whether a client was shown this certificate.
pub(crate) fn was_shown(client: &Client, issued: &Issued) -> bool {
    client.agreed().shown == der(&issued.cert)
}

/// Why a client is refused: by its handshake, or by the alert that comes when it believes to be through.
pub(crate) fn refusal(address: &str, tls: &ClientTls) -> String {
    match Client::try_secured(address, tls) {
        Err(error) => error.to_string(),
        Ok(mut client) => {
            client.try_send(page("/"));
            let read = client.reader.socket.read(&mut [0; 4096]);
            read.expect_err("a client that is not served").to_string()
        }
    }
}
