//! A real server: nginx, in one process, behind a Unix socket, so that it needs no port.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::program::Folder;

/// A running nginx that answers every request with its name. It ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    folder: Folder,
    address: String,
}

impl Nginx {
    /// Starts one; none, with the reason printed, where nginx is not installed.
    ///
    /// # Panics
    /// It is installed and does not start.
    pub fn named(name: &str) -> Option<Nginx> {
        let Some(program) = program() else {
            eprintln!("skipped: there is no nginx on this machine");
            return None;
        };
        let folder = Folder::new();
        let socket = folder.path().join("nginx.sock");
        let config = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr crit;\nevents {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 1000000;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  \
             fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
             server {{ listen unix:{}; location / {{ return 200 {name}; }} }}\n}}\n",
            socket.display()
        );
        folder.write("nginx.conf", &config);
        let address = format!("unix:{}", socket.display());
        let process = start(&program, &folder, &address);
        Some(Nginx { process, folder, address })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// It has ended before.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        // A killed nginx leaves its socket behind and would not bind over it.
        let _ = fs::remove_file(self.address.trim_start_matches("unix:"));
        self.process = start(&program().expect("nginx was there before"), &self.folder, &self.address);
    }

    /// Stops it: connections are still taken by the kernel, and nothing answers.
    pub fn hang(&self) {
        self.process.hang();
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.process.go_on();
    }
}

fn program() -> Option<PathBuf> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from).into_iter().find(|at| at.exists())
}

fn start(program: &PathBuf, folder: &Folder, address: &str) -> Process {
    let mut command = Command::new(program);
    command.args(["-p", &folder.path().display().to_string(), "-c", "nginx.conf"]);
    Process::listening(command.stdin(Stdio::null()).stdout(Stdio::null()), address)
}
