//! Lists of sites: whatever is in them, what they tell is a host in its one form.

use tidegate_wire::fold::{Fold, Markup};
use tidegate_wire::list::{Format, LONGEST_LINE, LONGEST_PHRASE, Line, Name, Reader, phrase};

/// The first byte chooses the form, the rest is a list of it.
pub(crate) fn lines(bytes: &[u8]) {
    let Some((form, list)) = bytes.split_first() else { return };
    let format = [Format::Hosts, Format::Domains, Format::Adblock, Format::Rpz, Format::Words][usize::from(form % 5)];
    let (mut plain, mut with_ends) = (Reader::new(format), Reader::new(format));
    for line in list.split(|byte| *byte == b'\n') {
        let (mut told, mut again) = (Vec::new(), 0);
        let what = plain.line(line, &mut |rule| {
            let name = Name::of(rule.host).expect("a host that is told is one");
            assert_eq!(name.as_str(), rule.host, "its form is the one that requests have");
            assert!(rule.itself || rule.below, "a rule is about something");
            assert!(!rule.below || !name.is_address(), "below an address there is nothing");
            told.push(rule.host.to_owned());
        });
        assert!(told.is_empty() || matches!(what, Line::Hosts | Line::Wrong), "{what:?} tells hosts");
        assert!(what != Line::Hosts || !told.is_empty(), "rules about hosts that name none");
        if format == Format::Words && what == Line::Pattern {
            let text = std::str::from_utf8(line).expect("a phrase is text").trim_start_matches('\u{feff}');
            let phrase = phrase(text.trim_end()).expect("what was told is a phrase");
            assert!(phrase.text.len() <= LONGEST_PHRASE && text.contains(phrase.text));
        }
        if line.len() < LONGEST_LINE {
            let ended = with_ends.line(&[line, b"\r"].concat(), &mut |_| again += 1);
            assert_eq!((ended, again), (what, told.len()), "the line's end says nothing");
        }
    }
}

/// The first two bytes say how a text is marked up and where it is cut; it folds to the same wherever that is, and what is folded is
/// words with one space between them.
pub(crate) fn text(bytes: &[u8]) {
    let [how, cut, text @ ..] = bytes else { return };
    let markup = [Markup::Plain, Markup::Tags, Markup::Escapes][usize::from(how % 3)];
    let charset: Option<&[u8]> = [None, Some(&b"utf-16le"[..]), Some(&b"UTF-16BE"[..])][usize::from(how / 3 % 3)];
    let folded = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut fold = Fold::new(markup, charset);
        pieces.for_each(|piece| fold.feed(piece));
        fold.end();
        fold.tracks().map(|track| String::from_utf8(std::mem::take(track)).expect("what is folded is text"))
    };
    let whole = folded(&mut std::iter::once(text));
    assert_eq!(folded(&mut text.chunks(usize::from(*cut).max(1))), whole, "a cut changes nothing");
    for track in whole {
        assert!(track.is_empty() || (track.starts_with(' ') && track.ends_with(' ')), "{track:?}");
        assert!(!track.contains("  ") && !track.contains(|c: char| c.is_ascii_uppercase()), "{track:?}");
    }
}
