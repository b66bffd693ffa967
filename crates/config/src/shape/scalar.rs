//! Scalars: a field's type decides what its text means.

use base::units::{Share, Size, parse_duration};

use super::{Meaning, Shape, Shaper, Value};
use crate::diagnostics::did_you_mean;
use crate::keys::{Type, Word};
use crate::tree::{Data, Node};

impl Shaper<'_, '_> {
    pub(super) fn scalar(&mut self, ty: &Type, node: &Node, label: &str) -> Value {
        let Data::Scalar(raw) = &node.data else {
            return self.faulty(&node.span, format!("{label} is {}, it must be {}", node.what(), noun(ty)));
        };
        let text = match self.sources.interpolate(&node.span.file, raw) {
            Ok(text) => text,
            Err(why) => return self.faulty(&node.span, format!("{label}: {why}")),
        };
        if matches!(ty, Type::Template | Type::PathTemplate) {
            return Value { span: node.span.clone(), data: Shape::Scalar(text, Meaning::Template) };
        }
        let fixed = match text.fixed() {
            Ok(fixed) => fixed,
            Err(selector) => {
                let message = format!(
                    "{label}: `${{{selector}}}` belongs to a live request and this is fixed when the program starts, write \
                     `$${{{selector}}}` for the text itself, or `${{env.…}}` for a variable"
                );
                return self.faulty(&node.span, message);
            }
        };
        // What came from outside may be a secret: messages show only how it was written.
        let shown = if text.has_secret() { &text.written } else { &fixed };
        match meaning(ty, &fixed, shown) {
            Ok(meaning) => Value { span: node.span.clone(), data: Shape::Scalar(text, meaning) },
            Err(why) => self.faulty(&node.span, format!("{label}: {why}")),
        }
    }
}

fn meaning(ty: &Type, text: &str, shown: &str) -> Result<Meaning, String> {
    // A quantity's own error repeats its text.
    let hide = |error: base::units::UnitError| {
        if text == shown { error.to_string() } else { format!("`{shown}` has no valid value") }
    };
    match ty {
        Type::Bool => match text {
            "true" => Ok(Meaning::Bool(true)),
            "false" => Ok(Meaning::Bool(false)),
            _ => Err(format!("`{shown}` is neither `true` nor `false`")),
        },
        Type::Integer(least, most) => integer(text, shown, *least, *most).map(Meaning::Integer),
        Type::Decimal(least, most) => decimal(text, shown, *least, *most).map(Meaning::Decimal),
        Type::Duration => parse_duration(text).map(Meaning::Duration).map_err(hide),
        Type::Size => text.parse::<Size>().map(|size| Meaning::Size(size.0)).map_err(hide),
        Type::Share => text.parse::<Share>().map(|share| Meaning::Share(share.hundredths())).map_err(hide),
        Type::Word(words) => word(text, shown, words),
        _ => Ok(Meaning::Fixed(text.to_owned())),
    }
}

fn integer(text: &str, shown: &str, least: u64, most: u64) -> Result<u64, String> {
    if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{shown}` has a leading zero, write the number without it"));
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse::<u64>().ok() } else { None };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("`{shown}` is no whole number from {least} to {most}")),
    }
}

/// Hundredths, read without the detour by a floating point number.
fn decimal(text: &str, shown: &str, least: u32, most: u32) -> Result<u32, String> {
    let hundredths = || {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 2 || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let part = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
        whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
    };
    match hundredths() {
        Some(number) if (least * 100..=most * 100).contains(&number) => Ok(number),
        _ => Err(format!("`{shown}` is no number from {least} to {most} with at most two decimals")),
    }
}

fn word(text: &str, shown: &str, words: &[Word]) -> Result<Meaning, String> {
    match words.iter().find(|word| word.name == text) {
        Some(word) if word.planned => {
            Err(format!("`{text}` is planned and does not work yet in this version, remove it"))
        }
        Some(_) => Ok(Meaning::Fixed(text.to_owned())),
        None => {
            let live = words.iter().filter(|word| !word.planned).map(|word| word.name);
            let hint = did_you_mean(shown, live.clone());
            let all: Vec<_> = live.map(|name| format!("`{name}`")).collect();
            let one_of = if hint.is_empty() { format!(", it must be {}", all.join(" or ")) } else { hint };
            Err(format!("unknown word `{shown}`{one_of}"))
        }
    }
}

fn noun(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "`true` or `false`",
        Type::Integer(..) => "a whole number",
        Type::Decimal(..) => "a number",
        Type::Duration => "a duration such as `30s`",
        Type::Size => "a size such as `64KiB`",
        Type::Share => "a share such as `10%`",
        Type::Word(_) => "one word",
        _ => "a text",
    }
}
