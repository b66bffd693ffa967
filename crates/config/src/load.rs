//! From a file to a [`Spec`]: read, include, override, shape, lower.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arguments::{Argument, fill_in};
use crate::bypass::ways_around;
use crate::diagnostics::{Mistake, Mistakes};
use crate::idle::idle_keys;
use crate::interpolate::Sources;
use crate::loops::loops;
use crate::shape::{Map, shape};
use crate::span::Span;
use crate::spec::{Ending, PolicyId, PolicyKind, PoolId, Route, Serves, Spec};
use crate::tree::{Data, Node, parse};
use crate::unread::unread;
use crate::{include, lower, set};

/// What to load.
pub struct LoadOptions<'a> {
    /// The first file.
    pub file: PathBuf,
    /// Overrides: paths and values, as `--set path=value` gives them.
    pub sets: Vec<(String, String)>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Loaded {
    /// What it means.
    pub spec: Spec,
    /// Every file that was read, and the folders in which patterns of `include` looked for more, for watching.
    pub files: Vec<PathBuf>,
    /// What is allowed but probably not meant, such as a pool that nothing uses.
    pub warnings: Vec<Mistake>,
    /// The document with every default, for [`crate::effective`].
    pub(crate) document: Map,
}

/// Loads a file and all that it includes.
///
/// # Errors
/// Every mistake of the whole configuration.
pub fn load(options: &LoadOptions<'_>) -> Result<Loaded, Mistakes> {
    let name: Arc<str> = options.file.to_string_lossy().into();
    let bytes = std::fs::read(&options.file).map_err(|error| {
        Mistakes(vec![Mistake::new(Span::whole(name.clone()), format!("the file cannot be read: {error}"))])
    })?;
    // Paths in the result stay right when the working folder changes.
    let path = std::path::absolute(&options.file).unwrap_or_else(|_| options.file.clone());
    let dir = path.parent().map(Path::to_owned).unwrap_or_default();
    load_bytes(&name, &bytes, Origin { dir, path: Some(path), arguments: None }, &options.sets, options.env)
}

/// Loads a text that names itself `name` and whose relative paths are in `base_dir`.
///
/// # Errors
/// Every mistake of the whole configuration.
pub fn load_text(
    name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Mistakes> {
    let origin = Origin { dir: base_dir.to_owned(), path: None, arguments: None };
    load_bytes(&name.into(), text.as_bytes(), origin, &[], env)
}

/// Loads a text that a command has made of its arguments, with overrides. Relative paths are in the working folder.
///
/// # Errors
/// Every mistake of the whole configuration.
pub fn load_arguments(
    name: &str,
    text: &str,
    arguments: &[Argument],
    sets: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Mistakes> {
    let origin = Origin { dir: PathBuf::from("."), path: None, arguments: Some(arguments) };
    load_bytes(&name.into(), text.as_bytes(), origin, sets, env)
}

/// Where a document comes from.
struct Origin<'a> {
    /// The folder of its relative paths.
    dir: PathBuf,
    /// The file, if it is one.
    path: Option<PathBuf>,
    /// What was said on a command line, if it was made of that.
    arguments: Option<&'a [Argument]>,
}

fn load_bytes(
    name: &Arc<str>,
    bytes: &[u8],
    origin: Origin<'_>,
    sets: &[(String, String)],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Mistakes> {
    let mut mistakes = Mistakes::default();
    let Origin { dir: base_dir, path, arguments } = origin;
    let mut sources = Sources { env, base_dir, dirs: HashMap::new(), read: RefCell::new(path.into_iter().collect()) };
    let Some(mut root) = parse(name, bytes, &mut mistakes) else { return Err(mistakes.sorted()) };
    if root.data == Data::Empty {
        root = Node { span: root.span, data: Data::Map(Vec::new()) };
    }
    if let Some(arguments) = arguments {
        fill_in(&mut root, name, arguments);
    }
    include::include(&mut root, &mut sources, &mut mistakes);
    for (path, value) in sets {
        set::set(&mut root, path, value, &mut mistakes);
    }
    let shaped = shape(&root, &sources, &mut mistakes);
    let Some(spec) = lower::lower(&shaped, &sources, &mut mistakes).filter(|_| mistakes.0.is_empty()) else {
        return Err(mistakes.sorted());
    };
    let warnings = warnings(&spec);
    Ok(Loaded { spec, files: sources.read.into_inner(), warnings, document: shaped.top })
}

/// Names that nothing uses, and keys that do nothing.
fn warnings(spec: &Spec) -> Vec<Mistake> {
    let mut used = Used::default();
    for listener in &spec.listeners {
        used.policies.extend(&listener.uses);
        if let Serves::Routes(routes) = &listener.serves {
            used.routes(routes);
        }
    }
    for site in &spec.sites {
        used.policies.extend(&site.uses);
        used.routes(&site.routes);
    }
    for policy in &used.policies {
        if let Some(PolicyKind::Mirror(mirror)) = spec.policies.get(policy.0).map(|policy| &policy.kind) {
            used.pools.insert(mirror.to);
        }
    }
    let pools = spec.pools.iter().enumerate().filter(|(n, _)| !used.pools.contains(&PoolId(*n)));
    let pools = pools.map(|(_, pool)| Mistake::new(pool.span.clone(), format!("pool `{}` is never used", pool.name)));
    let policies = spec.policies.iter().enumerate().filter(|(n, _)| !used.policies.contains(&PolicyId(*n)));
    let policies = policies.filter_map(|(_, policy)| {
        let name = policy.name.as_ref()?;
        Some(Mistake::new(policy.span.clone(), format!("policy `{name}` is never used")))
    });
    pools
        .chain(policies)
        .chain(idle_keys(spec))
        .chain(ways_around(spec))
        .chain(unread(spec))
        .chain(loops(spec))
        .collect()
}

#[derive(Default)]
struct Used {
    pools: HashSet<PoolId>,
    policies: HashSet<PolicyId>,
}

impl Used {
    fn routes(&mut self, routes: &[Route]) {
        for route in routes {
            self.policies.extend(&route.uses);
            self.pools.extend(route.ending.pools());
            if let Ending::Routes(inner) = &route.ending {
                self.routes(inner);
            }
        }
    }
}
