//! `GET /`: the status page, which asks the API for everything that it shows.

use std::hash::{BuildHasher as _, RandomState};

use super::answer::Answer;

/// The page. Its script and its style carry a nonce, and a browser runs nothing else.
pub(super) fn page() -> Answer {
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Answer::new(200, "text/html; charset=utf-8", PAGE.replace("NONCE", &nonce)).with("Content-Security-Policy", policy)
}

/// 128 bits that nobody can guess: the standard library keys each of these hashers with what the system drew.
fn nonce() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1))
}

const PAGE: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_runs_or_styles_carries_the_nonce() {
        for tag in ["<script", "<style"] {
            assert_eq!(PAGE.matches(tag).count(), PAGE.matches(&format!("{tag} nonce=\"NONCE\">")).count());
        }
        assert_eq!(PAGE.matches("NONCE").count(), 2);
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" onclick=") && !PAGE.contains("//"));
        assert_ne!(nonce(), nonce());
    }
}
