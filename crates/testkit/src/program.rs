//! The program under test, started as an operator starts it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::message::Response;
use crate::netns::{Bpffs, Netns};
use crate::wait::Shared;

/// A running Tidegate. It is killed, by its process id, when this is dropped.
#[derive(Debug)]
pub struct Tidegate {
    child: Child,
    /// The folder that it was started in, for files of the test.
    pub folder: Folder,
    ready: Value,
    lines: Arc<Shared<Lines>>,
}

/// A folder that vanishes with its owner.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// What the program has printed.
#[derive(Debug, Default)]
struct Lines {
    out: Vec<String>,
    err: Vec<String>,
    ready: Option<String>,
    /// How many of the three pipes have ended.
    ended: usize,
}

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// It took effect.
    Yes,
    /// The old configuration was kept; what the program said.
    No(String),
}

/// How a Tidegate is started.
#[derive(Debug)]
pub struct Start<'a> {
    binary: &'a str,
    sets: Vec<String>,
    descriptors: Option<u32>,
    shell: Command,
    /// What the shell does first.
    before: String,
    /// What the program is started by.
    by: String,
}

/// How long a start may take, on a machine that builds at the same time.
const START: Duration = Duration::from_secs(60);

impl<'a> Start<'a> {
    /// Of this binary.
    pub fn of(binary: &'a str) -> Start<'a> {
        let shell = Command::new("/bin/sh");
        Start { binary, sets: Vec::new(), descriptors: None, shell, before: String::new(), by: String::new() }
    }

    /// With `--set path=value`.
    pub fn set(mut self, path: &str, value: &str) -> Start<'a> {
        self.sets.push(format!("{path}={value}"));
        self
    }

    /// With so many descriptors.
    pub fn descriptors(mut self, count: u32) -> Start<'a> {
        self.descriptors = Some(count);
        self
    }

    /// On a machine of the test's own, where this file system of BPF is the one that everybody knows: whoever is started with it
    /// later finds what an earlier one has left.
    pub fn on(mut self, machine: &Netns, pins: &Bpffs) -> Start<'a> {
        self.shell = machine.command("unshare");
        self.shell.args(["--mount", "--", "/bin/sh"]);
        self.before = format!("mount --bind {} /sys/fs/bpf && ", pins.path().display());
        self
    }

    /// Without these capabilities, in the words of `setpriv`: `bpf,net_admin`.
    pub fn without(mut self, capabilities: &str) -> Start<'a> {
        let less = capabilities.split(',').map(|name| format!("-{name}")).collect::<Vec<_>>().join(",");
        self.by = format!("setpriv --bounding-set={less} --inh-caps={less} -- ");
        self
    }

    /// With these capabilities and no others.
    pub fn with_only(mut self, capabilities: &str) -> Start<'a> {
        let only = capabilities.split(',').map(|name| format!(",+{name}")).collect::<String>();
        self.by = format!("setpriv --bounding-set=-all{only} --inh-caps=-all -- ");
        self
    }

    /// Has the program end by itself with a configuration that it should refuse: its exit code, and what it said on standard error.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn refused(mut self, arguments: &[&str]) -> (Option<i32>, String) {
        let script = format!("{}exec {}timeout -k 1 {} \"$0\" \"$@\"", self.before, self.by, START.as_secs());
        self.shell.args(["-c", &script, self.binary]).args(arguments).stdin(Stdio::null());
        let output = self.shell.output().expect("a process");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// On a machine of the test's own.
    pub fn inside(mut self, machine: &Netns) -> Start<'a> {
        self.shell = machine.command("/bin/sh");
        self
    }

    /// With this configuration, in a file of its own.
    ///
    /// # Panics
    /// It does not start.
    pub fn text(self, config: &str) -> Tidegate {
        let folder = Folder::new();
        let file = folder.write("tidegate.yaml", config);
        self.run(&["run", &file.display().to_string()], folder)
    }

    /// With a file as it stands.
    ///
    /// # Panics
    /// It does not start.
    pub fn file(self, file: &Path) -> Tidegate {
        self.run(&["run", &file.display().to_string()], Folder::new())
    }

    /// With another command than `run`.
    ///
    /// # Panics
    /// It does not start.
    pub fn command(self, arguments: &[&str]) -> Tidegate {
        self.run(arguments, Folder::new())
    }

    fn run(self, arguments: &[&str], folder: Folder) -> Tidegate {
        let (ready, write_end) = std::io::pipe().expect("a pipe");
        // The shell moves the pipe from its standard input to descriptor 3, and becomes the program.
        let limit = self.descriptors.map(|count| format!("ulimit -n {count} && ")).unwrap_or_default();
        let script = format!("{}{limit}exec {}\"$0\" \"$@\" 3>&0 </dev/null", self.before, self.by);
        let mut command = self.shell;
        command.args(["-c", &script, self.binary]).args(arguments).args(["--ready-fd", "3"]);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        command.current_dir(folder.path()).stdin(write_end).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        // The command keeps the pipe's other end; without it the pipe ends with the program.
        drop(command);
        let lines = Arc::<Shared<Lines>>::default();
        collect(ready, &lines, |lines, line| lines.ready = Some(line));
        collect(child.stdout.take().expect("a pipe"), &lines, |lines, line| lines.out.push(line));
        collect(child.stderr.take().expect("a pipe"), &lines, |lines, line| lines.err.push(line));
        let said = lines.within(START, |lines| (lines.ready.is_some() || lines.ended == 3).then(|| lines.ready.take()));
        let Some(Some(line)) = said else {
            let _ = child.kill();
            let _ = child.wait();
            let err = lines.with(|lines| lines.err.join("\n"));
            let config = fs::read_to_string(folder.path().join("tidegate.yaml")).unwrap_or_default();
            panic!("tidegate did not start\n{err}\n{config}");
        };
        let ready = serde_json::from_str(&line).expect("one line of JSON");
        Tidegate { child, folder, ready, lines }
    }
}

