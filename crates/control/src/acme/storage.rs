//! What is kept of an authority: the account, certificates, locks, answers. Several nodes may share it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::spec::Challenge;
use serde_json::{Value, json};

use crate::files;

/// The folder of one authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storage {
    folder: PathBuf,
}

/// Only whoever holds it asks for something; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    content: Vec<u8>,
    storage: Storage,
}

/// What an authority that asks for a proof is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) domain: String,
    pub(super) token: String,
    pub(super) challenge: Challenge,
    /// The token and our key's thumbprint (RFC 8555 section 8.1), and SHA-256 of both.
    pub(super) authorization: String,
    pub(super) digest: Vec<u8>,
}

/// How long an answer is kept, whatever became of whoever has written it.
const ANSWERED: Duration = Duration::from_secs(3600);
/// No more answers are looked at.
const MOST_ANSWERS: usize = 1000;

impl Storage {
    /// The one of a directory.
    pub fn of(state: &Path, directory: &str) -> Storage {
        let name = directory.split_once("://").map_or(directory, |(_, rest)| rest).to_ascii_lowercase();
        let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        Storage { folder: state.join("acme").join(name.chars().map(legal).collect::<String>()) }
    }

    /// Makes its folders.
    pub(super) fn prepare(&self) -> io::Result<()> {
        ["certificates", "locks", "answers"].iter().try_for_each(|name| files::folder(&self.folder.join(name)))
    }

    /// Where the certificate of a domain is, its key with it.
    pub(crate) fn certificate(&self, domain: &str) -> PathBuf {
        self.folder.join("certificates").join(format!("{domain}.pem"))
    }

