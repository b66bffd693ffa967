//! Archives as they are on disk, and what is in them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::ids::{ClientIp, PeerAddr, RequestId};
use base::{Fault, Kind, Retry};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::{Head, Version};

use super::budget::Budget;
use super::file::{Archive, numbered};
use super::*;
use crate::stamp::Stamp;

const PATIENCE: Duration = Duration::from_secs(10);

fn redact() -> Redact {
    Redact {
        fields: USUAL_FIELDS.map(str::to_owned).to_vec(),
        parameters: USUAL_PARAMETERS.map(str::to_owned).to_vec(),
    }
}

fn settings(max_size: u64, keep: u32) -> Settings {
    Settings { max_size, keep, redact: redact() }
}

fn entry(place: Place, path: &str) -> Box<Entry> {
    let mut request = Head::default();
    request.start_request(b"GET", b"a.test:8080", path.as_bytes(), None);
    let mut response = Head::default();
    response.start_response(200);
    let peer: SocketAddr = "192.0.2.7:4711".parse().expect("an address");
    Box::new(Entry {
        place,
        time: UNIX_EPOCH + Duration::from_millis(1_795_000_000_123),
        id: RequestId { origin: 1, sequence: 2 },
        listener: "web".into(),
        route: "".into(),
        peer: PeerAddr(peer),
        client: ClientIp(peer.ip()),
        user: None,
        sort: Sort::Http,
        secure: false,
        version: Some(Version::H11),
        request,
        request_body: None,
        bytes_in: 0,
        interim: Vec::new(),
        response: Some(response),
        response_body: None,
        bytes_out: 0,
        server: None,
        moments: Moments::default(),
        fault: None,
        reason: "".into(),
        cut: false,
    })
}

fn place() -> Place {
    Place::take(&Arc::new(Budget::default())).expect("room")
}

