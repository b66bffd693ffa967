//! TLS that is offered and not demanded (`required: false`): who does not want it goes on in plain, on either side.

use testkit::{Server, ServerTls, Talk};

use super::TONGUES;
use crate::tls::Desk;

/// What is asked first in plain, and answered by `inside` of the same number.
const LEFT_OVER: [&str; 3] = ["MAIL FROM:<a@a.test>", "b1 LOGIN anna secret", "USER anna"];

fn optional(text: &str, name: &str) -> String {
    text.replace(&format!("starttls: {name}"), &format!("starttls: {{ protocol: {name}, required: false }}"))
}

/// A server in plain, to which a client of SMTP has to introduce itself first.
fn introduced_to(number: usize) -> Server {
    Server::script(move |peer| {
        let mut talk = Talk::of(peer);
        talk.say(TONGUES[number].greeting);
        if number == 0 {
            assert_eq!(talk.line(), "EHLO a.test");
            talk.say("250-mx.test\r\n250-STARTTLS\r\n250 SIZE\r\n");
        }
        let heard = talk.line();
        talk.say(format!("heard {heard}\r\n"));
        talk.finish();
    })
}

#[test]
pub(crate) fn a_client_that_does_not_want_it_reaches_its_server_in_plain() {
    let desk = Desk::new();
    for (number, tongue) in TONGUES.iter().enumerate() {
        let server = introduced_to(number);
        let tidegate = desk.start(&optional(&tongue.text(true, false), tongue.name), &[("APP", &server)]);
        let mut talk = Talk::with(&tidegate.address("web"));
        let greeting = talk.line();
        assert!(!greeting.contains("LOGINDISABLED"), "{greeting}");
        if tongue.name == "smtp" {
            talk.say("EHLO a.test\r\n");
            assert_eq!((talk.line(), talk.line()), ("250-[127.0.0.1]".to_owned(), "250 STARTTLS".to_owned()));
        }
        // The server has heard the greeting's answer and nothing of ours.
        let said = LEFT_OVER[number];
        assert_eq!(talk.say(format!("{said}\r\n")).rest(), format!("heard {said}\r\n").as_bytes());
        drop(talk);
        let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
        assert_eq!((line.get("sni"), line.get("fault")), (None, None), "{line}");
        // Who wants it has it, and what stands behind the question is as wrong as ever.
        let mut talk = tongue.upgraded(&tidegate, &desk);
        talk.say(format!("{}\r\n", if number == 0 { "EHLO a.test" } else { said }));
        assert!(!talk.line().is_empty());
        let mut talk = Talk::with(&tidegate.address("web"));
        talk.line();
        talk.say(format!("{}\r\n{said}\r\n", tongue.question)).rest();
        let line = tidegate.log_line("a refusal", |line| line["fault"] == "malformed");
        assert_eq!(line["reason"], "bytes in plain behind the question for TLS");
    }
}

#[test]
pub(crate) fn a_server_that_has_none_is_spoken_to_in_plain() {
    let desk = Desk::new();
    for (tongue, no) in TONGUES.iter().zip(["250 mx.test", "TLS1 BAD what", "-ERR what"]) {
        let server = Server::script(move |peer| {
            let mut talk = Talk::of(peer);
            talk.say(tongue.greeting);
            talk.line();
            talk.say(format!("{no}\r\n"));
            tongue.serve(&mut talk);
        });
        let text = optional(&tongue.text(false, true), tongue.name);
        let tidegate = desk.start(&text, &[("APP", &server)]);
        let mut talk = Talk::with(&tidegate.address("web"));
        assert_eq!(talk.exactly(tongue.greeting.len()), tongue.greeting.as_bytes());
        assert_eq!(talk.say(format!("{}\r\n", tongue.inside)).rest(), format!("{}\r\n", tongue.answer).as_bytes());
    }
}

/// One that has it is spoken to under TLS, if it is believed.
#[test]
fn a_server_that_has_it_has_to_be_believed() {
    let desk = Desk::new();
    let good = ServerTls::new(&desk.issue("server", &["127.0.0.1"]));
    let bad = ServerTls::new(&desk.issue("other", &["192.0.2.1"]));
    for tongue in &TONGUES {
        for (tls, is_good) in [(&good, true), (&bad, false)] {
            let server = tongue.secured(tls.clone());
            let text = optional(&tongue.text(false, true), tongue.name);
            let tidegate = desk.start(&text, &[("APP", &server)]);
            let mut talk = Talk::with(&tidegate.address("web"));
            talk.say(format!("{}\r\n", tongue.inside));
            let heard = String::from_utf8_lossy(&talk.rest()).into_owned();
            assert_eq!(heard.ends_with(&format!("{}\r\n", tongue.answer)), is_good, "{heard}");
            drop(talk);
            let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
            assert_eq!(line.get("fault").is_none(), is_good, "{line}");
        }
    }
}

/// A server that does not take the introduction is left for another, as one that does not welcome anybody.
#[test]
fn a_server_that_takes_no_introduction_is_left_for_another() {
    let desk = Desk::new();
    let rude = Server::script(|peer| {
        let mut talk = Talk::of(peer);
        talk.say("220 mx.test\r\n");
        talk.line();
        talk.say("550 not you\r\n");
        talk.rest();
    });
    let good = introduced_to(0);
    let text = optional(&TONGUES[0].text(true, false), "smtp")
        .replace("[@APP]", "{ a: { address: '@RUDE' }, b: { address: '@GOOD' } }, balance: first");
    let tidegate = desk.start(&text, &[("RUDE", &rude), ("GOOD", &good)]);
    let mut talk = Talk::with(&tidegate.address("web"));
    talk.line();
    talk.say("EHLO a.test\r\n");
    assert_eq!((talk.line(), talk.line()), ("250-[127.0.0.1]".to_owned(), "250 STARTTLS".to_owned()));
    assert_eq!(talk.say("MAIL FROM:<a@a.test>\r\n").rest(), b"heard MAIL FROM:<a@a.test>\r\n");
    drop(talk);
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["tries"], 2);
}
