//! Clients keep what they have seen, and servers learn nothing of it.

use testkit::{Client, Refusing, Reloaded, Response, Server, Tidegate};

use crate::support::{config, get, start};

/// A canary with this share and these keys.
fn text(share: &str, keys: &str) -> String {
    format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ name: all, canary: {{ stable: s, candidate: c, \
         share: {share}, {keys} }} }}] }} }}
pools: {{ s: [@STABLE], c: [@CANDIDATE] }}
"
    )
}

/// A user of a browser: it sends the cookies that it was given.
#[derive(Clone, Default)]
struct User {
    cookie: Option<String>,
}

impl User {
    fn ask(&mut self, client: &mut Client) -> Response {
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: theme=dark; {cookie}; lang=en\r\n"));
        let response = client.ask(get("/", &cookie.unwrap_or_default()));
        if let Some(set) = response.fields.value("set-cookie") {
            assert!(self.cookie.is_none(), "a cookie that is there is not given again: {set}");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        response
    }
}

fn put_share(tidegate: &Tidegate, servers: &[(&str, &dyn crate::support::Place)], share: &str, keys: &str) {
    let reloaded = tidegate.reload(&config(&text(share, keys), servers));
    assert_eq!(reloaded, Reloaded::Yes);
}

#[test]
fn a_thousand_users_never_go_back_while_the_share_grows() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let servers: [(&str, &dyn crate::support::Place); 2] = [("STABLE", &stable), ("CANDIDATE", &candidate)];
    let tidegate = start(&text("0%", "sticky: cookie"), &servers);
    let mut users = vec![User::default(); 1000];
    let mut client = tidegate.client();
    let mut news = vec![false; users.len()];
    for (share, between) in [("5%", 25..80), ("25%", 200..300), ("50%", 430..570), ("100%", 1000..1001)] {
        put_share(&tidegate, &servers, share, "sticky: cookie");
        for (user, had) in users.iter_mut().zip(&mut news) {
            let has = user.ask(&mut client).text() == "candidate";
            assert!(has || !*had, "a user went back at {share}");
            *had = has;
        }
        let count = news.iter().filter(|new| **new).count();
        assert!(between.contains(&count), "{count} at {share}");
    }
    put_share(&tidegate, &servers, "0%", "sticky: cookie");
    assert!(users.iter_mut().all(|user| user.ask(&mut client).text() == "stable"));
}

#[test]
fn first_requests_of_one_browser_are_given_the_same_number() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let tidegate = start(&text("50%", "sticky: cookie"), &[("STABLE", &stable), ("CANDIDATE", &candidate)]);
    let given = |fields: &str| -> Vec<String> {
        // All of them are on their way before the first answer is read.
        let mut clients: Vec<Client> = (0..12).map(|_| tidegate.client()).collect();
        clients.iter_mut().for_each(|client| client.send(get("/", fields)));
        let cookie = |client: &mut Client| client.response().fields.value("set-cookie").expect("a cookie").to_owned();
        clients.iter_mut().map(cookie).collect()
    };
    let agree = |given: &[String]| given.iter().all(|one| *one == given[0]);
    let browser = "User-Agent: a browser\r\nAccept-Language: en\r\n";
    // Two of them may lie on either side of a moment's end; three times in a row they do not.
    assert!((0..3).any(|_| agree(&given(browser))));
    assert!(!agree(&given("User-Agent: a program\r\n")));
}

#[test]
fn servers_do_not_see_the_cookie() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let tidegate = start(&text("100%", "sticky: cookie"), &[("STABLE", &stable), ("CANDIDATE", &candidate)]);
    let (mut user, mut client) = (User::default(), tidegate.client());
    user.ask(&mut client);
    user.ask(&mut client);
    let cookies: Vec<Vec<String>> = candidate
        .requests()
        .iter()
        .map(|request| request.fields.values("cookie").into_iter().map(str::to_owned).collect())
        .collect();
    assert_eq!(cookies, [vec![], vec!["theme=dark; lang=en".to_owned()]]);
}

#[test]
fn a_cookie_that_is_not_ours_counts_for_nothing() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let tidegate =
        start(&text("50%", "sticky: { by: cookie, cookie: ring }"), &[("STABLE", &stable), ("CANDIDATE", &candidate)]);
    let mut client = tidegate.client();
    let given = client.get("/").fields.value("set-cookie").expect("a cookie").to_owned();
    let pair = given.split(';').next().expect("a pair").to_owned();
    let forged = pair.replace("ring=", "ring=0");
    for (cookie, known) in [(&pair, true), (&forged, false), (&"ring=".to_owned(), false)] {
        let response = client.ask(get("/", &format!("Cookie: {cookie}\r\n")));
        assert_eq!(response.fields.has("set-cookie"), !known, "{cookie}");
    }
}

#[test]
fn the_same_value_has_the_same_number_in_every_process() {
    let (stable, candidate) = (Server::named("stable"), Server::named("candidate"));
    let seen = || -> Vec<String> {
        let tidegate = start(
            &text("50%", "sticky: [header.x-user, header.x-tenant]"),
            &[("STABLE", &stable), ("CANDIDATE", &candidate)],
        );
        let mut client = tidegate.client();
        let fields = (0..50).map(|user| format!("X-User: {user}\r\nX-Tenant: {}\r\n", user % 7));
        fields.map(|fields| client.ask(get("/", &fields)).text()).collect()
    };
    assert_eq!(seen(), seen());
}

#[test]
fn a_side_without_a_server_leaves_the_request_to_the_other() {
    let (stable, gone) = (Server::named("stable"), Refusing::new());
    let tidegate = start(&text("100%", "sticky: cookie"), &[("STABLE", &stable), ("CANDIDATE", &gone)]);
    let mut client = tidegate.client();
    // The first request finds out, and stays on its side; those behind it are served by the other.
    assert_eq!(client.get("/").status, 502);
    assert_eq!(client.get("/").text(), "stable");
    let said = "candidate `c` has no server that may be used, stable `s` has served ";
    tidegate.message(&format!("canary `all` of listener `web`: {said}"));
}
