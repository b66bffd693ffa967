//! The keys of certificates and TLS, towards clients and towards servers.

use super::{Key, Section, Type, live};

pub(super) static CERTIFICATE: Section = Section::new(
    "certificate",
    "Where a certificate comes from: `cert` and `key`, a `folder` of many, `acme`, or `internal`. Files are watched: when they change, new \
     connections get the new ones.",
    &[
        Key::new(
            "cert",
            Type::Text("file"),
            "The chain in PEM, the server's own certificate first. Relative to the file that names it.",
        ),
        Key::new(
            "key",
            Type::Text("file"),
            "The private key in PEM (PKCS#8, PKCS#1 or SEC1); may be the same file. Relative to the file that names it.",
        ),
        Key::new(
            "folder",
            Type::Text("folder"),
            "Every certificate in this folder: pairs `NAME.pem` or `NAME.crt` with `NAME.key`, and files `NAME.pem` that hold both. \
             Files may come, change and go. Relative to the file that names it.",
        ),
        Key::new(
            "acme",
            Type::Section(&ACME),
            "From an authority that is asked by ACME (RFC 8555), such as Let's Encrypt, and renewed when a third of its time is left. One \
             certificate for each domain, kept in the `state` folder under `acme`, which several nodes may share. Whoever uses it accepts \
             the authority's terms of service.",
        ),
        Key::new(
            "internal",
            Type::Section(&INTERNAL),
            "Made here, for development: signed by an authority of this machine's own, whose certificate stands in the `state` folder \
             under `internal`. Clients must be told to trust it.",
        ),
        Key::new(
            "default",
            Type::Bool,
            "Whether clients that name no host, or one that no certificate is for, are shown this one. Without a default it is the \
             first of the listener's list.",
        )
        .default("false"),
        Key::new(
            "ocsp",
            Type::Text("file"),
            "An OCSP response in DER, which clients that want one get with the certificate of `cert`. Watched like the others; somebody \
             else fetches it anew. Relative to the file that names it.",
        ),
    ],
);

/// The directory of Let's Encrypt.
pub(crate) const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

static ACME: Section = Section::new(
    "acme",
    "How an authority is asked for certificates. Until one is there, handshakes for its domain are refused.",
    &[
        Key::new("directory", Type::Text("URL"), "Where the authority's directory is.").default(DIRECTORY),
        Key::new("email", Type::List(&Type::Text("address")), "Whom the authority may write to about the account."),
        Key::new(
            "domains",
            Type::List(&Type::Text("host")),
            "Which domains certificates are for. Absent means the hosts of the routes and sites of the listeners that show it; wildcards \
             are not among them, since authorities ask for a proof by DNS then.",
        ),
        Key::new(
            "challenges",
            Type::List(&Type::Word(&[live("http-01"), live("tls-alpn-01")])),
            "How it is proved that a domain is ours, the first one first, the next one when it has failed: `http-01` by a request that any \
             plain listener answers (the authority asks port 80), `tls-alpn-01` by a handshake at the listener that shows the \
             certificate (port 443). Absent means both, `http-01` first if there is a plain listener.",
        ),
        Key::new("eab", Type::Section(&EAB), "Who we are to an authority that wants to know its customers."),
        Key::new(
            "ca",
            Type::Text("file"),
            "The authorities that are believed when the directory is asked, in PEM. Absent means the system's. Relative to the file that \
             names it.",
        ),
    ],
);

static EAB: Section = Section::new(
    "external account binding",
    "What the authority has given to its customer (RFC 8555 section 7.3.4).",
    &[
        Key::new("id", Type::Text("text"), "The key's identifier.").required(),
        Key::new(
            "key",
            Type::Text("${file.PATH} or ${env.NAME}"),
            "The key in base64url, from a file or the environment.",
        )
        .required(),
    ],
);

static INTERNAL: Section = Section::new(
    "internal certificate",
    "A certificate that is made here and renewed before it ends.",
    &[Key::new(
        "hosts",
        Type::List(&Type::Text("host or address")),
        "Whom it is for. Absent means the hosts of the routes and sites of the listeners that show it, and `localhost` in any case.",
    )],
);

const MIN_VERSION: Key = Key::new(
    "min_version",
    Type::Word(&[live("tls1.2"), live("tls1.3")]),
    "The oldest version that is spoken. Under 1.2 only suites with forward secrecy and AEAD are.",
);

