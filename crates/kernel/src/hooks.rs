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

/// Has the program run for whatever arrives at these interfaces, and at no other that a folder of pins knows of.
pub(crate) fn put(
    program: &mut SchedClassifier,
    hook: Hook,
    folder: &Path,
    interfaces: &[Box<str>],
) -> Result<(), Refusal> {
    for name in interfaces {
        let put = match hook {
            Hook::Tcx => put_link(program, &pin_of(folder, name), name),
            Hook::Clsact => put_filter(program, name),
        };
        put.map_err(|said| Refusal::Kernel { what: format!("take the program at interface `{name}`"), said })?;
    }
    if hook == Hook::Clsact {
        let others: Vec<Box<str>> = needs::interfaces().into_iter().filter(|name| !interfaces.contains(name)).collect();
        take_filters(&others);
    }
    for pin in pins(folder) {
        if !interfaces.iter().any(|name| pin_of(folder, name) == pin) {
            take_pin(&pin)?;
        }
    }
    Ok(())
}

/// Takes the program away from everywhere.
pub(crate) fn take_away(hook: Hook, folder: &Path, interfaces: &[Box<str>]) -> Result<(), Refusal> {
    if hook == Hook::Clsact {
        for name in interfaces {
            let link = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None);
            let taken = link
                .map_err(|error| error.to_string())
                .and_then(|link| aya::programs::Link::detach(link).map_err(|error| error.to_string()));
            taken
                .map_err(|said| Refusal::Kernel { what: format!("take the program from interface `{name}`"), said })?;
        }
    }
    pins(folder).iter().try_for_each(|pin| take_pin(pin))
}

/// Takes the program's filter from whichever of these interfaces has it.
pub(crate) fn take_filters(interfaces: &[Box<str>]) {
    for name in interfaces {
        if let Ok(link) = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None) {
            // Most interfaces have none, which is an error to the kernel.
            let _ = aya::programs::Link::detach(link);
        }
    }
}

/// Removes the pinned links below a folder: the program goes with them.
pub(crate) fn take_pins(folder: &Path) -> Result<(), Refusal> {
    pins(folder).iter().try_for_each(|pin| take_pin(pin))
}

/// One priority and one handle, by which a later process finds the filter.
const PRIORITY: u16 = 7171;
const HANDLE: TcHandle = TcHandle::new(0, 1);
const PREFIX: &str = "link-";

fn put_link(program: &mut SchedClassifier, pin: &Path, name: &str) -> Result<(), String> {
    match PinnedLink::from_pin(pin) {
        Ok(link) => {
            let replaced = SchedClassifierLink::try_from(FdLink::from(link))
                .map_err(|error| said(&error))
                .and_then(|link| program.attach_to_link(link).map_err(|error| said(&error)));
            match replaced {
                // The pin holds the link: this process need not.
                Ok(id) => return program.take_link(id).map(drop).map_err(|error| said(&error)),
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
    link.pin(pin).map(drop).map_err(|error| said(&error))
}

fn put_filter(program: &mut SchedClassifier, name: &str) -> Result<(), String> {
    // It is there already, or the filter will say what is wrong.
    let _ = qdisc_add_clsact(name);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
    let created = program.attach_with_options(name, TcAttachType::Ingress, TcAttachOptions::Netlink(options));
    let id = match created {
        Ok(id) => id,
        Err(ProgramError::TcError(_)) => {
            let link = SchedClassifierLink::attached(name, TcAttachType::Ingress, PRIORITY, HANDLE, None);
            let link = link.map_err(|error| error.to_string())?;
            program.attach_to_link(link).map_err(|error| said(&error))?
        }
        Err(error) => return Err(said(&error)),
    };
    // A filter has no pin: the interface holds it, as long as nobody here detaches it.
    program.take_link(id).map(mem::forget).map_err(|error| said(&error))
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
    fs::remove_file(pin).map_err(|error| Refusal::of(format!("remove the pin `{}`", pin.display()), &error))
}

/// All that an error says, its sources included.
fn said(error: &dyn std::error::Error) -> String {
    match Refusal::of(String::new(), error) {
        Refusal::Kernel { said, .. } => said,
        other => other.to_string(),
    }
}
