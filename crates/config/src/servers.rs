//! Files of servers: what stands behind `file:` in a list of servers, read by the same code as the list itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::content::content;
use crate::diagnostics::Mistakes;
use crate::interpolate::Sources;
use crate::shape::shape_servers;
use crate::span::Span;
use crate::spec::{Server, ServersFile};
use crate::{lower, tree};

/// Reads a file of servers: a list, or a map that gives them names, in YAML or JSON.
///
/// # Errors
/// Every mistake in it; then nothing of it holds.
pub fn load_servers(file: &ServersFile, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Server>, Mistakes> {
    let mut mistakes = Mistakes::default();
    match read(file, env, &mut mistakes) {
        Some(servers) if mistakes.0.is_empty() => Ok(servers),
        _ => Err(mistakes.sorted()),
    }
}

/// The same among other mistakes.
pub(crate) fn read(
    file: &ServersFile,
    env: &dyn Fn(&str) -> Option<String>,
    mistakes: &mut Mistakes,
) -> Option<Vec<Server>> {
    let name: Arc<str> = file.name.as_str().into();
    let bytes = match content(&file.path) {
        Ok(bytes) => bytes,
        Err(error) => {
            mistakes.note(&Span::whole(name), format!("the file cannot be read: {error}"));
            return None;
        }
    };
    let base_dir = file.path.parent().map(Path::to_owned).unwrap_or_default();
    let sources = Sources { env, base_dir, dirs: HashMap::new(), read: RefCell::default() };
    let root = tree::parse(&name, &bytes, mistakes)?;
    let shaped = shape_servers(&root, &format!("the file `{}`", file.name), &sources, mistakes);
    Some(lower::listed_servers(&shaped, &sources, mistakes))
}
