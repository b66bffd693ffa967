//! The keys of policies that find out who a client is.

use super::{Key, Section, Type, live};

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

pub(super) static BEARER_AUTH: Section = Section::new(
    "bearer_auth",
    "Clients show who they are by a token (RFC 6750), in the same fields as for `basic_auth` and at the same time. Of both in one `use` \
     one is enough.",
    &[
        Key::new(
            "tokens",
            Type::Text("path of a file"),
            "A file with `NAME:HASH` in each line, where the hash is SHA-256 of a token in 64 hexadecimal digits; a user may have several. \
             Tokens have to be of chance, such as `openssl rand -hex 32` makes them: then nobody can try all that lead to a hash. It is \
             read again when it changes.",
        )
        .required(),
        REALM,
        GROUPS,
        FORWARD,
    ],
);

pub(super) static CERT_AUTH: Section = Section::new(
    "cert_auth",
    "The certificate that a client has shown says who it is, where `tls.client_cert` asks for one. Who has shown none is refused with 403, \
     or asked for what another policy of the same `use` would have instead.",
    &[
        Key::new(
            "name",
            Type::Word(&[live("cn"), live("dns"), live("email"), live("uri")]),
            "What is the name of the user: the common name of the subject, or the first of the alternative names of that kind.",
        )
        .default("cn"),
        GROUPS,
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