/// Runs the program with a configuration that it should refuse: its exit code, and what it said on standard error. There is
/// no code if it serves instead.
///
/// # Panics
/// It cannot be run.
pub fn failure_of(binary: &str, config: &str) -> (Option<i32>, String) {
    let folder = Folder::new();
    let file = folder.write("tidegate.yaml", config);
    let (ready, write_end) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(binary);
    command.arg("run").arg(file).args(["--ready-fd", "0"]).current_dir(folder.path());
    let mut child = command.stdin(write_end).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
    drop(command);
    let lines = Arc::<Shared<Lines>>::default();
    collect(ready, &lines, |lines, line| lines.ready = Some(line));
    collect(child.stderr.take().expect("a pipe"), &lines, |lines, line| lines.err.push(line));
    let serves =
        lines.within(START, |lines| (lines.ready.is_some() || lines.ended == 2).then_some(lines.ready.is_some()));
    if serves != Some(false) {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child");
    (status.code(), lines.with(|lines| lines.err.join("\n")))
}

/// Runs the program to its end.
///
/// # Panics
/// It cannot be run.
pub fn output_of(binary: &str, arguments: &[&str]) -> Output {
    Command::new(binary).args(arguments).stdin(Stdio::null()).output().expect("a process")
}

impl Tidegate {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The first address of a listener.
    ///
    /// # Panics
    /// There is no such listener.
    pub fn address(&self, listener: &str) -> String {
        match &self.ready["listeners"][listener][0] {
            Value::String(address) => address.clone(),
            _ => panic!("no listener {listener}: {}", self.ready),
        }
    }

    /// Connects to the listener `web`.
    pub fn client(&self) -> Client {
        Client::connect(&self.address("web"))
    }

    /// Asks the operator's listener.
    ///
    /// # Panics
    /// It does not answer.
    pub fn admin(&self, target: &str) -> Response {
        self.try_admin(target).expect("an answer from the operator's listener")
    }

    /// Asks the operator's listener, if there still is one.
    pub fn try_admin(&self, target: &str) -> Option<Response> {
        let address = self.ready["admin"].as_str().expect("an admin address");
        let mut client = Client::try_connect(address)?;
        let host = if address.starts_with("unix:") { "any.example" } else { address };
        let sent = client.try_send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        if sent { client.try_response().ok() } else { None }
    }

    /// The samples of a metric whose labels hold all of `labels` (`listener="web"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let page = self.admin("/metrics").text();
        let samples = page.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    }

    /// Waits for an access line.
    ///
    /// # Panics
    /// There is none in time.
    pub fn log_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.lines.until(&format!("the access line of {what}"), |lines| {
            lines.out.iter().filter_map(|line| serde_json::from_str(line).ok()).find(|line| wanted(line))
        })
    }

    /// Waits for the access line of the request for this path.
    ///
    /// # Panics
    /// There is none in time.
    pub fn log_of(&self, path: &str) -> Value {
        self.log_line(path, |line| line["path"] == path)
    }

    /// Every access line so far.
    pub fn log(&self) -> Vec<Value> {
        self.lines.with(|lines| lines.out.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Waits for a line on standard output, and answers all that stands there by then.
    ///
    /// # Panics
    /// There is none in time.
    pub fn printed(&self, wanted: &str) -> String {
        self.lines.until(&format!("the line {wanted:?}"), |lines| {
            lines.out.iter().any(|line| line.contains(wanted)).then(|| lines.out.join("\n"))
        })
    }

    /// Waits for a line of the process's own log.
    ///
    /// # Panics
    /// There is none in time.
    pub fn message(&self, wanted: &str) -> String {
        self.lines.until(&format!("the message {wanted:?}"), |lines| {
            lines.err.iter().find(|line| line.contains(wanted)).cloned()
        })
    }

    /// Everything it has said on standard error.
    pub fn messages(&self) -> String {
        self.lines.with(|lines| lines.err.join("\n"))
    }

    /// Replaces the configuration, asks for a reload by signal, and waits for its outcome.
    ///
    /// # Panics
    /// The program says nothing in time.
    pub fn reload(&self, config: &str) -> Reloaded {
        let before = self.lines.with(|lines| lines.err.len());
        self.folder.replace("tidegate.yaml", config);
        self.signal(Signal::HUP);
        self.lines.until("a reload's outcome", |lines| {
            let new = &lines.err[before..];
            new.iter().find_map(|line| outcome(line)).map(|outcome| match outcome {
                Reloaded::Yes => Reloaded::Yes,
                Reloaded::No(_) => Reloaded::No(new.join("\n")),
            })
        })
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// The process is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a running process");
    }

    /// Ends it at once, without a word to anybody.
    ///
    /// # Panics
    /// It has ended already.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to end, as `kill` does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end: its pipes close.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(&mut self) -> ExitStatus {
        self.lines.until("the program's end", |lines| (lines.ended == 3).then_some(()));
        self.child.wait().expect("a child")
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Bytes of memory that it holds.
    ///
    /// # Panics
    /// The process is gone.
    pub fn rss(&self) -> u64 {
        self.status("VmRSS")
    }

    /// A size from the kernel's status of the process, in bytes: `VmRSS`, or `VmHWM` for the most there ever was.
    ///
    /// # Panics
    /// The process is gone, or has no such size.
    pub fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a size");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// Descriptors that it holds.
    ///
    /// # Panics
    /// The process is gone.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running process").count()
    }
}

