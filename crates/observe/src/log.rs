//! The process's own log: start-up, reloads, servers that come and go. One line a message, to standard error.
//!
//! `2026-11-23T12:00:00.123Z info  reloaded: generation 4, 2 pools changed`
//!
//! Meant for tens of messages a minute, never one a request: each is a write of its own, and may wait for the terminal.
//! Workers leave messages to control, save for what must be said at once.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use crate::stamp::Stamp;

/// How much a message matters; each level shows itself and those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed and needs somebody.
    Error,
    /// Something is wrong and the process copes.
    Warn,
    /// What an operator expects to read.
    Info,
    /// What a developer asks for.
    Debug,
}

impl Level {
    /// The name, as the log prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// Shows messages up to this level from now on. Until it is called, that is [`Level::Info`].
pub fn show(up_to: Level) {
    SHOWN.store(up_to as u8, Ordering::Relaxed);
}

/// Whether messages of this level are shown; spares the making of an expensive one.
pub fn shows(level: Level) -> bool {
    level as u8 <= SHOWN.load(Ordering::Relaxed)
}

/// Says that something failed and needs somebody.
pub fn error(message: Arguments<'_>) {
    say(Level::Error, message);
}

/// Says that something is wrong with which the process copes.
pub fn warn(message: Arguments<'_>) {
    say(Level::Warn, message);
}

/// Says what an operator expects to read.
pub fn info(message: Arguments<'_>) {
    say(Level::Info, message);
}

/// Says what a developer asked for.
pub fn debug(message: Arguments<'_>) {
    say(Level::Debug, message);
}

fn say(level: Level, message: Arguments<'_>) {
    if shows(level) {
        let line = line(SystemTime::now(), level, message);
        // One write, so that lines of several threads do not mix. There is nowhere to report that it failed.
        let _ = std::io::stderr().write_all(&line);
    }
}

/// One line. Control characters in the message become `\u{…}`: names from a file or the wire cannot forge a line.
fn line(time: SystemTime, level: Level, message: Arguments<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    Stamp::default().rfc3339(time, &mut line);
    line.extend_from_slice(format!(" {:<5} ", level.name()).as_bytes());
    let mut utf8 = [0; 4];
    for symbol in message.to_string().chars() {
        if symbol.is_control() {
            line.extend_from_slice(symbol.escape_unicode().to_string().as_bytes());
        } else {
            line.extend_from_slice(symbol.encode_utf8(&mut utf8).as_bytes());
        }
    }
    line.push(b'\n');
    line
}

static SHOWN: AtomicU8 = AtomicU8::new(Level::Info as u8);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_435_200_123);
        let text = line(time, Level::Info, format_args!("reloaded: generation {}, 2 pools changed", 4));
        assert_eq!(text, b"2026-11-23T12:00:00.123Z info  reloaded: generation 4, 2 pools changed\n");
        let forged = line(time, Level::Error, format_args!("pool `{}`", "a\n2026 info  all is well\x1b[2J"));
        assert_eq!(forged, b"2026-11-23T12:00:00.123Z error pool `a\\u{a}2026 info  all is well\\u{1b}[2J`\n");
    }

    #[test]
    fn levels_include_those_before() {
        assert!(Level::Error < Level::Debug);
        assert!(shows(Level::Warn) && shows(Level::Info) && !shows(Level::Debug));
    }
}
