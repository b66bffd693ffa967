//! Files of Apache's `htpasswd`: `NAME:HASH` a line, empty lines and those that begin with `#` between them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy::users::Secret;

use super::{Wrong, lines};

/// Everybody in the file, and what is kept of their passwords.
///
/// # Errors
/// Each line that is wrong. None of them shows a hash.
pub(super) fn read(text: &[u8]) -> Result<Vec<(String, Secret)>, Vec<Wrong>> {
    let (mut people, mut wrong) = (Vec::<(String, Secret)>::new(), Vec::new());
    let mut seen = std::collections::HashMap::new();
    for (number, line) in lines(text) {
        match entry(line) {
            Err(why) => wrong.push((number, why)),
            Ok((name, secret)) => match seen.insert(name.clone(), number) {
                Some(first) => wrong.push((number, format!("`{name}` stands twice, first in line {first}"))),
                None => people.push((name, secret)),
            },
        }
    }
    if wrong.is_empty() { Ok(people) } else { Err(wrong) }
}

fn entry(line: &[u8]) -> Result<(String, Secret), String> {
    let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned())?;
    let Some((name, hash)) = line.split_once(':') else {
        return Err("no colon between a name and a hash".to_owned());
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("no name before the colon".to_owned());
    }
    // Others put more fields behind further colons.
    let hash = hash.split(':').next().unwrap_or_default().trim_end();
    let of = |why: &str| format!("user `{name}`: {why}");
    let secret = if ["$2y$", "$2a$", "$2b$"].iter().any(|start| hash.starts_with(start)) {
        Secret::bcrypt(hash).map_err(|why| of(&why))?
    } else if let Some(rest) = hash.strip_prefix("$apr1$") {
        Secret::apr1(rest).ok_or_else(|| of("it is no hash of `$apr1$`"))?
    } else if let Some(rest) = hash.strip_prefix("{SHA}") {
        let digest = STANDARD.decode(rest).ok().and_then(|bytes| bytes.try_into().ok());
        Secret::Sha(digest.ok_or_else(|| of("it is no hash of `{SHA}`"))?)
    } else {
        return Err(of(&format!("{} here, make one with `htpasswd -B`", other(hash))));
    };
    Ok((name.to_owned(), secret))
}

/// What a hash is that is none of ours, without showing it: it may be a password.
fn other(hash: &str) -> &'static str {
    match hash {
        "" => "there is no hash",
        _ if hash.starts_with("$1$") => "hashes of `$1$` (MD5) are not taken",
        _ if hash.starts_with("$2x$") => "hashes of `$2x$` are of a faulty bcrypt and are not taken",
        _ if hash.starts_with("$5$") || hash.starts_with("$6$") => "hashes of `crypt` (SHA-2) are not taken",
        _ if hash.starts_with("$argon2") => "hashes of Argon2 are not taken",
        _ if hash.starts_with('{') => "hashes of this scheme are not taken",
        _ => "hashes of `crypt` and passwords in plain are not taken",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# people\nann:$2y$04$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.\r\n\nbob:$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.\ncy lon:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:more\n";

    #[test]
    fn each_form_is_read() {
        let people = read(GOOD.as_bytes()).expect("no mistakes");
        let names: Vec<_> = people.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ann", "bob", "cy lon"]);
        assert!(matches!(people[0].1, Secret::Bcrypt(_)) && matches!(people[1].1, Secret::Apr1 { .. }));
        assert_eq!(read(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said_by_its_line_and_without_the_hash() {
        let text = "ann:s3cret\nbob:{SSHA}s3cret\nnobody\n:x\ncy:$6$s3cret\ndan:{SHA}short\nann:$2y$04$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.\nann:$apr1$saltsalt$HIDXe7D36X22w1CH4M1cQ.\neve:\nx:$2y$99$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.\nf\0:x\n";
        let wrong = read(&[text.as_bytes(), b"\xff:x\n"].concat()).expect_err("mistakes");
        let said: Vec<_> = wrong.iter().map(|(line, why)| format!("{line}: {why}")).collect();
        assert_eq!(
            said,
            [
                "1: user `ann`: hashes of `crypt` and passwords in plain are not taken here, make one with `htpasswd -B`",
                "2: user `bob`: hashes of this scheme are not taken here, make one with `htpasswd -B`",
                "3: no colon between a name and a hash",
                "4: no name before the colon",
                "5: user `cy`: hashes of `crypt` (SHA-2) are not taken here, make one with `htpasswd -B`",
                "6: user `dan`: it is no hash of `{SHA}`",
                "8: `ann` stands twice, first in line 7",
                "9: user `eve`: there is no hash here, make one with `htpasswd -B`",
                "10: user `x`: bcrypt with a cost of more than 15 takes seconds: 99",
                "11: no name before the colon",
                "12: the line is not UTF-8",
            ]
        );
        assert!(!said.concat().contains("s3cret"));
    }
}
