//! What is remembered of quotas: whose file it is, and what of it is believed.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use testkit::{Folder, Reloaded, Server, Start, failure_of, until};

use super::text;
use crate::support::{BINARY, config};

fn at(state: &Path, quota: &str, server: &Server) -> String {
    config(&format!("state: {}\n{}", state.display(), text(quota)), &[("APP", server)])
}

#[test]
fn a_reload_that_is_refused_changes_neither_limits_nor_where_they_are_written() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let tidegate = Start::of(BINARY).text(&at(&one, "{ requests: 2, per: 30d }", &server));
    let status = || tidegate.client().get("/").status;
    assert_eq!(status(), 200);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("listeners:\n  late: {{ bind: '{}', to: app }}\n", taken.local_addr().expect("an address"));
    let other = at(&two, "{ requests: 9, per: day, deny: 403 }", &server);
    let Reloaded::No(said) = tidegate.reload(&other.replace("listeners:\n", &taken)) else { panic!("it is refused") };
    assert!(said.contains("late"), "{said}");
    let shown = tidegate.admin("/api/quotas").text();
    assert!(shown.contains("\"requests\": 2") && shown.contains("\"30d\""), "{shown}");
    assert_eq!((status(), status()), (200, 429));
    let has_two = |folder: &Path| {
        fs::read_to_string(folder.join("quotas.json")).is_ok_and(|text| text.contains("\"requests\":2"))
    };
    until("it is written where it was", || has_two(&one));
    assert!(!two.join("quotas.json").exists());
    // Nobody has the other folder, and what was used goes along.
    assert_eq!(tidegate.reload(&at(&two, "{ requests: 2, per: 30d }", &server)), Reloaded::Yes);
    until("it is written elsewhere", || has_two(&two));
    assert_eq!(status(), 429);
    let same = folder.path().join("one/../two");
    assert_eq!(tidegate.reload(&at(&same, "{ requests: 3, per: 30d }", &server)), Reloaded::Yes);
    assert_eq!((status(), status()), (200, 429));
}

#[test]
fn shorter_periods_begin_with_their_reload() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let tidegate = Start::of(BINARY).text(&at(folder.path(), "{ requests: 1, per: 30d }", &server));
    let status = || tidegate.client().get("/").status;
    assert_eq!((status(), status()), (200, 429));
    let longer = at(folder.path(), "{ requests: 1, per: 40d }", &server);
    assert_eq!((tidegate.reload(&longer), status()), (Reloaded::Yes, 429));
    let shorter = at(folder.path(), "{ requests: 1, per: 20d }", &server);
    assert_eq!(tidegate.reload(&shorter), Reloaded::Yes);
    assert_eq!(tidegate.admin("/api/quotas/fair/subjects/client_ip=127.0.0.1").status, 404);
    assert_eq!((status(), status()), (200, 429));
}

#[test]
fn two_processes_do_not_count_for_one_file() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let text = at(folder.path(), "{ requests: 2, per: 30d }", &server);
    let mut first = Start::of(BINARY).text(&text);
    let (code, said) = failure_of(BINARY, &text);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("quotas.lock` is locked: give each process a `state` folder of its own"), "{said}");
    assert_eq!(first.client().get("/").status, 200);
    first.terminate();
    first.wait();
    // The next one goes on where it was.
    let next = Start::of(BINARY).text(&text);
    assert_eq!((next.client().get("/").status, next.client().get("/").status), (200, 429));
}

#[test]
fn a_file_that_cannot_be_read_is_left_alone() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let file = folder.path().join("quotas.json");
    fs::create_dir(&file).expect("a folder");
    let (code, said) = failure_of(BINARY, &at(folder.path(), "{ requests: 2, per: 30d }", &server));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cannot read what was used of quotas"), "{said}");
    assert!(file.is_dir() && !folder.path().join("quotas.json.damaged").exists());
}

#[test]
fn what_a_file_says_of_other_periods_is_not_believed() {
    let (folder, server) = (Folder::new(), Server::named("app"));
    let rows = |until: &str| format!("{{\"client_ip=127.0.0.1\":{{\"until\":{until},\"bytes\":0,\"requests\":9}}}}");
    for (until, per) in [(u64::MAX.to_string(), "day"), (u64::MAX.to_string(), "30d"), ("1".to_owned(), "hour")] {
        let rows = rows(&until);
        folder.write("quotas.json", &format!("{{\"version\":1,\"quotas\":{{\"fair\":{rows},\"gone\":{rows}}}}}"));
        let begun = folder.write(".quotas.json.1.0", "{");
        let mut tidegate =
            Start::of(BINARY).text(&at(folder.path(), &format!("{{ requests: 1, per: {per} }}"), &server));
        assert_eq!(tidegate.admin("/api/quotas/fair").status, 200);
        assert_eq!(tidegate.admin("/api/quotas/fair/subjects/client_ip=127.0.0.1").status, 404);
        assert!(!begun.exists(), "what was left of a write is removed");
        tidegate.terminate();
        tidegate.wait();
        // It ends with a write though nobody has used anything.
        let left = fs::read_to_string(folder.path().join("quotas.json")).expect("a file");
        assert!(!left.contains("until"), "{left}");
    }
}
