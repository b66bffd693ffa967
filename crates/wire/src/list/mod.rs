//! Lists of sites in the forms in which they are handed round: files of hosts, plain domains, rules of ad blockers, zones of
//! response policies.
//!
//! Of each line it is told which hosts it names and what is to become of them. What an ad blocker's rule says beyond a host is
//! somebody else's to understand. Nothing here is an error: lists come from strangers, and a line that is no rule is told as such.

mod adblock;
mod hosts;
mod name;
mod phrases;
mod rpz;

pub use name::Name;
pub use phrases::{LONGEST_PHRASE, Phrase, phrase};
use rpz::Zone;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `0.0.0.0 example.com`, as in `/etc/hosts`: just these hosts.
    Hosts,
    /// `example.com`, `.example.com` or `*.example.com`: the host and all below it.
    Domains,
    /// Rules of Adblock Plus and uBlock Origin.
    Adblock,
    /// A zone file of a response policy zone.
    Rpz,
    /// Words and phrases, with what they weigh. They name no sites.
    Words,
}

impl Format {
    /// Its word in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Format::Hosts => "hosts",
            Format::Domains => "domains",
            Format::Adblock => "adblock",
            Format::Rpz => "rpz",
            Format::Words => "words",
        }
    }
}

/// What a line says of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The host, in the form in which requests are compared.
    pub host: &'a str,
    /// Whether it is about the host itself.
    pub itself: bool,
    /// Whether it is about all hosts below.
    pub below: bool,
    /// What is to become of them.
    pub effect: Effect,
    /// It says instead that a rule of just these words does not count (`$badfilter`).
    pub revokes: bool,
}

/// What is to become of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is blocked.
    Block,
    /// It is blocked, whatever exceptions say.
    Important,
    /// It is an exception.
    Except,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Empty, a comment, or what a file of this form has beside rules.
    Blank,
    /// Rules about hosts, which were told.
    Hosts,
    /// A rule about more than a host.
    Pattern,
    /// A rule that a proxy can do nothing about, such as one for elements of a page.
    Foreign,
    /// No rule at all.
    Wrong,
}

/// Reads a list line by line.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    zone: Zone,
}

/// A line that is longer is no rule.
pub const LONGEST_LINE: usize = 64 * 1024;

impl Reader {
    /// At the beginning of a list.
    pub fn new(format: Format) -> Reader {
        Reader { format, zone: Zone::default() }
    }

    /// Reads a line, with or without its end, and tells the rules about hosts that are in it.
    pub fn line(&mut self, line: &[u8], tell: &mut dyn FnMut(Rule<'_>)) -> Line {
        if line.len() > LONGEST_LINE {
            return Line::Wrong;
        }
        let Ok(text) = std::str::from_utf8(line) else { return Line::Wrong };
        // Some begin with the mark of their encoding.
        let text = text.trim_start_matches('\u{feff}').trim_end();
        match self.format {
            Format::Hosts => hosts::hosts(text, tell),
            Format::Domains => hosts::domain(text, tell),
            Format::Adblock => adblock::rule(text, tell),
            Format::Rpz => self.zone.line(text, tell),
            Format::Words if text.is_empty() || text.starts_with('#') => Line::Blank,
            Format::Words => phrase(text).map_or(Line::Wrong, |_| Line::Pattern),
        }
    }
}

#[cfg(test)]
mod tests;
