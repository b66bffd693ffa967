//! SMTP, IMAP and POP3: TLS that begins inside of them, either way.

pub(crate) mod plain;
mod real;

use testkit::{Server, ServerTls, Talk, Tidegate};

use crate::tls::Desk;

/// A protocol: what its server says first, what is asked and said to begin TLS, and something to ask inside of it.
struct Tongue {
    name: &'static str,
    greeting: &'static str,
    /// What is said before the question for TLS, with how its answer ends.
    before: &'static [(&'static str, &'static str)],
    question: &'static str,
    leave: &'static str,
    inside: &'static str,
    answer: &'static str,
}

const TONGUES: [Tongue; 3] = [
    Tongue {
        name: "smtp",
        greeting: "220-mx.test\r\n220 ESMTP\r\n",
        before: &[("EHLO tidegate", "250-mx.test\r\n250-STARTTLS\r\n250 SIZE")],
        question: "STARTTLS",
        leave: "220 go on",
        inside: "EHLO a.test",
        answer: "250 mx.test",
    },
    Tongue {
        name: "imap",
        greeting: "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n",
        before: &[],
        question: "TLS1 STARTTLS",
        leave: "TLS1 OK go on",
        inside: "b1 LOGIN anna secret",
        answer: "b1 OK logged in",
    },
    Tongue {
        name: "pop3",
        greeting: "+OK ready\r\n",
        before: &[],
        question: "STLS",
        leave: "+OK go on",
        inside: "USER anna",
        answer: "+OK anna",
    },
];

impl Tongue {
    /// A server that never has TLS.
    fn plain(&'static self) -> Server {
        Server::script(move |peer| {
            let mut talk = Talk::of(peer);
            talk.say(self.greeting);
            self.serve(&mut talk);
        })
    }

    /// A server whose clients have to begin it.
    fn secured(&'static self, tls: ServerTls) -> Server {
        Server::script(move |peer| {
            let mut talk = Talk::of(peer);
            talk.say(self.greeting);
            for (asked, answer) in self.before {
                assert_eq!(talk.line(), *asked);
                talk.say(format!("{answer}\r\n"));
            }
            assert_eq!(talk.line(), self.question);
            talk.say(format!("{}\r\n", self.leave));
            if talk.begun(&tls).is_ok() {
                self.serve(&mut talk);
            }
        })
    }

    fn serve(&self, talk: &mut Talk) {
        let heard = talk.line();
        let answer = if heard == self.inside { self.answer.to_owned() } else { format!("heard {heard:?}") };
        talk.say(format!("{answer}\r\n"));
        talk.finish();
    }

    /// TLS ends here, if `front`, and begins here, if `back`.
    fn text(&self, front: bool, back: bool) -> String {
        let name = self.name;
        let front = if front { format!("tls: {{ certificates: main, starttls: {name} }}, ") } else { String::new() };
        let back = if back { format!(", tls: {{ ca: '@DIR/ca.pem', starttls: {name} }}") } else { String::new() };
        format!(
            "certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}\n\
             listeners: {{ web: {{ bind: 127.0.0.1:0, role: tcp, {front}to: app }} }}\n\
             pools: {{ app: {{ servers: [@APP]{back} }} }}\n"
        )
    }

    /// Comes to where TLS has begun.
    fn upgraded(&self, tidegate: &Tidegate, desk: &Desk) -> Talk {
        let mut talk = Talk::with(&tidegate.address("web"));
        let greeting = talk.line();
        assert!(["220 ", "* OK", "+OK "].contains(&&greeting[..4]), "{greeting}");
        if self.name == "smtp" {
            talk.say("EHLO a.test\r\n");
            assert_eq!((talk.line(), talk.line()), ("250-[127.0.0.1]".to_owned(), "250 STARTTLS".to_owned()));
        }
        talk.say(format!("{}\r\n", self.question));
        let leave = talk.line();
        assert!(["220", "TLS", "+OK"].contains(&&leave[..3]), "{leave}");
        talk.begin(&desk.tls()).expect("a handshake");
        talk
    }
}

#[test]
fn tls_ends_here_and_the_server_hears_what_is_said_inside_alone() {
    let desk = Desk::new();
    for tongue in &TONGUES {
        let server = tongue.plain();
        let tidegate = desk.start(&tongue.text(true, false), &[("APP", &server)]);
        let mut talk = tongue.upgraded(&tidegate, &desk);
        assert_eq!(talk.say(format!("{}\r\n", tongue.inside)).rest(), format!("{}\r\n", tongue.answer).as_bytes());
        talk.finish();
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((&line["sni"], line.get("fault")), (&"example.com".into(), None), "{line}");
    }
}

#[test]
pub(crate) fn tls_begins_here_and_the_client_is_greeted_by_the_server() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    for tongue in &TONGUES {
        let server = tongue.secured(tls.clone());
        let tidegate = desk.start(&tongue.text(false, true), &[("APP", &server)]);
        let mut talk = Talk::with(&tidegate.address("web"));
        // What the server said of its capabilities in plain is none of the client's business.
        let greeting = tongue.greeting.replace("[CAPABILITY IMAP4rev1 STARTTLS] ", "");
        assert_eq!(talk.exactly(greeting.len()), greeting.as_bytes());
        assert_eq!(talk.say(format!("{}\r\n", tongue.inside)).rest(), format!("{}\r\n", tongue.answer).as_bytes());
    }
}

