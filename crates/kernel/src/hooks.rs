//! The program at its interfaces: put there, or put in the place of the one that an earlier process left, without a moment in
//! which there is none.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use crate::Refusal;
use crate::needs::{self, Hook};

/// Has the program run for whatever arrives at these interfaces, and takes it from no other. Answers at which of them there was
/// none before; after a refusal there is none either.
pub(crate) fn put(
    program: &mut SchedClassifier,
    hook: Hook,
    folder: &Path,
    interfaces: &[Box<str>],
) -> Result<Vec<Box<str>>, Refusal> {
    let mut added = Vec::new();
    for name in interfaces {
        let put = match hook {
            Hook::Tcx => put_link(program, &pin_of(folder, name), name),
            Hook::Clsact => put_filter(program, folder, name),
        };
        match put {
            Ok(true) => added.push(name.clone()),
            Ok(false) => {}
            Err(said) => {
                // The refusal says more than what would go wrong here.
                let _ = take_from(hook, folder, &added);
                return Err(Refusal::Kernel { what: format!("take the program at interface `{name}`"), said });
            }
        }
    }
    Ok(added)
}

/// Takes the program from all interfaces but these.
pub(crate) fn keep_only(hook: Hook, folder: &Path, interfaces: &[Box<str>]) -> Result<(), Refusal> {
    if hook == Hook::Clsact {
        let others: Vec<Box<str>> = needs::interfaces().into_iter().filter(|name| !interfaces.contains(name)).collect();
        take_filters(folder, &others);
    }
    let is_other = |pin: &&PathBuf| !interfaces.iter().any(|name| pin_of(folder, name) == **pin);
    pins(folder).iter().filter(is_other).try_for_each(|pin| take_pin(pin))
}

/// Takes the program from these interfaces; one that no longer exists has none.
pub(crate) fn take_from(hook: Hook, folder: &Path, interfaces: &[Box<str>]) -> Result<(), Refusal> {
    match hook {
        Hook::Tcx => interfaces.iter().try_for_each(|name| take_pin(&pin_of(folder, name))),
        Hook::Clsact => {
            take_filters(folder, interfaces);
            Ok(())
        }
    }
}

/// Takes the filter of a layout, by the folder of its pins, from whichever of these interfaces has it.
pub(crate) fn take_filters(folder: &Path, interfaces: &[Box<str>]) {
    let Some(handle) = handle(folder) else { return };
    for name in interfaces {
        if let Ok(link) = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, handle, None) {
            // Most interfaces have none, which is an error to the kernel.
            let _ = aya::programs::Link::detach(link);
        }
    }
}

/// One priority, and one handle for each layout, by which a later process finds the filter: that of another layout stays beside
/// ours until ours is in force.
const PRIORITY: u16 = 7171;

/// None of a folder that is no layout's: the handle 0 would mean all filters.
fn handle(folder: &Path) -> Option<TcHandle> {
    let number = folder.file_name()?.to_str()?.strip_prefix('v')?.parse().ok()?;
    (number > 0).then(|| TcHandle::new(0, number))
}

const PREFIX: &str = "link-";

/// Whether it is new there, as below.
fn put_link(program: &mut SchedClassifier, pin: &Path, name: &str) -> Result<bool, String> {
    match PinnedLink::from_pin(pin) {
        Ok(link) => {
            let replaced = SchedClassifierLink::try_from(FdLink::from(link))
                .map_err(|error| said(&error))
                .and_then(|link| program.attach_to_link(link).map_err(|error| said(&error)));
            match replaced {
                // The pin holds the link: this process need not.
                Ok(id) => return program.take_link(id).map(|_| false).map_err(|error| said(&error)),
                // Of an interface that was removed, and has come back under the same name.
                Err(_) => fs::remove_file(pin).map_err(|error| error.to_string())?,
            }
        }
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(said(&error)),
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let attached = program.attach_with_options(name, TcAttachType::Ingress, options);
    let link = attached.and_then(|id| program.take_link(id)).map_err(|error| said(&error))?;
    let link = FdLink::try_from(link).map_err(|error| said(&error))?;
    link.pin(pin).map(|_| true).map_err(|error| said(&error))
}

fn put_filter(program: &mut SchedClassifier, folder: &Path, name: &str) -> Result<bool, String> {
    let handle = handle(folder).ok_or_else(|| format!("no number of a layout: {}", folder.display()))?;
    // It is there already, or the filter will say what is wrong.
    let _ = qdisc_add_clsact(name);
    let options = NlOptions { priority: PRIORITY, handle, ..NlOptions::default() };
    let created = program.attach_with_options(name, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    let (id, is_new) = match created {
        Ok(id) => (id, true),
        Err(ProgramError::TcError(_)) => {
            let link = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, handle, None);
            let link = link.map_err(|error| error.to_string())?;
            (program.attach_to_link(link).map_err(|error| said(&error))?, false)
        }
        Err(error) => return Err(said(&error)),
    };
    // A filter has no pin: the interface holds it, as long as nobody here detaches it.
    program.take_link(id).map(mem::forget).map_err(|error| said(&error))?;
    Ok(is_new)
}

/// A file system of BPF allows no dots in names, which interfaces may have; no interface has a tilde and a dot alike.
fn pin_of(folder: &Path, interface: &str) -> PathBuf {
    folder.join(format!("{PREFIX}{}", interface.replace('.', "~")))
}

fn pins(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))).collect()
}

fn take_pin(pin: &Path) -> Result<(), Refusal> {
    match fs::remove_file(pin) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| Refusal::of(format!("remove the pin `{}`", pin.display()), &error)),
    }
}

/// All that an error says, its sources included.
fn said(error: &dyn std::error::Error) -> String {
    match Refusal::of(String::new(), error) {
        Refusal::Kernel { said, .. } => said,
        other => other.to_string(),
    }
}