/// What a line of the process's log says of a reload, if it does.
fn outcome(line: &str) -> Option<Reloaded> {
    // The program watches its file, too: only the reload that was asked for counts.
    if line.contains("reloaded (SIGHUP)") {
        return Some(Reloaded::Yes);
    }
    line.contains("reload refused (SIGHUP)").then(|| Reloaded::No(String::new()))
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        if thread::panicking() {
            // What it still has to say may explain the failure.
            let _: Option<()> = self.lines.within(Duration::from_millis(300), |_| None);
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- tidegate said\n{}", self.messages());
            let log = self.lines.with(|lines| lines.out.clone());
            eprintln!("--- its last access lines\n{}", log[log.len().saturating_sub(20)..].join("\n"));
        }
    }
}

impl Folder {
    /// A new, empty folder.
    ///
    /// # Panics
    /// It cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes something on the disk")]
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and answers its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a written file");
        path
    }

    /// Writes a file and puts it in the place of an old one at once.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn replace(&self, name: &str, text: &str) {
        let new = self.write("new", text);
        fs::rename(new, self.0.join(name)).expect("a renamed file");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads lines until the pipe ends.
fn collect(pipe: impl Read + Send + 'static, lines: &Arc<Shared<Lines>>, note: fn(&mut Lines, String)) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.with(|lines| note(lines, line));
        }
        lines.with(|lines| lines.ended += 1);
    });
}
