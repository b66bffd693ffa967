//! `--name value` and `--name`, no more.

use std::fmt::Display;
use std::str::FromStr;

pub struct Args {
    words: Vec<String>,
}

impl Args {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let words: Vec<String> = words.collect();
        match words.first() {
            Some(word) if !word.starts_with("--") => Err(format!("not an option: {word}")),
            _ => Ok(Self { words }),
        }
    }

    pub fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.take(name)?.ok_or_else(|| format!("missing option: {name}"))
    }

    pub fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T, String> {
        Ok(self.take(name)?.unwrap_or(default))
    }

    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.take(name)
    }

    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), String> {
        match self.words.first() {
            Some(word) => Err(format!("unknown option: {word}")),
            None => Ok(()),
        }
    }

    fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        if at + 1 == self.words.len() {
            return Err(format!("option without a value: {name}"));
        }
        self.words.remove(at);
        let value = self.words.remove(at);
        value.parse().map(Some).map_err(|fault| format!("{name}: {fault}: {value}"))
    }
}
