//! Who belongs to which group, by a file as of Apache's `AuthGroupFile`: `GROUP: USER USER` a line.

use std::collections::{BTreeMap, BTreeSet};

use super::{Wrong, lines};

/// The groups of each user, in the order of their names.
pub(super) type Groups = BTreeMap<String, BTreeSet<String>>;

/// Reads a file. A group that stands in several lines has the users of all.
///
/// # Errors
/// Each line that is wrong.
pub(super) fn read(text: &[u8]) -> Result<Groups, Vec<Wrong>> {
    let (mut groups, mut wrong) = (Groups::new(), Vec::new());
    for (number, line) in lines(text) {
        let parted = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':'));
        match parted.map(|(group, users)| (group.trim(), users)) {
            Some((group, users)) if config::spec::is_group(group) => {
                users.split_ascii_whitespace().for_each(|user| add(&mut groups, group, user));
            }
            _ => wrong.push((number, "no name of a group before a colon".to_owned())),
        }
    }
    if wrong.is_empty() { Ok(groups) } else { Err(wrong) }
}

/// The same of what is said in a configuration.
pub(super) fn said(said: &[(String, Vec<String>)]) -> Groups {
    let mut groups = Groups::new();
    for (group, users) in said {
        users.iter().for_each(|user| add(&mut groups, group, user));
    }
    groups
}

fn add(groups: &mut Groups, group: &str, user: &str) {
    groups.entry(user.to_owned()).or_default().insert(group.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_the_groups_of_all_lines() {
        let groups = read(b"# staff\nstaff: ann  bob\n\nadmins:ann\nstaff: cy\nempty:\n").expect("no mistakes");
        let of = |user: &str| groups.get(user).map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(of("ann"), Some(vec!["admins", "staff"]));
        assert_eq!((of("bob"), of("cy"), of("dan")), (Some(vec!["staff"]), Some(vec!["staff"]), None));
        let wrong = read(b"staff\na,b: ann\n: x\n\xff: y\nx y: z\n").expect_err("mistakes");
        assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
