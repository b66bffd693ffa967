//! Who may come in: from files of users to what listeners and routes ask for.
//!
//! - [`htpasswd`]: names and what is kept of passwords
//! - [`tokens`]: names and what is kept of tokens
//! - [`groups`]: who belongs to which group
//!
//! As with certificates, all files are read before anything is put in force: what is wrong in one is a mistake with its line, and what
//! was in force stays.

mod groups;
mod htpasswd;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::spec::{self, NamedFile, PolicyId, PolicyKind, Spec};
use config::{Mistake, Span};
use proxy::users::{Authentication, Basic, Bearer, Certificate, Desk, Part, Scheme, User};

use groups::Groups;

/// What is wrong with a line.
type Wrong = (u32, String);

/// The ways in of every policy that is one.
#[derive(Debug, Default)]
pub struct Directory {
    schemes: HashMap<PolicyId, Arc<Scheme>>,
}

impl Directory {
    /// What a level asks for by all of its policies together, of which one is enough; nothing if none of them is about that.
    pub fn ways(&self, uses: &[PolicyId]) -> Option<Arc<Authentication>> {
        let schemes: Box<[_]> = uses.iter().filter_map(|id| self.schemes.get(id).map(Arc::clone)).collect();
        (!schemes.is_empty()).then(|| Arc::new(Authentication { schemes }))
    }
}

/// Reads everything that a configuration names.
///
/// # Errors
/// Every file that cannot be read, and every line that is wrong.
pub fn read(spec: &Spec) -> Result<Directory, Vec<Mistake>> {
    let (mut directory, mut mistakes) = (Directory::default(), Vec::new());
    for (number, policy) in spec.policies.iter().enumerate() {
        let scheme = match &policy.kind {
            PolicyKind::BasicAuth(said) => basic(said, &mut mistakes).map(Scheme::Basic),
            PolicyKind::BearerAuth(said) => bearer(said, &mut mistakes).map(Scheme::Bearer),
            PolicyKind::CertAuth(said) => certificate(said, &mut mistakes).map(Scheme::Certificate),
            _ => continue,
        };
        directory.schemes.extend(scheme.map(|scheme| (PolicyId(number), Arc::new(scheme))));
    }
    if mistakes.is_empty() { Ok(directory) } else { Err(mistakes) }
}

/// The files that [`read`] reads: a change of any is a change of the configuration.
pub fn files(spec: &Spec) -> Vec<PathBuf> {
    let of = |kind: &PolicyKind| match kind {
        PolicyKind::BasicAuth(said) => [Some(said.users.path.clone()), file_of(&said.groups)],
        PolicyKind::BearerAuth(said) => [Some(said.tokens.path.clone()), file_of(&said.groups)],
        PolicyKind::CertAuth(said) => [None, file_of(&said.groups)],
        _ => [None, None],
    };
    spec.policies.iter().flat_map(|policy| of(&policy.kind)).flatten().collect()
}

/// Has threads work at a desk, for as long as the process lives: half as many as there are processors, for what they do takes all of
/// one's time.
///
/// # Errors
/// A thread could not be made.
pub fn attend(desk: &Arc<Desk>, processors: usize) -> std::io::Result<()> {
    for number in 0..processors.div_ceil(2).min(MOST_THREADS) {
        let desk = Arc::clone(desk);
        std::thread::Builder::new().name(format!("passwords-{number}")).spawn(move || desk.work())?;
    }
    Ok(())
}

const MOST_THREADS: usize = 8;

fn file_of(groups: &spec::Groups) -> Option<PathBuf> {
    match groups {
        spec::Groups::File(file) => Some(file.path.clone()),
        spec::Groups::None | spec::Groups::Said(_) => None,
    }
}

fn basic(said: &spec::BasicAuth, mistakes: &mut Vec<Mistake>) -> Option<Basic> {
    let groups = groups_of(&said.groups, mistakes);
    let people = parsed(&said.users, htpasswd::read, mistakes);
    let groups = groups?;
    let people = people?.into_iter().map(|(name, secret)| (user(&name, &groups, &said.users.path), secret));
    Some(Basic::new(&said.realm, said.forward, people.collect()))
}

fn bearer(said: &spec::BearerAuth, mistakes: &mut Vec<Mistake>) -> Option<Bearer> {
    let groups = groups_of(&said.groups, mistakes);
    let tokens = parsed(&said.tokens, tokens::read, mistakes);
    let groups = groups?;
    let tokens = tokens?.into_iter().map(|(name, hash)| (hash, Arc::new(user(&name, &groups, &said.tokens.path))));
    Some(Bearer::new(&said.realm, said.forward, tokens.collect()))
}

fn certificate(said: &spec::CertAuth, mistakes: &mut Vec<Mistake>) -> Option<Certificate> {
    let groups = groups_of(&said.groups, mistakes)?;
    let all = groups.keys().map(|name| (name.as_str().into(), groups_in(&groups, name)));
    let part = match said.name {
        spec::CertName::CommonName => Part::CommonName,
        spec::CertName::Dns => Part::Dns,
        spec::CertName::Email => Part::Email,
        spec::CertName::Uri => Part::Uri,
    };
    Some(Certificate { part, groups: all.collect() })
}

fn user(name: &str, groups: &Groups, of: &Path) -> User {
    User { name: name.into(), groups: groups_in(groups, name), of: of.display().to_string().into() }
}

fn groups_in(groups: &Groups, name: &str) -> Box<[Box<str>]> {
    groups.get(name).into_iter().flatten().map(|group| group.as_str().into()).collect()
}

fn groups_of(said: &spec::Groups, mistakes: &mut Vec<Mistake>) -> Option<Groups> {
    match said {
        spec::Groups::None => Some(Groups::new()),
        spec::Groups::Said(said) => Some(groups::said(said)),
        spec::Groups::File(file) => parsed(file, groups::read, mistakes),
    }
}

/// What a file holds, or its mistakes with their lines.
fn parsed<T>(file: &NamedFile, read: fn(&[u8]) -> Result<T, Vec<Wrong>>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    let content = match config::content(&file.path) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("the file cannot be read: {error}: {}", file.path.display());
            mistakes.push(Mistake::new(file.span.clone(), message));
            return None;
        }
    };
    let name: Arc<str> = file.path.display().to_string().into();
    match read(&content) {
        Ok(read) => Some(read),
        Err(wrong) => {
            let shown = wrong.into_iter().take(MOST_SHOWN);
            mistakes.extend(shown.map(|(line, why)| Mistake::new(Span::new(Arc::clone(&name), line, 1), why)));
            None
        }
    }
}

/// A file of another kind is wrong in every line.
const MOST_SHOWN: usize = 20;

/// The lines that say something, with their numbers.
fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').zip(1..);
    let trimmed = lines.map(|(line, number)| (number, line.strip_suffix(b"\r").unwrap_or(line)));
    trimmed.filter(|(_, line)| !line.trim_ascii().is_empty() && !line.starts_with(b"#"))
}
