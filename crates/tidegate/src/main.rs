//! The binary: flags to options, and nothing else.

mod check;
mod demo;
mod flags;
mod oneliner;

use std::process::ExitCode;

use clap::Parser as _;
use control::{Options, Source};

use flags::{Command, Flags, OfNat, OneLiner};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Flags::parse().command {
        Command::Run { file, set, ready_fd } => {
            control::run(Options { source: Source::File(file), sets: set, ready_fd })
        }
        Command::Check { file, set } => check::check(file, set),
        Command::Config { file, set, effective: _ } => check::effective(file, set),
        Command::Schema => check::print(&config::schema()),
        Command::Reference => check::print(&config::reference()),
        Command::Reverse(said) => serve(oneliner::reverse(&said), said),
        Command::Tcp(said) => serve(oneliner::tcp(&said), said),
        Command::Udp(said) => serve(oneliner::udp(&said), said),
        Command::Nat { what: OfNat::Release } => control::nat::release(),
        Command::Ca { out, name } => control::ca::make(&out, name.as_deref()),
        Command::Demo { bind, admin, ready_fd } => demo::run(&bind, &admin, ready_fd),
    }
}

fn serve(source: Source, said: OneLiner) -> ExitCode {
    control::run(Options { source, sets: said.set, ready_fd: said.ready_fd })
}
