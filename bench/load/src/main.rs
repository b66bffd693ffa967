//! The two ends of the benchmark: a backend that answers and a client that asks.
//!
//! Both are one thread on raw epoll and do nothing that the measurement does not need, so that the proxy between
//! them is what is measured. They trust each other's framing (`Content-Length` only) and are no HTTP library.

mod args;
mod backend;
mod channel;
mod h3;
mod head;
mod histogram;
mod huffman;
mod idle;
mod load;
mod poll;
mod quic;
mod relay;
mod report;
mod request;
mod tls;
mod udp;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use args::Args;

const USAGE: &str = "\
usage: tidegate-load backend --bind ADDRESS --body BYTES [--tls FOLDER]
       tidegate-load load    --to ADDRESS --body BYTES [--connections 64] [--seconds 5] [--fields 9|1] [--routes 1] [--close] [--tls]
                              [--server ADDRESS [--tunnel]]
       tidegate-load h3      --to ADDRESS --body BYTES [--connections 10] [--streams 32] [--seconds 5] [--fields 9|1] [--routes 1] [--close]
       tidegate-load relay   --bind ADDRESS --to ADDRESS [--tls FOLDER | --udp]
       tidegate-load idle    --to ADDRESS --body BYTES [--connections 5000] [--tls|--h3]
       tidegate-load udp     --to ADDRESS --body BYTES [--connections 64] [--seconds 5]
       tidegate-load udp-backend --bind ADDRESS --body BYTES
       tidegate-load h3-get  --to ADDRESS --host NAME --path PATH

backend  answers every request with the same BYTES; a path that ends in /echo is answered with the request's own
         head, one that ends in /stats with what the backend has seen so far; --tls speaks TLS 1.3 by tls.pem and tls.key
load     asks without pause for so many seconds and prints one line of JSON; everything but a whole 200 of BYTES
         is an error. --routes N cycles through N pairs of host and path, --close uses a connection per request,
         --tls speaks TLS 1.3, and with --close shakes hands in full for each; --server asks a forward proxy for
         that server by its whole URL, or with --tunnel through a tunnel for each connection, inside of which --tls then is
h3       the same over HTTP/3, with so many requests under way on each connection
relay    passes bytes on unread: the floor under every proxy
idle     is served once on each connection, prints a line, holds all of them until its input ends, prints another
udp      asks in single datagrams, one question under way on each flow
udp-backend answers each of them by BYTES
h3-get   prints the body of a 200 over HTTP/3, and fails if there is none";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("tidegate-load: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let command = words.next().ok_or(USAGE)?;
    let mut args = Args::parse(words)?;
    match command.as_str() {
        "backend" => {
            let (bind, body) = (args.required("--bind")?, args.required("--body")?);
            let certificates: Option<PathBuf> = args.optional("--tls")?;
            args.finish()?;
            backend::serve(bind, body, certificates.as_deref())?;
        }
        "load" => {
            let plan = load::Plan {
                to: args.required("--to")?,
                body: args.required("--body")?,
                connections: args.or("--connections", 64)?,
                seconds: args.or("--seconds", 5.0)?,
                fields: args.or("--fields", request::Fields::Browser)?,
                routes: args.or("--routes", 1)?,
                close: args.flag("--close"),
                tls: args.flag("--tls"),
                server: args.optional("--server")?,
                tunnel: args.flag("--tunnel"),
            };
            args.finish()?;
            if plan.tunnel && plan.server.is_none() {
                return Err("--tunnel needs --server".into());
            }
            println!("{}", load::run(&plan)?);
        }
        "h3" => {
            let plan = h3::load::Plan {
                to: args.required("--to")?,
                body: args.required("--body")?,
                connections: args.or("--connections", 10)?,
                streams: args.or("--streams", 32)?,
                seconds: args.or("--seconds", 5.0)?,
                fields: args.or("--fields", request::Fields::Browser)?,
                routes: args.or("--routes", 1)?,
                close: args.flag("--close"),
            };
            args.finish()?;
            println!("{}", h3::load::run(&plan)?);
        }
        "udp" => {
            let plan = udp::Plan {
                to: args.required("--to")?,
                body: args.required("--body")?,
                flows: args.or("--connections", 64)?,
                seconds: args.or("--seconds", 5.0)?,
            };
            args.finish()?;
            println!("{}", udp::run(&plan)?);
        }
        "udp-backend" => {
            let (bind, body) = (args.required("--bind")?, args.required("--body")?);
            args.finish()?;
            udp::serve(bind, body)?;
        }
        "h3-get" => {
            let to = args.required("--to")?;
            let (host, path): (String, String) = (args.required("--host")?, args.required("--path")?);
            args.finish()?;
            std::io::stdout().write_all(&h3::fetch::get(to, &host, &path)?)?;
        }
        "relay" => {
            let (bind, to) = (args.required("--bind")?, args.required("--to")?);
            let certificates = args.or("--tls", PathBuf::new())?;
            let datagrams = args.flag("--udp");
            args.finish()?;
            if datagrams {
                return Ok(udp::relay(bind, to)?);
            }
            relay::serve(bind, to, Some(&*certificates).filter(|folder| !folder.as_os_str().is_empty()))?;
        }
        "idle" => {
            let (to, body) = (args.required("--to")?, args.required("--body")?);
            let connections = args.or("--connections", 5000)?;
            let (tls, h3) = (args.flag("--tls"), args.flag("--h3"));
            args.finish()?;
            match h3 {
                true => h3::idle::hold(to, body, connections)?,
                false => idle::hold(to, body, connections, tls)?,
            }
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
