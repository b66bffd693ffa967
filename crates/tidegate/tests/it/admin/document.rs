//! The configuration: how it is read, and how another is put in force.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{PATIENCE, Server, Start, Tidegate};

use super::{Operator, error, json, tag};
use crate::reload::under_load;
use crate::support::{BINARY, config, start};

const TARGET: &str = "/api/config";
const TEXT: &str = "
listeners: { web: { bind: 127.0.0.1:0, routes: [{ match: { path: /old }, respond: { status: 200, body: old } }, { to: app }] } }
pools: { app: [@APP] }
";

fn body_of(tidegate: &Tidegate, target: &str) -> String {
    tidegate.client().get(target).text()
}

/// The configuration in force with another body for `/old`.
fn changed(operator: &mut Operator, body: &str) -> Value {
    let mut document = json(&operator.get(TARGET));
    document["listeners"]["web"]["routes"][0]["respond"]["body"] = json!(body);
    document
}

#[test]
fn what_is_read_can_be_changed_and_put_in_force() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let read = operator.get(TARGET);
    assert!(tag(&read).starts_with("\"1-"), "{}", tag(&read));
    assert_eq!(tag(&operator.get(TARGET)), tag(&read));
    let document = changed(&mut operator, "new");
    // A client that is connected stays so, and the listener stays where it is.
    let mut client = tidegate.client();
    assert_eq!(client.get("/old").text(), "old");
    let put = operator.put(TARGET, &format!("If-Match: {}\r\n", tag(&read)), &document.to_string());
    assert_eq!((put.status, &json(&put)["generation"]), (200, &json!(2)), "{}", put.text());
    assert!(json(&put)["note"].as_str().is_some_and(|note| note.contains("is unchanged: SIGHUP")), "{}", put.text());
    assert_eq!(client.get("/old").text(), "new");
    assert_eq!(client.get("/").text(), "app");
    let again = operator.get(TARGET);
    assert_eq!((tag(&again), json(&again)), (tag(&put), document));
    let status = json(&operator.get("/api/status"));
    assert_eq!((&status["config"]["source"], &status["config"]["generation"]), (&json!("api"), &json!(2)));
    tidegate.message("reloaded (PUT /api/config by 127.0.0.1:");
}

#[test]
fn a_signal_puts_the_file_back_in_force() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let document = changed(&mut operator, "new").to_string();
    assert_eq!(operator.put(TARGET, "If-Match: *\r\n", &document).status, 200);
    assert_eq!(body_of(&tidegate, "/old"), "new");
    tidegate.reload(&config(TEXT, &[("APP", &server)]));
    assert_eq!(body_of(&tidegate, "/old"), "old");
    assert_eq!(json(&operator.get("/api/status"))["config"]["source"], "file");
}

#[test]
fn a_change_of_the_file_puts_it_back_in_force() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let document = changed(&mut operator, "new").to_string();
    assert_eq!(operator.put(TARGET, "If-Match: *\r\n", &document).status, 200);
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        // A change within the second in which the API's one was noticed goes unseen: the next one does not.
        let text = config(&TEXT.replace("body: old", &format!("body: file{number}")), &[("APP", &server)]);
        tidegate.folder.replace("tidegate.yaml", &text);
        let look_until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < look_until {
            if body_of(&tidegate, "/old") == format!("file{number}") {
                tidegate.message("reloaded (file changed)");
                return;
            }
        }
        assert!(Instant::now() < deadline, "the file is not watched any more");
    }
}

#[test]
fn who_has_not_read_what_is_in_force_may_not_replace_it() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let first = tag(&operator.get(TARGET));
    let document = changed(&mut operator, "new").to_string();
    let unsaid = operator.put(TARGET, "", &document);
    assert_eq!(unsaid.status, 428);
    assert!(error(&unsaid).contains("`If-Match`"), "{}", unsaid.text());
    assert_eq!(operator.put(TARGET, "If-Match: \"1-0000000000000000\"\r\n", &document).status, 412);
    assert_eq!(operator.put(TARGET, &format!("If-Match: W/{first}\r\n"), &document).status, 412);
    assert_eq!(body_of(&tidegate, "/old"), "old");
    assert_eq!(operator.put(TARGET, &format!("If-Match: \"other\", {first}\r\n"), &document).status, 200);
    let stale = operator.put(TARGET, &format!("If-Match: {first}\r\n"), &document);
    assert_eq!((stale.status, tag(&stale)), (412, tag(&operator.get(TARGET))));
    assert_eq!(error(&stale), "the configuration has changed since, read it again");
}

