//! What a line says, and where lines go when the world is slow, full or renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base::ids::{ClientIp, PeerAddr, RequestId};
use base::{Fault, Kind, Retry};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use wire::Version;

use super::{Address, Format, Log, Phases, Record, Sink, Target, Tls, combined, json};
use crate::stamp::Stamp;

#[test]
fn a_full_json_line() {
    let record = Record {
        server: Some("a1"),
        address: Some(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 9001)))),
        tries: 2,
        hedged: true,
        reused: true,
        tls: Some(Tls { version: "TLSv1.3", name: Some("example.com"), alpn: Some("h2"), resumed: true }),
        phases: Phases {
            head_us: Some(12),
            queue_us: Some(0),
            connect_us: Some(150),
            response_us: Some(2_000),
            total_us: 3_600_000_000_000,
        },
        limit: Some("retry_budget"),
        cut: true,
        fault: Some(Fault::server(Kind::Truncated, Retry::Never)),
        reason: "",
        listed: Some(("ads", "||a\"b^")),
        ..plain(1)
    };
    let expected = concat!(
        r#"{"time":"2026-11-23T12:00:00.123Z","id":"00000000000000ab00000001","listener":"web","route":"api","#,
        r#""client":"203.0.113.9","peer":"10.0.0.1:40000","method":"GET","host":"example.com","path":"/a/b","#,
        r#""query":"q=1","version":"1.1","tls":"TLSv1.3","sni":"example.com","alpn":"h2","tls_resumed":true,"status":200,"pool":"api","server":"a1","address":"127.0.0.1:9001","#,
        r#""tries":2,"hedged":true,"reused":true,"bytes_in":0,"bytes_out":1024,"head_us":12,"queue_us":0,"connect_us":150,"#,
        r#""response_us":2000,"total_us":3600000000000,"limit":"retry_budget","list":"ads","rule":"||a\"b^","cut":true,"fault":"truncated","side":"server"}"#,
    );
    assert_eq!(json_line(&record), format!("{expected}\n"));
    serde_json::from_str::<serde_json::Value>(expected).expect("valid JSON");
}

#[test]
fn what_is_not_there_is_left_out() {
    let record = Record {
        route: None,
        method: b"",
        host: b"",
        port: None,
        path: b"",
        query: None,
        version: Some(Version::H10),
        status: 0,
        grpc_status: None,
        pool: None,
        bytes_out: 0,
        fault: Some(Fault::client(Kind::HeadTimeout)),
        reason: "the head did not arrive in time",
        ..plain(2)
    };
    let expected = concat!(
        r#"{"time":"2026-11-23T12:00:00.123Z","id":"00000000000000ab00000002","listener":"web","#,
        r#""client":"203.0.113.9","peer":"10.0.0.1:40000","version":"1.0","tries":0,"bytes_in":0,"bytes_out":0,"#,
        r#""total_us":900,"fault":"head_timeout","side":"client","reason":"the head did not arrive in time"}"#,
    );
    assert_eq!(json_line(&record), format!("{expected}\n"));
    assert_eq!(combined_line(&record), "203.0.113.9 - - [23/Nov/2026:12:00:00 +0000] \"-\" - - \"-\" \"-\"\n");
}

#[test]
fn a_unix_server_and_an_ipv6_client() {
    let record = Record {
        client: ClientIp("2001:db8::1".parse().expect("an address")),
        user: Some(b"ann lee"),
        peer: PeerAddr("[2001:db8::2]:40000".parse().expect("an address")),
        address: Some(Address::Unix(Path::new("/run/a\"b.sock"))),
        tries: 1,
        hedged: false,
        ..plain(3)
    };
    let line: serde_json::Value = serde_json::from_str(&json_line(&record)).expect("valid JSON");
    assert_eq!(line["client"], "2001:db8::1");
    assert_eq!(line["peer"], "[2001:db8::2]:40000");
    assert_eq!(line["address"], "unix:/run/a\"b.sock");
    assert_eq!(line["reused"], false);
    assert_eq!(line["user"], "ann lee");
    assert!(combined_line(&record).starts_with("2001:db8::1 - ann\\x20lee ["));
}

