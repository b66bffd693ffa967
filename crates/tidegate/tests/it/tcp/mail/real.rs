//! Clients of another making: Python's for mail, and OpenSSL's for every protocol inside of which TLS begins.

use std::process::{Command, Stdio};

use testkit::{Server, Talk, tool};

use super::TONGUES;
use crate::tls::Desk;

/// A server of SMTP that takes one message.
fn post_office() -> Server {
    Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say("220 mx.test ESMTP\r\n");
        loop {
            let heard = talk.line();
            let answer = match heard.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => "250-mx.test\r\n250 8BITMIME",
                "DATA" => {
                    talk.say("354 go on\r\n");
                    while talk.line() != "." {}
                    "250 taken"
                }
                "QUIT" | "" => {
                    talk.say("221 bye\r\n");
                    return talk.finish();
                }
                _ => "250 fine",
            };
            talk.say(format!("{answer}\r\n"));
        }
    })
}

const SEND: &str = "
import smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
with smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=20) as mail:
    try:
        mail.login('anna', 'secret')
        print('in plain')
    except smtplib.SMTPNotSupportedError:
        pass
    mail.starttls(context=context)
    print(mail.sendmail('a@a.test', ['b@b.test'], 'Subject: a\\r\\n\\r\\nhello'))
";

#[test]
fn pythons_client_sends_mail() {
    let Some(mut python) = tool("python3") else { return };
    let (desk, server) = (Desk::new(), post_office());
    let tidegate = desk.start(&TONGUES[0].text(true, false), &[("APP", &server)]);
    let address = tidegate.address("web");
    let port = address.rsplit_once(':').expect("a port").1;
    let said = python.args(["-c", SEND, port]).arg(desk.folder.path().join("ca.pem")).output().expect("python3");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "{}", "{}", String::from_utf8_lossy(&said.stderr));
}

const SEND_IN_PLAIN: &str = "
import imaplib, smtplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
for secured in (False, True):
    with smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=20) as mail:
        if secured:
            mail.starttls(context=context)
        print(mail.sendmail('a@a.test', ['b@b.test'], 'Subject: a\\r\\n\\r\\nhello'))
    mail = imaplib.IMAP4('127.0.0.1', int(sys.argv[2]), timeout=20)
    if secured:
        mail.starttls(ssl_context=context)
    print(mail.login('anna', 'secret')[0], mail.logout()[0])
";

/// A server of IMAP at which anna may log in.
fn mailbox() -> Server {
    Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say("* OK [CAPABILITY IMAP4rev1] ready\r\n");
        loop {
            let heard = talk.line();
            let mut words = heard.split(' ');
            let (tag, word) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match word {
                "CAPABILITY" => talk.say(format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n")),
                "LOGIN" => talk.say(format!("{tag} OK logged in\r\n")),
                "LOGOUT" => talk.say(format!("* BYE\r\n{tag} OK done\r\n")),
                _ => return talk.finish(),
            };
        }
    })
}

#[test]
fn pythons_clients_go_on_in_plain_or_do_not_as_they_like() {
    let Some(mut python) = tool("python3") else { return };
    let (desk, post, mail) = (Desk::new(), post_office(), mailbox());
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  post: { bind: 127.0.0.1:0, role: tcp, tls: { certificates: main, starttls: { protocol: smtp, required: false } }, to: post }
  mail: { bind: 127.0.0.1:0, role: tcp, tls: { certificates: main, starttls: { protocol: imap, required: false } }, to: mail }
pools: { post: [@POST], mail: [@MAIL] }
";
    let tidegate = desk.start(text, &[("POST", &post), ("MAIL", &mail)]);
    let ports = ["post", "mail"].map(|name| tidegate.address(name).rsplit_once(':').expect("a port").1.to_owned());
    let ca = desk.folder.path().join("ca.pem");
    let said = python.args(["-c", SEND_IN_PLAIN]).args(ports).arg(ca).output().expect("python3");
    let wrong = String::from_utf8_lossy(&said.stderr);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "{}\nOK BYE\n{}\nOK BYE\n", "{wrong}");
}

#[test]
fn openssls_client_comes_through_in_every_protocol() {
    let Some(_) = tool("openssl") else { return };
    let desk = Desk::new();
    let ca = desk.folder.path().join("ca.pem");
    for (name, server) in
        TONGUES.iter().map(|tongue| (tongue.name, tongue.plain())).chain([("postgres", post_office())])
    {
        let text = TONGUES[0].text(true, false).replace("smtp", name);
        let tidegate = desk.start(&text, &[("APP", &server)]);
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &tidegate.address("web"), "-starttls", name]);
        client
            .args(["-verify_return_error", "-verify_hostname", "example.com", "-servername", "example.com", "-CAfile"])
            .arg(&ca);
        let said = client.stdin(Stdio::null()).output().expect("openssl");
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(
            text.contains("Verify return code: 0 (ok)"),
            "{name}: {text} {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
