//! Programs of another making: those of Debian's packages, and Python with the packages of `scripts/venv.txt`. Where one is not
//! installed, the test that wants it says so and passes: `scripts/install` installs them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command that runs this program; none, with the reason printed, where it is not installed.
pub fn tool(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    if !std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        skip(&format!("there is no {program}"));
        return None;
    }
    Some(Command::new(program))
}

/// A command that runs Python with this module within its reach; none, with the reason printed, where that is not installed.
pub fn python(module: &str) -> Option<Command> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
    let mut trial = Command::new(&program);
    trial.args(["-c", &format!("import {module}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        skip(&format!("target/venv has no Python with {module}"));
        return None;
    }
    let mut command = Command::new(program);
    // What a script says shall be there when it says it.
    command.arg("-u");
    Some(command)
}

/// A command that runs JavaScript with this module within its reach; none, with the reason printed, where that is not installed.
pub fn node(module: &str) -> Option<Command> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/node/node_modules");
    let mut node = tool("node")?;
    if !modules.join(module).is_dir() {
        skip(&format!("target/node has no {module}"));
        return None;
    }
    node.env("NODE_PATH", modules);
    Some(node)
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test is left out, and why: straight to the terminal, for what is skipped should be seen.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason} (scripts/install)");
}