#[test]
fn the_combined_format_of_apache() {
    // The example of Apache's documentation, but for the user and the time zone.
    let record = Record {
        time: UNIX_EPOCH + Duration::from_secs(971_186_136),
        client: ClientIp(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        user: None,
        path: b"/apache_pb.gif",
        query: None,
        version: Some(Version::H10),
        bytes_out: 2326,
        referer: Some(b"http://www.example.com/start.html"),
        user_agent: Some(b"Mozilla/4.08 [en] (Win98; I ;Nav)"),
        ..plain(4)
    };
    let expected = concat!(
        r#"127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] "GET /apache_pb.gif HTTP/1.0" 200 2326 "#,
        r#""http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#,
    );
    assert_eq!(combined_line(&record), format!("{expected}\n"));
    let connect = Record { method: b"CONNECT", host: b"a.example:443", path: b"", query: None, ..plain(5) };
    assert!(combined_line(&connect).contains("\"CONNECT a.example:443 HTTP/1.1\""));
}

#[test]
fn nobody_forges_a_line() {
    let evil: &[u8] = b"x\r\n127.0.0.1 - - \"GET /forged\" 200\x00\x1b[2J\x7f\x9b\\\" \xc2\x85\xff";
    let text = "forged\n\u{9b}\"}{";
    let record = Record {
        user: Some(evil),
        listener: text,
        route: Some(text),
        method: evil,
        host: evil,
        port: None,
        path: evil,
        query: Some(evil),
        pool: Some(text),
        server: Some(text),
        address: Some(Address::Unix(Path::new(text))),
        referer: Some(evil),
        user_agent: Some(evil),
        ..plain(6)
    };
    for line in [json_line(&record), combined_line(&record)] {
        let inside = line.strip_suffix('\n').expect("a line end");
        assert!(!inside.chars().any(char::is_control), "{inside:?}");
    }
    let read: serde_json::Value = serde_json::from_str(&json_line(&record)).expect("valid JSON");
    assert_eq!(read["route"], text);
    // In the combined format a quote inside a field always has its backslash.
    let line = combined_line(&record).replace("\\\\", "").replace("\\\"", "");
    assert_eq!(line.matches('"').count(), 6);
}

#[test]
fn lines_of_many_sinks_stay_whole_and_in_order() {
    // Fewer buffers than may wait: a disk that stands still for a moment loses none.
    const SINKS: u64 = 4;
    const EACH: u64 = 1_000;
    let folder = Folder::new();
    let path = folder.0.join("access.log");
    let log = Log::open(Target::File(path.clone()), Format::Json).expect("opened");
    thread::scope(|scope| {
        for origin in 0..SINKS {
            let mut sink = log.sink();
            scope.spawn(move || {
                for sequence in 0..EACH {
                    let long = vec![b'x'; (sequence * 37 % 700) as usize];
                    let id = RequestId { origin, sequence };
                    sink.record(&Record { id, path: &long, ..plain(0) });
                    if sequence % 89 == 0 {
                        sink.flush();
                    }
                }
            });
        }
    });
    assert!(log.shutdown(PATIENCE));
    assert_eq!(log.dropped(), 0);
    let mut next = [0; SINKS as usize];
    for line in fs::read_to_string(&path).expect("text").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        let id = line["id"].as_str().expect("an id");
        let origin = usize::from_str_radix(&id[..16], 16).expect("hexadecimal");
        assert_eq!(u64::from_str_radix(&id[16..], 16), Ok(next[origin]));
        next[origin] += 1;
    }
    assert_eq!(next, [EACH; SINKS as usize]);
}

