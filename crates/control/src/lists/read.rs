//! A list's files, line by line. They are megabytes long and others' work: bounded, and what is about hosts is never held as a whole.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use config::spec::List as Said;
use proxy::filter::{TooMany, Words};
use proxy::lists::{Content, Patterns, Set};
use wire::list::{Effect, Format, LONGEST_LINE, Line, Reader, phrase};

/// What was read.
pub(super) struct Raw {
    pub(super) patterns: Option<Patterns>,
    pub(super) words: Option<Words>,
    pub(super) content: Content,
    /// Where the first lines are that are no rule.
    pub(super) wrong: Vec<String>,
}

/// So many places are kept of what is wrong: who has mended these finds the next.
const PLACES: usize = 3;

/// So much of a line is shown.
const SHOWN: usize = 60;

/// No file of a list is larger.
const LARGEST: u64 = 128 << 20;

/// Opens a file of a list.
///
/// # Errors
/// What the kernel says; or it is no regular file, or too large.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // The kind is asked before it is opened: opening a pipe waits for whoever writes to it.
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if meta.len() > LARGEST {
        return Err(io::Error::other(format!("it is larger than {LARGEST} bytes, take a smaller one or divide it")));
    }
    File::open(path)
}

/// Reads a list into the table, as the one of this number.
///
/// # Errors
/// Which of its files cannot be read, or is none of this form, and why.
pub(super) fn list(said: &Said, number: u8, hosts: &mut Set) -> Result<Raw, (usize, String)> {
    let (mut content, mut lines) = (Content::default(), String::new());
    // Of lines that are no rule, and of those of which that turns out later.
    let (mut wrong, mut asked): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
    for (at, file) in said.files.iter().enumerate() {
        let (before, mut line_number) = (content, 0);
        let mut first = String::new();
        let error = |error: io::Error| (at, format!("{}: {error}", file.path.display()));
        let mut reader = Reader::new(said.format);
        each_line(open(&file.path).map_err(error)?, |line| {
            line_number += 1;
            let told = reader.line(line, &mut |rule| {
                hosts.add(number, &rule);
                content.hosts += 1;
                content.exceptions += usize::from(rule.effect == Effect::Except);
                content.bytes += rule.host.len() + EACH;
            });
            match told {
                Line::Blank | Line::Hosts => {}
                Line::Pattern => {
                    content.patterns += 1;
                    lines += String::from_utf8_lossy(line).trim();
                    lines.push('\n');
                    asked.push((at, line_number));
                }
                Line::Foreign => content.foreign += 1,
                Line::Wrong => {
                    if content.wrong == before.wrong {
                        first = format!("line {line_number}: `{}`", shown(line));
                    }
                    content.wrong += 1;
                    if wrong.len() < PLACES {
                        wrong.push((at, line_number));
                    }
                }
            }
        })
        .map_err(error)?;
        let is_none = content.rules() == before.rules() && content.foreign == before.foreign;
        if is_none && content.wrong > before.wrong {
            let form = said.format.name();
            let path = file.path.display();
            return Err((at, format!("{path}: nothing in it is a rule of `format: {form}`, beginning with {first}")));
        }
    }
    if said.format == Format::Words {
        let (words, empty) = Words::of(lines.lines().filter_map(phrase)).map_err(|TooMany| {
            (0, "it has more words than can be looked for, divide it among several lists".to_owned())
        })?;
        content.patterns = words.count();
        content.wrong += empty;
        return Ok(Raw { patterns: None, words: Some(words), content, wrong: places(said, wrong) });
    }
    let (patterns, left_out) = Patterns::of(&lines);
    content.patterns = patterns.as_ref().map_or(0, Patterns::count);
    content.wrong += left_out.wrong.len();
    content.foreign += left_out.foreign;
    wrong.extend(left_out.wrong.iter().take(PLACES).filter_map(|number| asked.get(*number)));
    wrong.sort_unstable();
    Ok(Raw { patterns, words: None, content, wrong: places(said, wrong) })
}

/// A file of a list, by its number, and a line, from 1.
type Place = (usize, usize);

/// The first of these, as editors take them.
fn places(said: &Said, wrong: Vec<Place>) -> Vec<String> {
    let place = |(at, line): Place| format!("{}:{line}", said.files[at].path.display());
    wrong.into_iter().take(PLACES).map(place).collect()
}

/// The beginning of a line that may be anything.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    text.chars().filter(|symbol| !symbol.is_control()).collect()
}

/// What a name takes in the table beside its bytes: its front, and a place of a table that is half to three quarters full.
const EACH: usize = 15;

fn each_line(file: File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    // It may grow while it is read.
    let mut reader = BufReader::with_capacity(64 * 1024, file.take(LARGEST));
    let mut line = Vec::new();
    loop {
        line.clear();
        // One byte beyond is what tells a line that is too long.
        let most = LONGEST_LINE as u64 + 2;
        if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() as u64 == most && line.last() != Some(&b'\n') {
            reader.skip_until(b'\n')?;
        }
        take(line.trim_ascii_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8]) -> Vec<usize> {
        let path = std::env::temp_dir().join(format!("tidegate-lines-{}-{}", std::process::id(), content.len()));
        std::fs::write(&path, content).expect("a written file");
        let mut lengths = Vec::new();
        each_line(File::open(&path).expect("the file"), |line| lengths.push(line.len())).expect("a readable file");
        std::fs::remove_file(&path).expect("the file");
        lengths
    }

    #[test]
    fn a_line_without_an_end_is_read_no_farther_than_a_line_may_be() {
        let long = vec![b'a'; 3 * LONGEST_LINE];
        assert_eq!(lines(&[b"one\r\n".as_slice(), &long, b"\ntwo"].concat()), [3, LONGEST_LINE + 2, 3]);
        assert_eq!(lines(b"\n\na"), [0, 0, 1]);
        assert_eq!(lines(b""), [0; 0]);
    }

    #[test]
    fn what_has_no_end_is_not_read() {
        for path in ["/dev/zero", "/"] {
            assert!(open(Path::new(path)).is_err(), "{path}");
        }
    }
}