fn told(entry: &Entry) -> Value {
    let mut out = Vec::new();
    har::write(entry, &redact(), &mut Stamp::default(), &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn kept(content: &[u8], most: usize) -> Option<Kept> {
    let mut kept = place().body(most);
    kept.add(content);
    Some(kept)
}

/// The paths of the entries of an archive, which is a document.
fn paths(path: &Path) -> Vec<String> {
    let read = fs::read(path).expect("an archive");
    let archive: Value = serde_json::from_slice(&read).unwrap_or_else(|error| panic!("{error}: {read:?}"));
    assert_eq!(archive["log"]["version"], "1.2");
    let entries = archive["log"]["entries"].as_array().expect("entries").iter();
    entries
        .map(|entry| entry["request"]["url"].as_str().expect("a URL")["http://a.test:8080".len()..].to_owned())
        .collect()
}

#[test]
fn an_entry_says_what_was_said() {
    let mut entry = entry(place(), "/x y");
    entry.request.set_query(Some(b"a=1%202&token=t"));
    entry.request.add(b"Cookie", b"one=1; two");
    entry.request.add(b"Authorization", b"Basic dTpw");
    entry.request.add(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-8");
    (entry.request_body, entry.bytes_in) = (kept(b"user=u&password=p", 100), 17);
    let response = entry.response.as_mut().expect("a response");
    response.start_response(302);
    response.add(b"Location", b"/elsewhere?access_token=x");
    response.add(b"Set-Cookie", b"sid=1; Path=/; HttpOnly; path=/other");
    response.add(b"Content-Type", b"text/plain");
    (entry.response_body, entry.bytes_out) = (kept(b"hello world", 5), 11);
    let ms = Duration::from_millis;
    entry.moments = Moments {
        dns: Some(ms(1)),
        connect: Some(ms(2)),
        tls: Some(ms(1)),
        send: Some(ms(3)),
        wait: Some(ms(4)),
        receive: Some(ms(5)),
        total: ms(20),
    };
    entry.server = Some(Server { pool: "p".into(), name: "s".into(), address: "[2001:db8::1]:80".parse().ok() });
    let told = told(&entry);
    assert_eq!(told["startedDateTime"], "2026-11-18T11:06:40.123Z");
    assert_eq!(told["request"]["url"], "http://a.test:8080/x%20y?a=1%202&token=[redacted]");
    assert_eq!(
        told["request"]["queryString"],
        json!([{"name": "a", "value": "1 2"}, {"name": "token", "value": "[redacted]"}])
    );
    assert_eq!(
        told["request"]["cookies"],
        json!([{"name": "one", "value": "[redacted]"}, {"name": "", "value": "[redacted]"}])
    );
    assert_eq!(told["request"]["headers"][1], json!({"name": "Authorization", "value": "Basic [redacted]"}));
    assert_eq!(told["request"]["postData"]["text"], "user=u&password=[redacted]");
    assert_eq!(told["request"]["postData"]["params"][1]["value"], "[redacted]");
    assert_eq!(told["response"]["redirectURL"], "/elsewhere?access_token=[redacted]");
    assert_eq!(
        told["response"]["cookies"],
        json!([{"name": "sid", "value": "[redacted]", "path": "/", "httpOnly": true}])
    );
    assert_eq!(
        told["response"]["content"],
        json!({"size": 11, "mimeType": "text/plain", "text": "hello", "comment": "cut: the beginning of 11 bytes", "_truncated": true})
    );
    assert_eq!(
        told["timings"],
        json!({"blocked": 5.0, "dns": 1.0, "connect": 2.0, "ssl": 1.0, "send": 3.0, "wait": 4.0, "receive": 5.0})
    );
    assert_eq!((&told["time"], &told["serverIPAddress"]), (&json!(20.0), &json!("2001:db8::1")));
}

#[test]
fn content_is_told_as_what_it_is() {
    let mut entry = entry(place(), "/");
    (entry.response_body, entry.bytes_out) = (kept(&[0xff, 0], 100), 2);
    let content = told(&entry)["response"]["content"].clone();
    assert_eq!(content, json!({"size": 2, "mimeType": "", "text": "/wA=", "encoding": "base64"}));
    entry.response_body = None;
    assert_eq!(told(&entry)["response"]["content"], json!({"size": 2, "mimeType": "", "comment": "not captured"}));
    let response = entry.response.as_mut().expect("a response");
    response.add(b"Content-Encoding", b"deflate");
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut deflated, &[b'a'; 500]).expect("written");
    let deflated = deflated.finish().expect("all of it");
    (entry.response_body, entry.bytes_out) = (kept(&deflated, 100), deflated.len() as u64);
    let content = told(&entry)["response"]["content"].clone();
    assert_eq!((&content["size"], &content["compression"]), (&json!(500), &json!(500 - deflated.len())));
    assert_eq!(content["text"], "a".repeat(500));
}

#[test]
fn what_came_to_nothing_is_told_too() {
    let mut entry = entry(place(), "/");
    entry.response = None;
    (entry.fault, entry.reason) = (Some(Fault::server(Kind::Connect, Retry::Always)), "refused".into());
    let told = told(&entry);
    assert_eq!((&told["response"]["status"], &told["response"]["_error"]), (&json!(0), &json!("connect")));
    assert_eq!((&told["_side"], &told["_reason"]), (&json!("server"), &json!("refused")));
}

proptest! {
    #[test]
    fn every_entry_is_json(path: Vec<u8>, name: Vec<u8>, value: Vec<u8>, body: Vec<u8>, coding in "gzip|br|zstd|deflate|x", most in 0usize..64) {
        let mut entry = entry(place(), "/");
        entry.request.set_path(&path);
        entry.request.set_query(Some(&value));
        for name in [&name[..], b"Cookie", b"Referer", b"Content-Type"] {
            entry.request.add(name, &value);
        }
        let response = entry.response.as_mut().expect("a response");
        for name in [&name[..], b"Set-Cookie", b"Location", b"Content-Type"] {
            response.add(name, &value);
        }
        response.add(b"Content-Encoding", coding.as_bytes());
        (entry.request_body, entry.bytes_in) = (kept(&body, most), body.len() as u64);
        (entry.response_body, entry.bytes_out) = (kept(&body, most), body.len() as u64);
        let told = told(&entry);
        prop_assert!(told["request"]["url"].as_str().expect("a URL").bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

#[test]
fn an_archive_is_whole_at_all_times_and_found_again() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let mut archive = Archive::open(&path).expect("an archive");
    assert_eq!(paths(&path), Vec::<String>::new());
    let line = |path: &str| {
        let mut out = Vec::new();
        har::write(&entry(place(), path), &redact(), &mut Stamp::default(), &mut out);
        out
    };
    archive.append(&line("/1")).expect("written");
    assert_eq!(paths(&path), ["/1"]);
    archive.append(&[line("/2"), line("/3")].join(&b",\n"[..])).expect("written");
    assert_eq!(paths(&path), ["/1", "/2", "/3"]);
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    drop(archive);
    let whole = fs::read(&path).expect("an archive");
    // Wherever a crash has cut it off, what is whole is kept, and it goes on.
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).expect("written");
        let mut archive = Archive::open(&path).unwrap_or_else(|error| panic!("{length}: {error}"));
        let left = paths(&path);
        assert!(["/1", "/2", "/3"].iter().zip(&left).all(|(one, other)| one == other), "{length}: {left:?}");
        assert!(length < whole.len() || left.len() == 3);
        let ends = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        assert!(left.len() >= ends.saturating_sub(2).min(3), "{length}: {left:?}");
        archive.append(&line("/4")).expect("written");
        assert_eq!(paths(&path).len(), left.len() + 1, "{length}");
    }
}

#[test]
fn what_is_no_archive_of_ours_is_not_touched() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    for other in [
        "{\"log\":{\"version\":\"1.2\",\"entries\":[\n]}}\n",
        "x",
        "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"x\",\"version\":\"\"},\"entries\":[",
    ] {
        fs::write(&path, other).expect("written");
        let error = Archive::open(&path).expect_err("refused").to_string();
        assert!(error.contains("no capture of ours"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("a file"), other);
    }
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    assert!(Archive::open(&path).is_err());
}

#[test]
fn two_do_not_write_to_one_file() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let _archive = Archive::open(&path).expect("an archive");
    let error = Archive::open(&path).expect_err("refused").to_string();
    assert!(error.contains("somebody else"), "{error}");
}

#[test]
fn an_archive_that_is_moved_or_emptied_begins_anew() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let capture = Capture::open(&path, settings(u64::MAX, 0)).expect("opened");
    let recorder = capture.recorder(0);
    let write = |name: &str, count: u64| {
        recorder.record(entry(recorder.begin().expect("room"), name));
        wait(|| capture.written() == count);
    };
    write("/1", 1);
    let moved = folder.0.join("moved.har");
    fs::rename(&path, &moved).expect("moved");
    write("/2", 2);
    assert_eq!((paths(&moved), paths(&path)), (vec!["/1".to_owned()], vec!["/2".to_owned()]));
    fs::File::options().write(true).open(&path).expect("a file").set_len(0).expect("emptied");
    write("/3", 3);
    assert_eq!(paths(&path), ["/3"]);
}

