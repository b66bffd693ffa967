//! Lists of sites: whatever is in them, what they tell is a host in its one form.

use tidegate_wire::list::{Format, LONGEST_LINE, Line, Name, Reader};

/// The first byte chooses the form, the rest is a list of it.
pub(crate) fn lines(bytes: &[u8]) {
    let Some((form, list)) = bytes.split_first() else { return };
    let format = [Format::Hosts, Format::Domains, Format::Adblock, Format::Rpz][usize::from(form % 4)];
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
        if line.len() < LONGEST_LINE {
            let ended = with_ends.line(&[line, b"\r"].concat(), &mut |_| again += 1);
            assert_eq!((ended, again), (what, told.len()), "the line's end says nothing");
        }
    }
}