const CIPHERS: Key = Key::new(
    "ciphers",
    Type::List(&Type::Text("modern, intermediate or a cipher suite")),
    "Which cipher suites are spoken: `intermediate` is all that are known (with forward secrecy and AEAD), `modern` those of TLS 1.3. \
     A list names them as IANA does (`TLS_AES_256_GCM_SHA384`) or as OpenSSL does (`ECDHE-RSA-AES128-GCM-SHA256`), the preferred one \
     first; without a list the client's preference counts.",
);

const GROUPS: Key = Key::new(
    "groups",
    Type::List(&Type::Text("group")),
    "Which groups keys are exchanged in, the preferred one first, of `X25519MLKEM768`, `X25519`, `secp256r1`, `secp384r1`, \
     `SecP256r1MLKEM768` and `MLKEM1024`. Absent means the first four: whoever can exchanges keys that withstand quantum computers.",
);

const PROTOCOLS: Type = Type::Word(&[live("postgres"), live("smtp"), live("imap"), live("pop3"), live("mysql")]);

pub(super) static LISTENER_TLS: Section = Section::new(
    "listener tls",
    "TLS towards clients. A list stands for `certificates`.",
    &[
        Key::new(
            "certificates",
            Type::List(&Type::Text("certificate")),
            "Names under `certificates`, or `auto` (by `acme` with nothing said) or `internal`, which need no entry there. A client is shown one for the host that it names (SNI): of that very name, else of its \
             wildcard, else the default; a name can have one for each kind of key.",
        )
        .required(),
        MIN_VERSION.default("tls1.2"),
        Key::new("client_cert", Type::Section(&CLIENT_CERT), "What is asked of clients. Absent means nothing."),
        CIPHERS.default("intermediate"),
        GROUPS,
        Key::new(
            "starttls",
            Type::Section(&LISTENER_STARTTLS),
            "Inside of which protocol clients begin TLS. Absent means that TLS comes first.",
        ),
    ],
)
.short("certificates");

static LISTENER_STARTTLS: Section = Section::new(
    "listener starttls",
    "TLS that clients begin inside of a protocol.",
    &[
        Key::new(
            "protocol",
            PROTOCOLS,
            "The protocol. Before TLS clients are answered here, and no server hears of it. With `mysql` the server greets them, and is \
             chosen before.",
        )
        .required(),
        Key::new(
            "required",
            Type::Bool,
            "Whether they must: who does not is told so in the protocol's words, and closed. With `false` such a client goes on in plain, \
             which whoever sits in between can bring about.",
        )
        .default("true"),
    ],
)
.short("protocol");

static CLIENT_CERT: Section = Section::new(
    "client certificate",
    "Whether clients show a certificate.",
    &[
        Key::new("ca", Type::Text("file"), "The authorities that sign clients' certificates, in PEM.").required(),
        Key::new(
            "mode",
            Type::Word(&[live("optional"), live("required"), live("off")]),
            "`optional`: a client may show none, but a bad one fails. `required`: it must show one.",
        )
        .default("required"),
    ],
)
.short("ca");

pub(super) static POOL_TLS: Section = Section::new(
    "pool tls",
    "TLS towards servers. A connection whose certificate is not for the name, or not signed by whom we believe, is not used.",
    &[
        Key::new(
            "server_name",
            Type::Text("name or IP address"),
            "The name that the certificate must be for, sent as SNI. Absent means the server's own address as written.",
        ),
        Key::new(
            "ca",
            Type::Text("file"),
            "The authorities that are believed, in PEM, and servers' own certificates that are signed by themselves. Absent means the system's \
             authorities. Relative to the file that names it.",
        ),
        Key::new("verify", Type::Bool, "`false` believes anybody: secret, but nobody knows with whom.").default("true"),
        Key::new("certificate", Type::Text("certificate"), "What servers that ask for a certificate are shown."),
        MIN_VERSION.default("tls1.2"),
        CIPHERS.default("intermediate"),
        GROUPS,
        Key::new(
            "starttls",
            Type::Section(&POOL_STARTTLS),
            "Inside of which protocol TLS begins with servers, for flows of TCP. Absent means that TLS comes first.",
        ),
        Key::planned("alpn"),
    ],
);

static POOL_STARTTLS: Section = Section::new(
    "pool starttls",
    "TLS that begins with servers inside of a protocol.",
    &[
        Key::new("protocol", PROTOCOLS, "The protocol.").required(),
        Key::new(
            "required",
            Type::Bool,
            "Whether a server that has no TLS is not used. With `false` it is spoken to in plain, which whoever sits in between can bring \
             about; one that begins TLS has to be believed all the same.",
        )
        .default("true"),
    ],
)
.short("protocol");
