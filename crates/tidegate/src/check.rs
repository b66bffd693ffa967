//! What is only said about a configuration, and not run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use config::{Loaded, Mistakes};
use control::{Options, Source};

pub(crate) fn check(file: PathBuf, sets: Vec<(String, String)>) -> ExitCode {
    let name = file.display().to_string();
    with(file, sets, |loaded| {
        let spec = &loaded.spec;
        control::lists::read_all(spec).map_err(Mistakes)?;
        for warning in control::nat::warnings(spec) {
            eprintln!("warning: {warning}");
        }
        Ok(format!(
            "{name} is sound: {} listeners, {} sites, {} pools\n",
            spec.listeners.len(),
            spec.sites.len(),
            spec.pools.len()
        ))
    })
}

pub(crate) fn effective(file: PathBuf, sets: Vec<(String, String)>) -> ExitCode {
    with(file, sets, |loaded| Ok(config::effective(loaded)))
}

pub(crate) fn print(text: &str) -> ExitCode {
    // A reader that has closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn with(
    file: PathBuf,
    sets: Vec<(String, String)>,
    show: impl FnOnce(&Loaded) -> Result<String, Mistakes>,
) -> ExitCode {
    let loaded = control::load(&Options { source: Source::File(file), sets, ready_fd: None });
    let shown = loaded.and_then(|loaded| {
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        show(&loaded)
    });
    match shown {
        Ok(text) => print(&text),
        Err(mistakes) => {
            eprintln!("{mistakes}");
            ExitCode::from(2)
        }
    }
}