#[test]
fn full_archives_get_numbers_and_so_many_are_kept() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let capture = Capture::open(&path, settings(1500, 2)).expect("opened");
    let recorder = capture.recorder(0);
    for number in 0..20 {
        recorder.record(entry(recorder.begin().expect("room"), &format!("/{number}")));
    }
    wait(|| capture.written() == 20);
    let mut all: Vec<String> =
        [numbered(&path, 2), numbered(&path, 1), path.clone()].iter().flat_map(|path| paths(path)).collect();
    assert!(!numbered(&path, 3).exists());
    assert!(fs::metadata(numbered(&path, 1)).expect("a file").len() <= 1500);
    let last: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
    assert!(last.ends_with(&all) && all.len() > 3, "{all:?}");
    // None is kept where none should be.
    capture.set(settings(10, 0));
    recorder.record(entry(recorder.begin().expect("room"), "/alone"));
    assert!(capture.shutdown(PATIENCE));
    all = paths(&path);
    assert_eq!(all, ["/alone"]);
    recorder.record(entry(place(), "/late"));
    assert_eq!(paths(&path), ["/alone"]);
}

#[test]
fn a_form_that_cannot_be_read_is_not_written() {
    let mut entry = entry(place(), "/login");
    entry.request.add(b"Content-Type", b"application/x-www-form-urlencoded");
    entry.request.add(b"Content-Encoding", b"aws-chunked");
    (entry.request_body, entry.bytes_in) = (kept(b"password=p", 100), 10);
    let told = told(&entry);
    assert_eq!(told["request"]["postData"]["text"], "");
    assert!(!told.to_string().contains("cGFzc3dvcmQ9cA"), "{told}");
}

#[test]
fn archives_keep_their_numbers_where_no_other_can_be_begun() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let mut archive = Archive::open(&path).expect("opened");
    archive.append(b"{\"n\":1}").expect("written");
    archive.rotate(3).expect("rotated");
    archive.append(b"{\"n\":2}").expect("written");
    // Its name is free once it has its number, and is taken by what no file can be.
    fs::rename(&path, numbered(&path, 9)).expect("moved");
    fs::create_dir(&path).expect("a folder");
    for _ in 0..5 {
        assert!(archive.rotate(3).is_err());
    }
    assert!(
        fs::read_to_string(numbered(&path, 1)).expect("an archive").contains("{\"n\":1}"),
        "it has kept its number"
    );
    fs::remove_dir(&path).expect("removed");
    archive.rotate(3).expect("another is begun");
    archive.append(b"{\"n\":3}").expect("written");
    assert!(fs::read_to_string(&path).expect("an archive").contains("{\"n\":3}"));
}

#[test]
fn what_cannot_be_written_is_counted_and_what_was_stays() {
    let folder = Folder::new();
    let path = folder.0.join("a.har");
    let capture = Capture::open(&path, settings(1, 1)).expect("opened");
    let recorder = capture.recorder(0);
    recorder.record(entry(recorder.begin().expect("room"), "/1"));
    wait(|| capture.written() == 1);
    // It should be rotated, and cannot: its number is taken by a folder.
    fs::create_dir(numbered(&path, 1)).expect("a folder");
    recorder.record(entry(recorder.begin().expect("room"), "/2"));
    wait(|| capture.lost() == 1);
    assert_eq!(paths(&path), ["/1"]);
    fs::remove_dir(numbered(&path, 1)).expect("removed");
    recorder.record(entry(recorder.begin().expect("room"), "/3"));
    wait(|| capture.written() == 2);
    assert_eq!((paths(&numbered(&path, 1)), paths(&path)), (vec!["/1".to_owned()], vec!["/3".to_owned()]));
}

fn wait(mut until: impl FnMut() -> bool) {
    let deadline = SystemTime::now() + PATIENCE;
    while !until() {
        assert!(SystemTime::now() < deadline, "it has not come");
        std::thread::yield_now();
    }
}

/// A folder of its own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let salt = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let path =
            std::env::temp_dir().join(format!("tidegate-capture-{salt}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