    /// Where the account is.
    pub(super) fn account(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// Where the answers are.
    pub(super) fn answers_folder(&self) -> PathBuf {
        self.folder.join("answers")
    }

    /// Takes a lock for at most this long; none while another one holds it. One that was not given back in its time is taken over.
    pub(super) fn lock(&self, name: &str, life: Duration, now: SystemTime) -> io::Result<Option<Lock>> {
        let path = self.folder.join("locks").join(name);
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let owner = format!("{}:{}:{:016x}", host.trim(), std::process::id(), fastrand::u64(..));
        let content = json!({ "owner": owner, "until": seconds(now + life) }).to_string().into_bytes();
        let _alone = self.alone()?;
        let held = fs::read(&path).ok().and_then(|held| serde_json::from_slice::<Value>(&held).ok());
        if held.and_then(|held| held["until"].as_u64()).is_some_and(|until| until > seconds(now)) {
            return Ok(None);
        }
        files::replace(&path, &content)?;
        Ok(Some(Lock { path, content, storage: self.clone() }))
    }

    /// Nobody else looks at locks while this lives. The kernel holds it, so that it ends with whoever has it.
    fn alone(&self) -> io::Result<File> {
        let guard = File::create(self.folder.join("locks").join(".guard"))?;
        guard.lock()?;
        Ok(guard)
    }

    /// Keeps an answer, for this node and those that share the folder.
    pub(super) fn answer(&self, answer: &Answer, now: SystemTime) -> io::Result<()> {
        let challenge = match answer.challenge {
            Challenge::Http01 => "http-01",
            Challenge::TlsAlpn01 => "tls-alpn-01",
        };
        let content = json!({
            "domain": answer.domain,
            "token": answer.token,
            "challenge": challenge,
            "authorization": answer.authorization,
            "digest": answer.digest,
            "until": seconds(now + ANSWERED),
        });
        files::replace(&self.answer_file(&answer.domain), content.to_string().as_bytes())
    }

    /// Forgets the answer for a domain.
    pub(super) fn forget(&self, domain: &str) {
        // It may have been forgotten already.
        let _ = fs::remove_file(self.answer_file(domain));
    }

    /// The answers that there are; those that are too old are removed.
    pub(super) fn answers(&self, now: SystemTime) -> Vec<Answer> {
        let entries = fs::read_dir(self.answers_folder()).into_iter().flatten().flatten();
        let files =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let mut answers = Vec::new();
        for file in files.take(MOST_ANSWERS) {
            let Some(said) = config::content(&file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
            else {
                continue;
            };
            if said["until"].as_u64().is_none_or(|until| until < seconds(now)) {
                let _ = fs::remove_file(&file);
                continue;
            }
            answers.extend(Answer::of(&said));
        }
        answers
    }

    fn answer_file(&self, domain: &str) -> PathBuf {
        self.answers_folder().join(format!("{domain}.json"))
    }
}

impl Answer {
    fn of(said: &Value) -> Option<Answer> {
        let digest = said["digest"].as_array()?.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
        Some(Answer {
            domain: said["domain"].as_str()?.to_owned(),
            token: said["token"].as_str()?.to_owned(),
            challenge: if said["challenge"] == "http-01" { Challenge::Http01 } else { Challenge::TlsAlpn01 },
            authorization: said["authorization"].as_str()?.to_owned(),
            digest: digest.collect::<Option<_>>()?,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _alone = self.storage.alone();
        // One that was taken over is somebody else's.
        if fs::read(&self.path).is_ok_and(|content| content == self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn storage(name: &str) -> (Folder, Storage) {
        let folder = std::env::temp_dir().join(format!("tidegate-storage-{name}-{}", std::process::id()));
        let storage = Storage::of(&folder, "https://Acme.test:14000/dir?x");
        storage.prepare().expect("folders");
        (Folder(folder), storage)
    }

    #[test]
    fn a_lock_has_one_holder_and_a_stale_one_is_taken_over() {
        let (_folder, storage) = storage("lock");
        let (now, life) = (SystemTime::now(), Duration::from_secs(60));
        let lock = |at| storage.lock("a.test", life, at).expect("a folder");
        let first = lock(now).expect("a lock");
        assert!(lock(now).is_none() && lock(now + life / 2).is_none());
        assert!(storage.lock("b.test", life, now).expect("a folder").is_some());
        drop(first);
        let second = lock(now).expect("a lock that was given back");
        let third = lock(now + life).expect("a lock that was not given back in time");
        // Whoever was too slow does not take the other's away.
        drop(second);
        assert!(lock(now + life).is_none());
        drop(third);
        let left: Vec<_> = fs::read_dir(storage.folder.join("locks")).expect("a folder").collect();
        assert_eq!(left.len(), 1, "the guard alone: {left:?}");
    }

    #[test]
    fn of_many_that_find_a_stale_lock_one_gets_it() {
        let (_folder, storage) = storage("race");
        for _ in 0..20 {
            fs::write(storage.folder.join("locks/a.test"), "half a lo").expect("a file");
            let begin = std::sync::Barrier::new(8);
            let held = std::thread::scope(|scope| {
                let take = || {
                    begin.wait();
                    storage.lock("a.test", Duration::from_secs(60), SystemTime::now()).expect("a folder")
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
                all.into_iter().filter_map(|one| one.join().expect("a thread")).collect::<Vec<_>>()
            });
            assert_eq!(held.len(), 1, "{held:?}");
        }
    }

    #[test]
    fn answers_are_shared_until_they_are_old_and_nobody_else_reads_them() {
        let (_folder, storage) = storage("answers");
        let now = SystemTime::now();
        let answer = Answer {
            domain: "a.test".to_owned(),
            token: "t".to_owned(),
            challenge: Challenge::TlsAlpn01,
            authorization: "t.x".to_owned(),
            digest: vec![0, 255],
        };
        storage.answer(&answer, now).expect("a file");
        fs::write(storage.answers_folder().join("noise.json"), "{").expect("a file");
        let mode = fs::metadata(storage.answer_file("a.test")).expect("a file").mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(storage.answers(now), std::slice::from_ref(&answer));
        assert_eq!(storage.answers(now + ANSWERED + Duration::from_secs(1)), []);
        assert_eq!(storage.answers(now), []);
        storage.answer(&answer, now).expect("a file");
        storage.forget("a.test");
        assert_eq!(storage.answers(now), []);
    }
}
