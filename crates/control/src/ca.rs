//! An authority for interception: made once, by its owner, who tells clients to trust it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use rcgen::KeyPair;

use crate::certificates::root;
use crate::files;

/// Makes one in a folder, and says what to do with it. Nothing that is there is replaced.
pub fn make(folder: &Path, name: Option<&str>) -> ExitCode {
    match written(folder, name) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// A common name may have so many characters (RFC 5280 appendix A.1).
const LONGEST: usize = 64;

fn written(folder: &Path, name: Option<&str>) -> Result<String, String> {
    let (key_file, cert_file) = (folder.join("ca.key"), folder.join("ca.pem"));
    let cannot = |error: &io::Error, file: &Path| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "there is one already, and whoever trusts it would not trust another, name another folder by `--out`: {}",
            file.display()
        ),
        _ => format!("cannot write the file: {error}: {}", file.display()),
    };
    if let Some(name) = name.filter(|name| name.is_empty() || name.chars().count() > LONGEST) {
        return Err(format!("`--name` has between 1 and {LONGEST} characters: {name}"));
    }
    for file in [&key_file, &cert_file] {
        if file.symlink_metadata().is_ok() {
            return Err(cannot(&io::ErrorKind::AlreadyExists.into(), file));
        }
    }
    files::folder(folder).map_err(|error| cannot(&error, folder))?;
    let failed = |error: rcgen::Error| format!("cannot make an authority: {error}");
    let key = KeyPair::generate().map_err(failed)?;
    let params = root(&key, name.unwrap_or("Tidegate interception"), name.is_none(), SystemTime::now());
    let cert = params.self_signed(&key).map_err(failed)?.pem();
    files::create(&key_file, key.serialize_pem().as_bytes()).map_err(|error| cannot(&error, &key_file))?;
    // Everybody may see it, and many have to.
    let shown = files::create(&cert_file, cert.as_bytes())
        .and_then(|()| fs::set_permissions(&cert_file, Permissions::from_mode(0o644)));
    if let Err(error) = shown {
        // A key without its certificate would only be in the way of the next try.
        let _ = fs::remove_file(&key_file);
        return Err(cannot(&error, &cert_file));
    }
    Ok(advice(&cert_file, &key_file))
}

fn advice(cert: &Path, key: &Path) -> String {
    let (cert, key) = (cert.display(), key.display());
    format!(
        "an authority for ten years: {cert}
its key, which opens everything that clients say to whoever has it, so keep it as a password: {key}

use it:
  listeners:
    office: {{ bind: 127.0.0.1:3128, role: forward, to: origin, intercept: {{ ca: {{ cert: {cert}, key: {key} }} }} }}

let clients trust it, and only those whose owners know:
  Debian, Ubuntu     sudo cp {cert} /usr/local/share/ca-certificates/tidegate.crt && sudo update-ca-certificates
  Fedora, RHEL       sudo cp {cert} /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
  macOS              sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {cert}
  Windows            certutil -addstore -f Root {cert}
  Firefox            Settings, Privacy & Security, View Certificates, Authorities, Import
  Chrome on Linux    certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n tidegate -i {cert}
  curl               curl --cacert {cert} -x http://127.0.0.1:3128 https://example.com/
  Python, Node       REQUESTS_CA_BUNDLE={cert}, NODE_EXTRA_CA_CERTS={cert}"
    )
}
