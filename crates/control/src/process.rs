//! The life of the process: start, reload, drain, end.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::spec::{AccessLog, Admin, AdminBind, BindAddress, LogSink, PolicyKind, Spec};
use config::{Argument, LoadOptions, Loaded, Mistake, Mistakes, Span};
use proxy::users::Desk;
use proxy::worker::{Command, Fleet};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::certificates;
use crate::discovery::{Look, Wanted};
use crate::health::LOOK_EVERY;
use crate::lists;
use crate::plane::Plane;
use crate::quotas::WRITTEN_EVERY;
use crate::registry::random_seal;
use crate::room::Room;
use crate::users;
use crate::watch::Watch;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the configuration comes from.
    pub source: Source,
    /// `--set path=value`.
    pub sets: Vec<(String, String)>,
    /// Where to tell, in one JSON line, that we serve, and at which addresses.
    pub ready_fd: Option<i32>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, which is watched.
    File(PathBuf),
    /// A text that the command itself made.
    Text {
        /// Its name in messages.
        name: String,
        /// The document.
        text: String,
        /// What was said on the command line, where the document names it.
        arguments: Vec<Argument>,
    },
}

/// What the parts of the control plane share. They run on one thread.
pub struct Process {
    /// What is in force.
    pub plane: RefCell<Plane>,
    /// How it was started.
    pub options: Options,
    ready: Cell<bool>,
    /// The files of the configuration as they were when they were read last.
    watched: RefCell<Watch>,
    reloading: tokio::sync::Mutex<()>,
}

/// How often it is looked whether certificates have come, or end soon.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// How often the files of lists are looked at.
const LISTS_EVERY: Duration = Duration::from_secs(1);

