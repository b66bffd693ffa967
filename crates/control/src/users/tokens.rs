//! Files of tokens: `NAME:HASH` a line, with SHA-256 of the token in hexadecimal digits.

use std::collections::HashMap;

use super::{Wrong, lines};

/// Everybody in the file, with the hashes of their tokens.
///
/// # Errors
/// Each line that is wrong. None of them shows what stands there: it may be a token.
pub(super) fn read(text: &[u8]) -> Result<Vec<(String, [u8; 32])>, Vec<Wrong>> {
    let (mut tokens, mut wrong, mut seen) = (Vec::new(), Vec::new(), HashMap::new());
    for (number, line) in lines(text) {
        match entry(line) {
            None => wrong
                .push((number, "no name, colon and SHA-256 of a token: `ann:` and 64 hexadecimal digits".to_owned())),
            Some((name, hash)) => match seen.insert(hash, number) {
                Some(first) => wrong.push((number, format!("the same token stands in line {first} already"))),
                None => tokens.push((name, hash)),
            },
        }
    }
    if wrong.is_empty() { Ok(tokens) } else { Err(wrong) }
}

fn entry(line: &[u8]) -> Option<(String, [u8; 32])> {
    let (name, digits) = std::str::from_utf8(line).ok()?.split_once(':')?;
    let digits = digits.trim_ascii();
    if name.is_empty() || name.chars().any(char::is_control) || digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2)?;
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some((name.to_owned(), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_have_several_tokens_and_a_token_has_one_user() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(32));
        let tokens = read(format!("# for machines\nbot:{one}\r\nbot: {two}\n").as_bytes()).expect("no mistakes");
        assert_eq!(tokens, [("bot".to_owned(), [0xab; 32]), ("bot".to_owned(), [0xcd; 32])]);
        let wrong =
            read(format!("bot:{one}\nann:{one}\n:{two}\nbot:s3cret\nbot\nbot:{}\n", "+a".repeat(32)).as_bytes());
        let wrong = wrong.expect_err("mistakes");
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(!format!("{wrong:?}").contains("s3cret"));
    }
}
