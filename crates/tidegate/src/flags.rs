//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A reverse proxy and load balancer for HTTP, and for whatever is spoken over TCP or UDP.
#[derive(Parser)]
#[command(name = "tidegate", version, about, disable_help_subcommand = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What there is to say of one listener and one pool.
#[derive(Args)]
pub(crate) struct OneLiner {
    /// Where to listen: `HOST:PORT`, `:PORT` or `unix:PATH`
    #[arg(long)]
    pub(crate) bind: String,
    /// The servers, each `HOST:PORT`
    #[arg(long, required = true, num_args = 1..)]
    pub(crate) to: Vec<String>,
    /// Where the status page, the API and the metrics are: a loopback address or `unix:PATH`
    #[arg(long)]
    pub(crate) admin: Option<String>,
    /// Override a scalar of the configuration that this makes
    #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Write one JSON line with every bound address to this descriptor once we serve
    #[arg(long, value_name = "N")]
    pub(crate) ready_fd: Option<i32>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve what a configuration file says, until SIGTERM; SIGHUP or a change of the file reloads it
    Run {
        /// The configuration, YAML or JSON
        file: PathBuf,
        /// Override a scalar of the configuration, as in `--set listeners.web.bind=127.0.0.1:0`
        #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
        /// Write one JSON line with every bound address to this descriptor once we serve
        #[arg(long, value_name = "N")]
        ready_fd: Option<i32>,
    },
    /// Say everything that is wrong with a configuration; exit code 2 if anything is
    Check {
        /// The configuration, YAML or JSON
        file: PathBuf,
        /// Override a scalar of the configuration
        #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
    },
    /// Print a configuration as it is understood
    Config {
        /// The configuration, YAML or JSON
        file: PathBuf,
        /// With every default filled in and every short form written out, which is what it does anyway
        #[arg(long)]
        effective: bool,
        /// Override a scalar of the configuration
        #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print the reference of the configuration in Markdown
    #[command(hide = true)]
    Reference,
    /// A reverse proxy without a file
    Reverse(OneLiner),
    /// A layer-4 balancer of TCP without a file
    Tcp(OneLiner),
    /// A layer-4 balancer of UDP without a file
    Udp(OneLiner),
    /// Make an authority for `intercept`: `ca.pem`, which clients have to trust, and `ca.key`
    Ca {
        /// The folder that they are written to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// What clients show it as
        #[arg(long)]
        name: Option<String>,
    },
    /// What is left of `role: nat` inside the kernel
    Nat {
        #[command(subcommand)]
        what: OfNat,
    },
    /// A live demo: servers of its own, the proxy in front, and a list of things to try
    Demo {
        /// Where the proxy listens
        #[arg(long, default_value = "127.0.0.1:8080")]
        bind: String,
        /// Where the status page, the API and the metrics are
        #[arg(long, default_value = "127.0.0.1:9900")]
        admin: String,
        /// Write one JSON line with every bound address to this descriptor once we serve
        #[arg(long, value_name = "N")]
        ready_fd: Option<i32>,
    },
}

#[derive(Subcommand)]
pub(crate) enum OfNat {
    /// End the rewriting of packets that a process has left to the kernel; connections through it end
    Release,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err(format!("expected `path=value`, as in `workers=2`: {text}")),
    }
}