#[test]
fn tls_ends_and_begins_here() {
    let desk = Desk::new();
    let tls = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    for tongue in &TONGUES {
        let server = tongue.secured(tls.clone());
        let tidegate = desk.start(&tongue.text(true, true), &[("APP", &server)]);
        let mut talk = tongue.upgraded(&tidegate, &desk);
        assert_eq!(talk.say(format!("{}\r\n", tongue.inside)).rest(), format!("{}\r\n", tongue.answer).as_bytes());
    }
}

#[test]
fn commands_in_plain_behind_starttls_are_refused() {
    let desk = Desk::new();
    for (tongue, told) in TONGUES.iter().zip(["554", "* BYE", "-ERR"]) {
        let server = tongue.plain();
        let tidegate = desk.start(&tongue.text(true, false), &[("APP", &server)]);
        let mut talk = Talk::with(&tidegate.address("web"));
        talk.line();
        talk.say(format!("{}\r\n{}\r\n", tongue.question, tongue.inside));
        let heard = String::from_utf8_lossy(&talk.rest()).into_owned();
        assert!(heard.starts_with(told) && heard.lines().count() == 1, "{heard}");
        let line = tidegate.log_line("a refusal", |line| line["fault"] == "malformed");
        assert_eq!(line["reason"], "bytes in plain behind the question for TLS");
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn who_logs_in_in_plain_is_told_so_and_closed() {
    let desk = Desk::new();
    let login = ["AUTH PLAIN AGEAYg==", "a1 LOGIN anna secret", "USER anna"];
    for ((tongue, login), told) in TONGUES.iter().zip(login).zip(["530", "a1 NO [PRIVACYREQUIRED]", "-ERR"]) {
        let server = tongue.plain();
        let tidegate = desk.start(&tongue.text(true, false), &[("APP", &server)]);
        let mut talk = Talk::with(&tidegate.address("web"));
        talk.line();
        talk.say(format!("{login}\r\n"));
        assert!(talk.line().starts_with(told));
        talk.rest();
        assert_eq!(server.connections(), 0);
    }
}

#[test]
fn servers_that_answer_in_place_of_tls_are_not_used() {
    let desk = Desk::new();
    const TLS: &str = "server_tls";
    for (number, says, why, fault) in [
        (0, "220 a\r\n250 a\r\n", "the server has no TLS", TLS),
        (0, "220 a\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n", "bytes in plain where TLS should begin", TLS),
        (0, "554 no\r\n", "the server does not welcome us: 554 no", "unwelcome"),
        (1, "* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n", "* PREAUTH", TLS),
        (1, "* OK a\r\nTLS1 OK go\r\n* 1 EXISTS\r\n", "bytes in plain where TLS should begin", TLS),
        (2, "+OK a\r\n-ERR no\r\n", "-ERR no", TLS),
    ] {
        let server = Server::script(move |peer| {
            peer.send(says);
            let heard = peer.rest().unwrap_or_default();
            assert!(!heard.windows(6).any(|part| part == b"secret"), "{heard:?}");
        });
        let tidegate = desk.start(&TONGUES[number].text(false, true), &[("APP", &server)]);
        assert_eq!(Talk::with(&tidegate.address("web")).say("secret\r\n").rest(), b"");
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!(line["fault"], fault);
        assert!(line["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{line}");
        tidegate.message(why);
    }
}

#[test]
fn a_server_that_does_not_welcome_a_client_that_was_greeted_is_left_for_another() {
    let desk = Desk::new();
    let busy = Server::script(|peer| {
        peer.send("421 too busy\r\n");
        peer.hang();
    });
    let good = TONGUES[0].plain();
    let text = TONGUES[0]
        .text(true, false)
        .replace("[@APP]", "{ a: { address: '@BUSY' }, b: { address: '@GOOD' } }, balance: first");
    let tidegate = desk.start(&text, &[("BUSY", &busy), ("GOOD", &good)]);
    let mut talk = TONGUES[0].upgraded(&tidegate, &desk);
    assert_eq!(talk.say("EHLO a.test\r\n").rest(), b"250 mx.test\r\n");
    drop(talk);
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["tries"], 2);
    tidegate.message("is passed over, failed ×1: the server does not welcome us: 421 too busy");
}

#[test]
fn a_server_that_welcomes_nobody_has_not_refused_the_connect() {
    let desk = Desk::new();
    for (number, says, why) in [
        (0, "554 no service here\r\n", "554 no service here"),
        (1, "* BYE too busy\r\n", "* BYE too busy"),
        (2, "", "it closes the connection without a greeting"),
    ] {
        let server = Server::script(move |peer| {
            peer.send(says);
            peer.finish();
        });
        let tidegate = desk.start(&TONGUES[number].text(true, false), &[("APP", &server)]);
        // Whoever leaves at once is not there to see it.
        let _client = TONGUES[number].upgraded(&tidegate, &desk);
        let line = tidegate.log_line("a flow", |line| line["fault"] == "unwelcome");
        assert_eq!(line["reason"], format!("the server does not welcome us: {why}"));
    }
}
