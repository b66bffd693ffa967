//! The two ends of the benchmark: a backend that answers and a client that asks.
//!
//! Both are one thread on raw epoll and do nothing that the measurement does not need, so that the proxy between
//! them is what is measured. They trust each other's framing (`Content-Length` only) and are no HTTP library.

mod args;
mod backend;
mod channel;
mod head;
mod histogram;
mod idle;
mod load;
mod poll;
mod relay;
mod request;
mod tls;

use std::process::ExitCode;

use args::Args;

const USAGE: &str = "\
usage: tidegate-load backend --bind ADDRESS --body BYTES
       tidegate-load load    --to ADDRESS --body BYTES [--connections 64] [--seconds 5] [--fields 9|1] [--routes 1] [--close] [--tls]
       tidegate-load relay   --bind ADDRESS --to ADDRESS
       tidegate-load idle    --to ADDRESS --body BYTES [--connections 5000] [--tls]

backend  answers every request with the same BYTES; a path that ends in /echo is answered with the request's own
         head, one that ends in /stats with what the backend has seen so far
load     asks without pause for so many seconds and prints one line of JSON; everything but a whole 200 of BYTES
         is an error. --routes N cycles through N pairs of host and path, --close uses a connection per request,
         --tls speaks TLS 1.3, and with --close shakes hands in full for each
relay    passes bytes on unread: the floor under every proxy
idle     is served once on each connection, prints a line, holds all of them until its input ends, prints another";

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
            args.finish()?;
            backend::serve(bind, body)?;
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
            };
            args.finish()?;
            println!("{}", load::run(&plan)?);
        }
        "relay" => {
            let (bind, to) = (args.required("--bind")?, args.required("--to")?);
            args.finish()?;
            relay::serve(bind, to)?;
        }
        "idle" => {
            let (to, body) = (args.required("--to")?, args.required("--body")?);
            let connections = args.or("--connections", 5000)?;
            let tls = args.flag("--tls");
            args.finish()?;
            idle::hold(to, body, connections, tls)?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
