//! Folders of certificates: pairs of files by their stems.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use net::tls::{BadIdentity, Identity};

use super::cannot;

/// One certificate of a folder, and the file that it stands in.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) identity: Identity,
    pub(super) file: PathBuf,
}

/// What stands in a folder under one stem.
#[derive(Debug, Default)]
struct Stem {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ocsp: Option<PathBuf>,
}

/// Reads all that are in a folder, in the order of their names.
///
/// # Errors
/// Everything that is wrong with it, each with its file.
pub(super) fn read(folder: &Path) -> Result<Vec<Member>, Vec<String>> {
    let stems = stems(folder).map_err(|error| vec![cannot("folder", &error, folder)])?;
    let (mut members, mut wrong) = (Vec::new(), Vec::new());
    for stem in stems {
        match stem.and_then(member) {
            Ok(member) => members.push(member),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(members) } else { Err(wrong) }
}

fn stems(folder: &Path) -> io::Result<Vec<Result<Stem, String>>> {
    let mut stems: BTreeMap<PathBuf, Stem> = BTreeMap::new();
    let mut twice = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Container platforms keep the real files in folders whose names begin with two dots, and link to them.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let Some(kind) = path.extension().and_then(|kind| kind.to_str()).filter(|_| !is_hidden) else { continue };
        let stem = stems.entry(path.with_extension("")).or_default();
        let place = match kind {
            "pem" | "crt" => &mut stem.certificate,
            "key" => &mut stem.key,
            "ocsp" => &mut stem.ocsp,
            _ => continue,
        };
        if let Some(other) = place.replace(path) {
            let other = other.display();
            twice.push(Err(format!("two certificates of one name, `.pem` and `.crt`, keep one of them: {other}")));
        }
    }
    let named = stems.into_values().filter(|stem| stem.certificate.is_some() || stem.key.is_some());
    Ok(named.map(Ok).chain(twice).collect())
}

fn member(stem: Stem) -> Result<Member, String> {
    let Stem { certificate, key, ocsp } = stem;
    let file = match (certificate, &key) {
        (Some(file), _) => file,
        (None, key) => {
            let key = key.as_deref().unwrap_or(Path::new("")).display();
            return Err(format!("a key without a certificate beside it, `.pem` or `.crt`: {key}"));
        }
    };
    let key_file = key.as_deref().unwrap_or(&file);
    let content = |path: &Path| config::content(path).map_err(|error| cannot("file", &error, path));
    let identity = Identity::from_pem(&content(&file)?, &content(key_file)?).map_err(|bad| match &bad {
        BadIdentity::Key(_) if key.is_none() => format!("{bad}, and no `.key` beside it: {}", file.display()),
        BadIdentity::Certificate(_) => format!("{bad}: {}", file.display()),
        BadIdentity::Key(_) | BadIdentity::Mismatch => format!("{bad}: {}", key_file.display()),
    })?;
    let stapled = ocsp.map(|path| content(&path)).transpose()?;
    Ok(Member { identity: identity.stapled(stapled), file })
}