/// How often connections inside the kernel are looked through for those that have ended.
const SWEPT_EVERY: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
pub fn run(options: Options) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(live(options)),
        Err(error) => {
            observe::log::error(format_args!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Loads a configuration from its source.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(options: &Options) -> Result<Loaded, Mistakes> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = match &options.source {
        Source::File(file) => config::load(&LoadOptions { file: file.clone(), sets: options.sets.clone(), env: &env }),
        Source::Text { name, text, arguments } => config::load_arguments(name, text, arguments, &options.sets, &env),
    };
    let mut loaded = loaded.map(in_state_folder)?;
    warn_of_the_working_folder(&mut loaded);
    let (certificates, users) = (certificates::read(&loaded.spec, None, None), users::read(&loaded.spec));
    let lists = lists::check(&loaded.spec);
    let wrong: Vec<_> = [certificates.err(), users.err(), lists.err()].into_iter().flatten().flatten().collect();
    if !wrong.is_empty() {
        return Err(Mistakes(each_once(wrong)));
    }
    loaded.files.extend(certificates::files(&loaded.spec));
    loaded.files.extend(users::files(&loaded.spec));
    Ok(loaded)
}

/// Files that we write stand in the state folder: the configuration's, or the one that a service manager gives, or the
/// working folder.
pub fn in_state_folder(mut loaded: Loaded) -> Loaded {
    let given = || std::env::var_os("STATE_DIRECTORY").map(PathBuf::from);
    let Some(state) = loaded.spec.state.clone().or_else(given) else { return loaded };
    loaded.spec.state = Some(state.clone());
    let spec = &mut loaded.spec;
    if let Some(AccessLog { to: LogSink::File(path), .. }) = &mut spec.access_log {
        *path = state.join(&*path);
    }
    if let Some(Admin { bind: AdminBind::Unix(path), .. }) = &mut spec.admin {
        *path = state.join(&*path);
    }
    for policy in &mut spec.policies {
        if let PolicyKind::Capture(capture) = &mut policy.kind {
            capture.har = state.join(&capture.har);
        }
    }
    for bind in spec.listeners.iter_mut().flat_map(|listener| &mut listener.binds) {
        if let BindAddress::Unix { path, .. } = &mut bind.address {
            *path = state.join(&*path);
        }
    }
    loaded
}

/// What several inherit from one place is wrong there once.
fn each_once(wrong: Vec<Mistake>) -> Vec<Mistake> {
    let mut told = HashSet::new();
    wrong.into_iter().filter(|mistake| told.insert(mistake.clone())).collect()
}

/// Without a state folder, files whose paths are relative stand wherever the process was started.
fn warn_of_the_working_folder(loaded: &mut Loaded) {
    let Loaded { spec, warnings, .. } = loaded;
    if spec.state.is_some() {
        return;
    }
    let mut written: Vec<(&Path, &Span)> = Vec::new();
    if let Some(AccessLog { to: LogSink::File(path), span, .. }) = &spec.access_log {
        written.push((path, span));
    }
    if let Some(Admin { bind: AdminBind::Unix(path), span }) = &spec.admin {
        written.push((path, span));
    }
    for policy in &spec.policies {
        if let PolicyKind::Capture(capture) = &policy.kind {
            written.push((&capture.har, &policy.span));
        }
    }
    for bind in spec.listeners.iter().flat_map(|listener| &listener.binds) {
        if let BindAddress::Unix { path, .. } = &bind.address {
            written.push((path, &bind.span));
        }
    }
    for (path, span) in written.into_iter().filter(|(path, _)| path.is_relative()) {
        let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let message = format!(
            "`{}` stands in the folder in which the process was started, write a whole path, or name a folder by `state`: {}",
            path.display(),
            place.display()
        );
        warnings.push(Mistake::new(span.clone(), message));
    }
}

async fn live(options: Options) -> ExitCode {
    let loaded = match load(&options) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes),
    };
    let room = Room::take();
    let workers = loaded.spec.workers.unwrap_or_else(processors);
    let desk = Arc::new(Desk::new(random_seal()));
    let fleet = match users::attend(&desk, processors()).and_then(|()| Fleet::start(workers, desk)) {
        Ok(fleet) => fleet,
        Err(error) => {
            observe::log::error(format_args!("cannot start {workers} workers: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let (Ok(hangup), Ok(terminate), Ok(interrupt), Ok(rotate)) = (
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::user_defined1()),
    ) else {
        observe::log::error(format_args!("cannot listen for signals"));
        return ExitCode::FAILURE;
    };
    let process = Rc::new(Process {
        plane: RefCell::new(Plane::new(fleet, room)),
        options,
        ready: Cell::new(false),
        watched: RefCell::new(Watch::of(&loaded.files)),
        reloading: tokio::sync::Mutex::new(()),
    });
    let admin = match admin::Admin::bind(&loaded.spec) {
        Ok(admin) => admin,
        Err(mistake) => return refuse(&Mistakes(vec![mistake])),
    };
    if let Some(address) = admin.as_ref().and_then(admin::Admin::by_tcp) {
        process.plane.borrow().registry.own.administer(address);
    }
    for warning in &loaded.warnings {
        observe::log::warn(format_args!("{warning}"));
    }
    if let Err(mistakes) = process.apply(loaded).await {
        return refuse(&mistakes);
    }
    process.plane.borrow().nat.look_around();
    process.ready.set(true);
    let admin_at = admin.as_ref().map(admin::Admin::address);
    process.announce(workers, admin_at.as_deref());
    if let Some(admin) = admin {
        tokio::task::spawn_local(admin::serve(admin, Rc::clone(&process)));
    }
    tokio::task::spawn_local(Rc::clone(&process).watch_files());
    tokio::task::spawn_local(Rc::clone(&process).watch_standing());
    tokio::task::spawn_local(Rc::clone(&process).sweep_packets());
    tokio::task::spawn_local(Rc::clone(&process).renew_certificates());
    tokio::task::spawn_local(Rc::clone(&process).watch_servers());
    tokio::task::spawn_local(Rc::clone(&process).watch_lists());
    tokio::task::spawn_local(Rc::clone(&process).write_quotas());
    tokio::task::spawn_local(Rc::clone(&process).drive_canaries());
    tokio::task::spawn_local(Rc::clone(&process).reload_on(hangup));
    tokio::task::spawn_local(Rc::clone(&process).rotate_on(rotate));
    process.end_on(terminate, interrupt).await
}

impl Process {
    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.ready.get()
    }

    /// Reloads from the source.
    ///
    /// # Errors
    /// Everything that is wrong; what was in force stays in force.
    pub async fn reload(&self, why: &str) -> Result<u64, Mistakes> {
        let load = || {
            // Files that are wrong are read again when they change again, not before.
            let seen = self.watched.borrow().again();
            self.watched.replace(seen);
            let loaded = load(&self.options)?;
            self.watched.replace(Watch::of(&loaded.files));
            Ok(loaded)
        };
        self.replace(why, load).await
    }

    /// Puts another configuration in force.
    ///
    /// # Errors
    /// Everything that is wrong; what was in force stays in force.
    pub async fn replace(&self, why: &str, load: impl FnOnce() -> Result<Loaded, Mistakes>) -> Result<u64, Mistakes> {
        let _one_at_a_time = self.reloading.lock().await;
        let result = match load() {
            Ok(loaded) => self.apply(loaded).await,
            Err(mistakes) => Err(mistakes),
        };
        let mut plane = self.plane.borrow_mut();
        match result {
            Ok(()) => {
                plane.reloads.0 += 1;
                let generation = plane.snapshot.generation;
                observe::log::info(format_args!("reloaded ({why}): generation {generation}"));
                Ok(generation)
            }
            Err(mistakes) => {
                plane.reloads.1 += 1;
                for mistake in &mistakes.0 {
                    observe::log::error(format_args!("{mistake}"));
                }
                let generation = plane.snapshot.generation;
                observe::log::error(format_args!("reload refused ({why}): generation {generation} stays in force"));
                Err(mistakes)
            }
        }
    }

    async fn apply(&self, loaded: Loaded) -> Result<(), Mistakes> {
        let (library, workers) = self.library();
        let read = library.refresh(&loaded.spec.lists, Look::Reload, workers).await;
        let (library, _) = read.map_err(Mistakes)?;
        let mut discovery = self.plane.borrow().discovery.clone();
        discovery.refresh(&Wanted::of(&loaded.spec), Look::Reload).await;
        let before = self.plane.borrow().loaded.as_ref().map(|loaded| loaded.spec.clone());
        warn_of_what_needs_a_restart(before.as_ref(), &loaded.spec);
        self.plane.borrow_mut().apply(loaded, discovery, library)
    }

    /// The lists in force, and how many workers look into them.
    fn library(&self) -> (lists::Library, usize) {
        let plane = self.plane.borrow();
        (plane.library.clone(), plane.fleet.len())
    }

    /// Tells the log, and whoever waits for it, that we serve.
    fn announce(&self, workers: usize, admin: Option<&str>) {
        let plane = self.plane.borrow();
        let mut listeners = serde_json::Map::new();
        for listener in plane.snapshot.listeners.iter().flatten() {
            let at = plane.sockets.actual(&listener.name);
            observe::log::info(format_args!("listener `{}` at {}", listener.name, at.join(", ")));
            listeners.insert(listener.name.to_string(), at.into());
        }
        for listener in plane.loaded.iter().flat_map(|loaded| &loaded.spec.listeners) {
            let at = plane.nat.addresses(listener);
            if !at.is_empty() {
                observe::log::info(format_args!(
                    "listener `{}` at {}, inside the kernel",
                    listener.name,
                    at.join(", ")
                ));
                listeners.insert(listener.name.clone(), at.into());
            }
        }
        if let Some(admin) = admin {
            observe::log::info(format_args!("admin at {admin}"));
        }
        observe::log::info(format_args!("ready: {workers} workers"));
        let Some(fd) = self.options.ready_fd else { return };
        let line = serde_json::json!({
            "ready": true,
            "pid": std::process::id(),
            "workers": workers,
            "listeners": listeners,
            "admin": admin,
        });
        // The descriptor was opened by whoever started us; through the file system it needs no unsafe adoption.
        let told = std::fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/self/fd/{fd}"))
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = told {
            observe::log::error(format_args!("cannot tell descriptor {fd} that we are ready: {error}"));
        }
    }

    async fn watch_files(self: Rc<Process>) {
        let mut pending = None;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let known = self.watched.borrow().clone();
            let now = known.again();
            // Two looks that agree: an editor may be half way through.
            if now == known || pending.as_ref() != Some(&now) {
                pending = (now != known).then_some(now);
                continue;
            }
            pending = None;
            // What is wrong has been logged.
            let _ = self.reload("file changed").await;
        }
    }

    async fn watch_servers(self: Rc<Process>) {
        loop {
            let next = self.plane.borrow().discovery.next();
            let now = Instant::now();
            let pause = next.map_or(Duration::from_secs(1), |next| next.saturating_duration_since(now));
            // A reload may bring sources that are older: look again soon.
            tokio::time::sleep(pause.clamp(Duration::from_millis(100), Duration::from_secs(1))).await;
            if next.is_none_or(|next| next > Instant::now()) {
                continue;
            }
            let (mut discovery, wanted, generation) = {
                let plane = self.plane.borrow();
                let Some(loaded) = &plane.loaded else { continue };
                (plane.discovery.clone(), Wanted::of(&loaded.spec), plane.snapshot.generation)
            };
            let changed = discovery.refresh(&wanted, Look::Due).await;
            let _one_at_a_time = self.reloading.lock().await;
            let mut plane = self.plane.borrow_mut();
            // A reload has asked for itself meanwhile.
            if plane.snapshot.generation != generation {
                continue;
            }
            if changed {
                plane.readdress(discovery);
            } else {
                plane.discovery = discovery;
            }
        }
    }

    async fn watch_lists(self: Rc<Process>) {
        loop {
            tokio::time::sleep(LISTS_EVERY).await;
            let (library, workers) = self.library();
            let (said, generation) = {
                let plane = self.plane.borrow();
                let Some(loaded) = &plane.loaded else { continue };
                (loaded.spec.lists.clone(), plane.snapshot.generation)
            };
            if said.is_empty() {
                continue;
            }
            let Ok((library, has_changed)) = library.refresh(&said, Look::Due, workers).await else { continue };
            let _one_at_a_time = self.reloading.lock().await;
            let mut plane = self.plane.borrow_mut();
            // A reload has read them itself meanwhile.
            if plane.snapshot.generation != generation {
                continue;
            }
            if has_changed {
                plane.relist(library);
            } else {
                plane.library = library;
            }
        }
    }

    async fn watch_standing(self: Rc<Process>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut plane = self.plane.borrow_mut();
            plane.health.look();
            plane.health.compare();
            // Whoever is well again, or no longer, is so for the kernel, too.
            plane.steer();
        }
    }

    async fn sweep_packets(self: Rc<Process>) {
        loop {
            tokio::time::sleep(SWEPT_EVERY).await;
            let nat = &mut self.plane.borrow_mut().nat;
            nat.follow_links();
            nat.sweep();
        }
    }

    async fn renew_certificates(self: Rc<Process>) {
        loop {
            let news = {
                let _one_at_a_time = self.reloading.lock().await;
                let mut plane = self.plane.borrow_mut();
                plane.renew();
                Rc::clone(&plane.vault.acme.news)
            };
            let _ = tokio::time::timeout(RENEWED_EVERY, news.notified()).await;
        }
    }

    async fn write_quotas(self: Rc<Process>) {
        loop {
            tokio::time::sleep(WRITTEN_EVERY).await;
            let copy = {
                let quotas = &mut self.plane.borrow_mut().registry.quotas;
                quotas.tell();
                quotas.copy()
            };
            let Some(copy) = copy else { continue };
            let written = tokio::task::spawn_blocking(move || copy.write()).await;
            let written = written.unwrap_or_else(|failed| Err(std::io::Error::other(failed)));
            self.plane.borrow_mut().registry.quotas.written(written);
        }
    }

    async fn drive_canaries(self: Rc<Process>) {
        loop {
            let pause = self.plane.borrow().registry.canaries.pause();
            tokio::time::sleep(pause).await;
            self.plane.borrow_mut().registry.canaries.tick(Instant::now());
        }
    }

    async fn reload_on(self: Rc<Process>, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            // What is wrong has been logged.
            let _ = self.reload("SIGHUP").await;
        }
    }

    async fn rotate_on(self: Rc<Process>, mut rotate: Signal) {
        while rotate.recv().await.is_some() {
            self.plane.borrow().reopen_log();
        }
    }

    /// Waits for the signal that ends the process, and ends it gently; a second signal ends it at once.
    async fn end_on(&self, mut terminate: Signal, mut interrupt: Signal) -> ExitCode {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let code = tokio::select! {
            () = self.drain() => ExitCode::SUCCESS,
            _ = terminate.recv() => ExitCode::FAILURE,
            _ = interrupt.recv() => ExitCode::FAILURE,
        };
        self.plane.borrow().nat.farewell();
        self.plane.borrow_mut().close_log();
        code
    }

    async fn drain(&self) {
        self.ready.set(false);
        let fleet = std::sync::Arc::clone(&self.plane.borrow().fleet);
        let shutdown = self.plane.borrow().loaded.as_ref().map(|loaded| loaded.spec.shutdown);
        let (delay, drain) = shutdown.map_or((Duration::ZERO, Duration::ZERO), |said| (said.delay, said.drain));
        let accepting = if delay.is_zero() { String::new() } else { format!("accepting for another {delay:?}, then ") };
        let connections = fleet.connections();
        observe::log::info(format_args!("draining: {connections} connections, {accepting}up to {drain:?}"));
        tokio::time::sleep(delay).await;
        let began = Instant::now();
        let (done, mut closed) = tokio::sync::mpsc::channel(1024);
        self.plane.borrow_mut().sockets.close_all(&fleet, &done);
        drop(done);
        while closed.recv().await.is_some() {}
        fleet.tell_all(|_| Command::Drain);
        while fleet.connections() > 0 && began.elapsed() < drain {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (count, mut counts) = tokio::sync::mpsc::channel(fleet.len().max(1));
        fleet.tell_all(|_| Command::Cut(count.clone()));
        drop(count);
        let mut cut = 0;
        while let Some(one) = counts.recv().await {
            cut += one;
        }
        if cut > 0 {
            observe::log::warn(format_args!("drained: {cut} connections were cut"));
            // Their records are written when they notice.
            tokio::time::sleep(Duration::from_millis(200)).await;
        } else {
            observe::log::info(format_args!("drained: no connection was cut"));
        }
    }
}

fn refuse(mistakes: &Mistakes) -> ExitCode {
    // Standard error may be closed; the exit code says it all the same.
    let _ = writeln!(std::io::stderr(), "{mistakes}");
    ExitCode::from(2)
}

fn warn_of_what_needs_a_restart(before: Option<&Spec>, now: &Spec) {
    let Some(before) = before else { return };
    if before.workers != now.workers {
        observe::log::warn(format_args!("`workers` has changed: that takes effect at the next start"));
    }
    if before.admin.as_ref().map(|admin| &admin.bind) != now.admin.as_ref().map(|admin| &admin.bind) {
        observe::log::warn(format_args!("`admin` has changed: that takes effect at the next start"));
    }
}

/// The processors that this process may use: its affinity and its quota, whichever is smaller.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