#[test]
fn a_writer_that_is_behind_costs_lines_and_no_time() {
    let folder = Folder::new();
    let (path, idle_reader) = folder.fifo();
    let log = Log::open(Target::File(path.clone()), Format::Json).expect("opened");
    let mut sink = log.sink();
    let mut recorded = 0;
    // Nobody reads, so the pipe, the queue and the buffer fill, in this order. If a worker had to wait, this would never end.
    while log.dropped() < 1_000 {
        sink.record(&plain(recorded));
        recorded += 1;
    }
    sink.flush();
    assert_eq!(log.dropped(), 1_000, "a flush that fails keeps the lines");
    let lines = read_whole_lines(&path, idle_reader);
    drop(sink);
    assert!(log.shutdown(PATIENCE));
    assert_eq!(log.dropped(), 1_000);
    drop(log);
    let lines = lines.join().expect("a reader");
    assert_eq!(lines + 1_000, recorded);
    assert!(lines > 10_000, "the queue holds megabytes: {lines}");
}

#[test]
fn a_writer_that_stays_behind_does_not_hold_up_the_end() {
    let folder = Folder::new();
    let (path, _idle_reader) = folder.fifo();
    let log = Log::open(Target::File(path), Format::Json).expect("opened");
    let mut sink = log.sink();
    (0..2_000).for_each(|sequence| sink.record(&plain(sequence)));
    sink.flush();
    assert!(!log.shutdown(Duration::from_millis(20)));
    let dropped = log.dropped();
    assert!(dropped > 0);
    sink.record(&plain(0));
    sink.flush();
    // The one it was writing may be given up in between, which only adds to the count.
    assert!(log.dropped() > dropped);
}

#[test]
fn rotation_moves_to_a_new_file() {
    let folder = Folder::new();
    let (path, rotated) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
    let log = Log::open(Target::File(path.clone()), Format::Combined).expect("opened");
    let mut sink = log.sink();
    sink.record(&Record { path: b"/before", ..plain(0) });
    sink.flush();
    eventually(|| count_lines(&path) == 1);
    fs::rename(&path, &rotated).expect("renamed");
    log.reopen();
    eventually(|| path.exists());
    sink.record(&Record { path: b"/after", ..plain(0) });
    drop(sink);
    assert!(log.shutdown(PATIENCE));
    assert!(fs::read_to_string(&rotated).expect("text").contains("/before"));
    let after = fs::read_to_string(&path).expect("text");
    assert!(after.contains("/after") && !after.contains("/before"));
}

#[test]
fn a_file_that_cannot_be_reopened_is_kept() {
    let folder = Folder::new();
    let (home, moved) = (folder.0.join("home"), folder.0.join("moved"));
    fs::create_dir(&home).expect("a folder");
    let log = Log::open(Target::File(home.join("access.log")), Format::Json).expect("opened");
    fs::rename(&home, &moved).expect("renamed");
    log.reopen();
    let mut sink = log.sink();
    sink.record(&plain(0));
    drop(sink);
    assert!(log.shutdown(PATIENCE));
    assert_eq!((count_lines(&moved.join("access.log")), log.dropped()), (1, 0));
}

#[test]
fn a_sink_outlives_its_log() {
    let folder = Folder::new();
    let path = folder.0.join("access.log");
    let old = Log::open(Target::File(path.clone()), Format::Json).expect("opened");
    let mut old_sink = old.sink();
    let new = Log::open(Target::File(path.clone()), Format::Json).expect("opened");
    drop(old);
    let mut new_sink = new.sink();
    new_sink.record(&plain(1));
    old_sink.record(&plain(2));
    old_sink.flush();
    eventually(|| count_lines(&path) == 1);
    old_sink.record(&plain(3));
    drop((old_sink, new_sink));
    eventually(|| count_lines(&path) == 3);
    assert!(new.shutdown(PATIENCE));
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let log = Log::open(Target::File("/dev/full".into()), Format::Json).expect("opened");
    let mut sink = log.sink();
    (0..500).for_each(|sequence| sink.record(&plain(sequence)));
    drop(sink);
    assert!(log.shutdown(PATIENCE));
    assert_eq!(log.dropped(), 500);
}

