//! The keys of policies that find out who a client is.

use super::{Key, Section, Type};

pub(super) static BASIC_AUTH: Section = Section::new(
    "basic_auth",
    "Clients show who they are by a name and a password (RFC 7617): in `Proxy-Authorization` to a forward proxy, which asks by 407, else in \
     `Authorization`, asked for by 401. In `use` of a listener it happens before the route is found, so that `match` may ask for `user` and \
     `group`; of several such policies there one is enough. In `use` of a site or route it is asked for in addition, once the route is \
     found.",
    &[
        Key::new(
            "users",
            Type::Text("path of a file"),
            "A file of Apache's `htpasswd`: a user a line, with bcrypt (`htpasswd -B`), `$apr1$` or `{SHA}`. It is read again when it \
             changes.",
        )
        .required(),
        REALM,
        GROUPS,
        FORWARD,
    ],
);

const REALM: Key =
    Key::new("realm", Type::Text("text in ASCII"), "What clients tell their users that the password is for.")
        .default("restricted");

const GROUPS: Key = Key::new(
    "groups",
    Type::TextOrNamed("path of a file", "group", &Type::List(&Type::Text("name of a user"))),
    "Who belongs to which group: a map from groups to users, or a file as of Apache's `AuthGroupFile`, with lines such as `staff: ann bob`.",
);

const FORWARD: Key = Key::new(
    "forward",
    Type::Bool,
    "Whether servers see what the client has shown, too, with `role: http`. Who they need is told better by `headers`, with `${user}`.",
)
.default("false");
