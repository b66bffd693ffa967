//! The archives that routes are captured into. An archive is known by its file over reloads, and open as long as the configuration
//! names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::Mistake;
use config::spec::{self, PolicyKind, Spec};
use observe::capture::{Capture, Recorder, Redact, Settings, USUAL_FIELDS, USUAL_PARAMETERS};
use observe::metrics::Archive;

/// How long the last entries may take at the end of the process.
const LAST: Duration = Duration::from_secs(2);

/// The archives that are open.
#[derive(Debug, Default)]
pub struct Captures {
    open: BTreeMap<PathBuf, Capture>,
}

impl Captures {
    /// Opens those that a configuration names and that are not open.
    ///
    /// # Errors
    /// Those that cannot be opened.
    pub fn open(&mut self, spec: &Spec) -> Result<(), Vec<Mistake>> {
        let mut mistakes = Vec::new();
        for (policy, said) in named(spec) {
            if self.open.contains_key(&said.har) {
                continue;
            }
            match Capture::open(&said.har, settings(said)) {
                Ok(capture) => {
                    self.open.insert(said.har.clone(), capture);
                }
                Err(error) => {
                    let message = format!("cannot open the capture `{}`: {error}", said.har.display());
                    mistakes.push(Mistake { message, span: policy.span.clone() });
                }
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// Keeps those that the configuration in force names, as it says. Others close when the last exchange has left them: they may be
    /// named again before that.
    pub fn keep_those_of(&mut self, spec: Option<&Spec>) {
        let said: BTreeMap<&Path, &spec::Capture> =
            spec.into_iter().flat_map(named).map(|(_, said)| (said.har.as_path(), said)).collect();
        self.open.retain(|path, capture| match said.get(path.as_path()) {
            Some(said) => {
                capture.set(settings(said));
                true
            }
            None if !capture.is_unused() => true,
            None => false,
        });
    }

    /// An end for workers.
    pub fn recorder(&self, said: &spec::Capture) -> Option<Arc<Recorder>> {
        let bodies = usize::try_from(said.bodies).unwrap_or(usize::MAX);
        self.open.get(&said.har).map(|capture| Arc::new(capture.recorder(bodies)))
    }

    /// What was written and lost of each that is open.
    pub fn archives(&self) -> Vec<Archive> {
        let told = |capture: &Capture| Archive {
            file: capture.path().display().to_string(),
            written: capture.written(),
            lost: capture.lost(),
        };
        self.open.values().map(told).collect()
    }

    /// Writes what workers have handed over.
    pub fn close(&mut self) {
        for (path, capture) in std::mem::take(&mut self.open) {
            if !capture.shutdown(LAST) {
                observe::log::warn(format_args!(
                    "capture: `{}` took too long to end, entries are lost",
                    path.display()
                ));
            }
        }
    }
}

fn named(spec: &Spec) -> impl Iterator<Item = (&spec::Policy, &spec::Capture)> {
    spec.policies.iter().filter_map(|policy| match &policy.kind {
        PolicyKind::Capture(said) => Some((policy, said)),
        _ => None,
    })
}

fn settings(said: &spec::Capture) -> Settings {
    let with = |names: &[String], usual: &[&str]| {
        let usual = usual.iter().filter(|_| said.usual).map(|name| (*name).to_owned());
        names.iter().cloned().chain(usual).collect()
    };
    let redact =
        Redact { fields: with(&said.fields, &USUAL_FIELDS), parameters: with(&said.parameters, &USUAL_PARAMETERS) };
    Settings { max_size: said.max_size, keep: said.keep, redact }
}