#[test]
fn a_torn_line_tears_no_other() {
    let folder = Folder::new();
    let (path, reader) = folder.fifo();
    let log = Log::open(Target::File(path.clone()), Format::Json).expect("opened");
    let mut sink = log.sink();
    const LOST: u64 = 400;
    // More than a pipe holds; when its reader goes, the line in the middle is torn.
    (0..LOST).for_each(|sequence| sink.record(&Record { path: &[b'x'; 300], ..plain(sequence) }));
    sink.flush();
    eventually(|| rustix::io::ioctl_fionread(&reader).expect("a pipe") > 50_000);
    drop(reader);
    eventually(|| log.dropped() > LOST / 2);
    let held = File::options().read(true).write(true).open(&path).expect("opened");
    let lines = read_lines(&path, held);
    sink.record(&plain(LOST));
    drop(sink);
    assert!(log.shutdown(PATIENCE));
    let dropped = log.dropped();
    drop(log);
    let lines = lines.join().expect("a reader");
    let whole = lines.iter().filter(|line| is_whole(line)).count() as u64;
    assert!(lines.len() as u64 - whole <= 1, "one line is torn at most");
    assert!(lines.last().is_some_and(|line| is_whole(line) && line.contains(&plain(LOST).id.to_string())));
    assert_eq!(whole + dropped, LOST + 1);
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let folder = Folder::new();
    assert!(Log::open(Target::File(folder.0.join("no/such/folder.log")), Format::Json).is_err());
    assert!(Log::open(Target::File(folder.0.clone()), Format::Json).is_err());
    let (path, reader) = folder.fifo();
    drop(reader);
    assert!(Log::open(Target::File(path), Format::Json).is_err(), "a FIFO without a reader");
}

#[test]
fn sinks_go_to_workers() {
    fn goes_to_a_thread<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    goes_to_a_thread::<Sink>();
    is_shared::<Log>();
}

fn plain(sequence: u64) -> Record<'static> {
    Record {
        time: UNIX_EPOCH + Duration::from_millis(1_795_435_200_123),
        id: RequestId { origin: 0xab, sequence },
        listener: "web",
        route: Some("api"),
        peer: PeerAddr(SocketAddr::from(([10, 0, 0, 1], 40_000))),
        client: ClientIp(IpAddr::from([203, 0, 113, 9])),
        user: None,
        method: b"GET",
        host: b"example.com",
        port: None,
        path: b"/a/b",
        query: Some(b"q=1"),
        version: Some(Version::H11),
        sni: None,
        status: 200,
        grpc_status: None,
        pool: Some("api"),
        server: None,
        address: None,
        tries: 0,
        hedged: false,
        tls: None,
        reused: false,
        bytes_in: 0,
        bytes_out: 1_024,
        datagrams: None,
        phases: Phases { total_us: 900, ..Phases::default() },
        limit: None,
        cut: false,
        fault: None,
        reason: "",
        interception: "",
        unread: "",
        listed: None,
        referer: None,
        user_agent: None,
    }
}

fn json_line(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    json::write(record, &mut Stamp::default(), &mut line);
    String::from_utf8(line).expect("JSON is UTF-8")
}

fn combined_line(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    combined::write(record, &mut Stamp::default(), &mut line);
    String::from_utf8(line).expect("combined is ASCII")
}

fn is_whole(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok()
}

fn count_lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Reads a FIFO's lines until all writers are gone. `held` kept it open so far.
fn read_lines(path: &Path, held: File) -> thread::JoinHandle<Vec<String>> {
    let reader = File::open(path).expect("opened");
    drop(held);
    thread::spawn(move || BufReader::new(reader).lines().map(|line| line.expect("a line")).collect())
}

fn read_whole_lines(path: &Path, held: File) -> thread::JoinHandle<u64> {
    let mut reader = File::open(path).expect("opened");
    drop(held);
    thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert!(text.lines().all(is_whole));
        text.lines().count() as u64
    })
}

/// Waits for what another thread will do.
fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to pass");
        thread::yield_now();
    }
}

/// Longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for one test, removed behind it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let salt = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let name = format!("tidegate-observe-{salt}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    /// A FIFO, and a descriptor that keeps it open without reading.
    fn fifo(&self) -> (PathBuf, File) {
        let path = self.0.join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        let flags = OFlags::NONBLOCK.bits() as i32;
        let reader = OpenOptions::new().read(true).custom_flags(flags).open(&path).expect("opened");
        (path, reader)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
