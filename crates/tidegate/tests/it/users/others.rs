//! Tokens and certificates, and several ways at one listener.

use testkit::tls::Wishes;
use testkit::{Authority, Client, ClientTls, Server, python};

use super::{Files, PEOPLE, basic};
use crate::forward::{OPEN, port};
use crate::support::get;
use crate::tls::Desk;

/// `bot` has the tokens `one` and `two`.
const TOKENS: &str = "
bot:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed
bot:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3
";

#[test]
pub(crate) fn tokens_let_in_and_any_way_of_several_is_enough() {
    let (files, server) = (Files::new(), Server::named("app"));
    files.0.write("tokens", TOKENS);
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    use:
      - bearer_auth: { tokens: '@DIR/tokens', realm: machines, groups: { robots: bot }, forward: @FORWARD }
      - basic_auth: { users: '@DIR/people', realm: people }
    routes: [{ match: { group: robots, path: /robots }, respond: { body: robots } }, { to: app }]
pools: { app: [@APP] }
";
    let tidegate = files.start(&text.replace("@FORWARD", "false"), &[("APP", &server)]);
    let ask = |path: &str, value: &str| tidegate.client().ask(get(path, &format!("Authorization: {value}\r\n")));
    for token in ["Bearer one", "bearer two"] {
        assert_eq!(ask("/robots", token).text(), "robots");
        assert_eq!(ask("/bot", token).text(), "app");
        assert!(!server.request().fields.has("authorization"));
    }
    assert_eq!(tidegate.log_of("/bot")["user"], "bot");
    assert_eq!(ask("/", &basic("ann:sesame")).text(), "app");
    let both = ["Bearer realm=\"machines\"", "Basic realm=\"people\", charset=\"UTF-8\""];
    assert_eq!(tidegate.client().get("/").fields.values("www-authenticate"), both);
    let refused = ask("/three", "Bearer three");
    assert_eq!(
        (refused.status, refused.fields.values("www-authenticate")),
        (401, vec!["Bearer realm=\"machines\", error=\"invalid_token\"", both[1]])
    );
    assert!(!tidegate.log_of("/three").to_string().contains("Bearer"));
    let tidegate = files.start(&text.replace("@FORWARD", "true"), &[("APP", &server)]);
    let request = get("/", "Authorization: Bearer one\r\n");
    assert_eq!(tidegate.client().ask(request).text(), "app");
    assert_eq!(server.requests().last().and_then(|seen| seen.fields.value("authorization")), Some("Bearer one"));
}

#[test]
pub(crate) fn a_certificate_names_its_user() {
    let desk = Desk::new();
    let people = Authority::new();
    desk.folder.write("people.pem", people.pem());
    desk.folder.write("people", PEOPLE);
    let (ann, host) = (people.issue_to("Ann Lee"), people.issue(&["host.example.com", "other.example.com"]));
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  web:
    bind: 127.0.0.1:0
    tls: { certificates: main, client_cert: { ca: '@DIR/people.pem', mode: optional } }
    use: [{ cert_auth: { name: @NAME, groups: { staff: ['Ann Lee'], hosts: [host.example.com] } } }@MORE]
    routes: [{ match: { group: [staff, hosts] }, respond: { body: known } }, { respond: { body: other } }]
";
    let showing = |shows| ClientTls::with(&desk.authority, "example.com", &Wishes { shows, ..Wishes::default() });
    let page = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n");
    for (name, shows, user) in [("cn", &ann, "Ann Lee"), ("dns", &host, "host.example.com")] {
        let tidegate = desk.start(&text.replace("@NAME", name).replace("@MORE", ""), &[]);
        let address = tidegate.address("web");
        // The second connection takes up the session of the first.
        let tls = showing(Some(shows));
        for path in ["/first", "/second"] {
            assert_eq!(Client::secured(&address, &tls).ask(page(path, "")).text(), "known", "{name}");
            assert_eq!(tidegate.log_of(path)["user"], user);
        }
        let nobody = Client::secured(&address, &showing(None)).ask(page("/nobody", ""));
        assert_eq!((nobody.status, nobody.fields.has("www-authenticate")), (403, false));
        assert_eq!(tidegate.log_of("/nobody")["reason"], "no client certificate that names a user");
    }
    // Who has no name of that kind is nobody, and may come by another way.
    let more = ", { basic_auth: { users: '@DIR/people' } }";
    let tidegate = desk.start(&text.replace("@NAME", "email").replace("@MORE", more), &[]);
    let mut client = Client::secured(&tidegate.address("web"), &showing(Some(&ann)));
    assert_eq!(client.ask(page("/", "")).status, 401);
    let shown = format!("Authorization: {}\r\n", basic("cy:sha"));
    assert_eq!(client.ask(page("/", &shown)).text(), "other");
}

/// What Python's requests makes of it: pages in plain, tunnels, and a password that is wrong.
#[test]
fn requests_of_python_come_through() {
    let Some(mut python) = python("requests") else { return };
    let (files, server) = (Files::new(), Server::named("one"));
    let more = "use: [{ basic_auth: { users: '@DIR/people' } }]\n    to: origin";
    let tidegate = files.start(&OPEN.replace("@MORE", more), &[]);
    let script = "
import requests, sys
proxy, url = sys.argv[1:]
def by(user): return {'http': f'http://{user}@{proxy}', 'https': f'http://{user}@{proxy}'}
print(requests.get(url, proxies=by('ann:sesame'), timeout=20).text)
print(requests.get(url, proxies=by('ann:wrong'), timeout=20).status_code)
try:
    requests.get(url.replace('http:', 'https:'), proxies=by('ann:wrong'), timeout=20)
except requests.exceptions.ProxyError as error:
    print('407' in str(error))
";
    let url = format!("http://a.test:{}/", port(&server));
    let output = python.args(["-c", script, &tidegate.address("web"), &url]).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().collect::<Vec<_>>(), ["one", "407", "True"], "{said}");
}