#[test]
fn every_mistake_is_said_with_its_place_and_nothing_changes() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let document =
        "{\n  \"listeners\": { \"web\": { \"bind\": \"127.0.0.1:0\", \"to\": \"nobody\" } },\n  \"poools\": {}\n}";
    let refused = operator.put(TARGET, "If-Match: *\r\n", document);
    assert_eq!(refused.status, 422);
    let answer = json(&refused);
    assert_eq!(answer["error"], "the configuration has mistakes, the one in force stays: 2");
    let mistakes = answer["mistakes"].as_array().expect("mistakes");
    assert_eq!((mistakes.len(), &mistakes[0]["file"]), (2, &json!("request")), "{answer}");
    assert_eq!((&mistakes[0]["line"], &mistakes[1]["line"]), (&json!(2), &json!(3)), "{answer}");
    assert_eq!(
        (&mistakes[1]["column"], mistakes[1]["message"].as_str()),
        (&json!(3), Some("unknown key `poools` in the configuration, did you mean `pools`?"))
    );
    // An address that cannot be had is a mistake like any other.
    let mut taken = changed(&mut operator, "new");
    taken["listeners"]["other"] = json!({ "bind": server.address(), "to": "app" });
    let refused = operator.put(TARGET, "If-Match: *\r\n", &taken.to_string());
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(operator.put(TARGET, "If-Match: *\r\n", "listeners: {}").status, 400);
    assert_eq!(
        (body_of(&tidegate, "/old"), json(&operator.get("/api/status"))["config"]["generation"].clone()),
        ("old".to_owned(), json!(1))
    );
    assert_eq!(tidegate.metric("tidegate_config_reloads_total", &["result=\"failed\""]), [2.0]);
    tidegate.message("unknown key `poools`");
}

#[test]
fn what_is_allowed_but_hardly_meant_is_said() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let mut document = changed(&mut operator, "new");
    document["pools"]["spare"] = json!(["127.0.0.1:1"]);
    let put = json(&operator.put(TARGET, "If-Match: *\r\n", &document.to_string()));
    assert_eq!(put["warnings"][0]["message"], "pool `spare` is never used", "{put}");
}

#[test]
fn secrets_are_never_shown_and_survive_a_round() {
    // Every process has a PATH, and no other test says what is in it.
    let path = std::env::var("PATH").expect("a PATH");
    let tidegate = Start::of(BINARY).text(
        "admin: 127.0.0.1:0\nlisteners: { web: { bind: 127.0.0.1:0, respond: { status: 200, body: \"${env.PATH}\" } } }\n",
    );
    let mut operator = Operator::of(&tidegate);
    let read = operator.get(TARGET);
    assert!(!read.text().contains(&path) && read.text().contains("${env.PATH}"), "{}", read.text());
    let put = operator.put(TARGET, &format!("If-Match: {}\r\n", tag(&read)), &read.text());
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(body_of(&tidegate, "/"), path);
    let mut wrong = json(&read);
    wrong["workers"] = json!("${env.PATH}");
    let refused = operator.put(TARGET, "If-Match: *\r\n", &wrong.to_string());
    assert_eq!(refused.status, 422);
    assert!(!refused.text().contains(&path), "{}", refused.text());
}

#[test]
fn a_large_document_fits() {
    let server = Server::named("app");
    let tidegate = start(TEXT, &[("APP", &server)]);
    let mut operator = Operator::of(&tidegate);
    let document = changed(&mut operator, &"x".repeat(1_500_000)).to_string();
    assert_eq!(operator.put(TARGET, "If-Match: *\r\n", &document).status, 200);
    assert_eq!(body_of(&tidegate, "/old").len(), 1_500_000);
    assert_eq!(operator.get("/api/config").body.iter().filter(|byte| **byte == b'x').count() / 1_500_000, 1);
}

/// The listener stays, everything behind it changes each time, and nobody notices.
#[test]
fn no_request_fails_while_documents_are_put_in_force() {
    const CHANGES: usize = 40;
    let (one, two) = (Server::named("one"), Server::named("two"));
    let tidegate = start(TEXT, &[("APP", &one)]);
    let mut operator = Operator::of(&tidegate);
    let document = json(&operator.get(TARGET));
    let asked = under_load(&tidegate, || {
        for number in 0..CHANGES {
            let mut document = document.clone();
            let server = if number % 2 == 0 { &two } else { &one };
            document["pools"]["app"]["servers"] = json!([server.address()]);
            document["listeners"]["web"]["routes"][0]["respond"]["body"] = json!(format!("body {number}"));
            let put = operator.put(TARGET, "If-Match: *\r\n", &document.to_string());
            assert_eq!(put.status, 200, "{}", put.text());
        }
    });
    assert!(asked > CHANGES, "only {asked} requests in {CHANGES} changes");
    assert!(two.connections() > 0);
    assert_eq!(body_of(&tidegate, "/old"), format!("body {}", CHANGES - 1));
    assert_eq!(tidegate.metric("tidegate_config_generation", &[]), [CHANGES as f64 + 1.0]);
}
