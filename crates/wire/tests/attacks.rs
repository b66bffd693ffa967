//! The attack table: what is said to smuggle, split or confuse, and what becomes of it here.
//!
//! Each row is a name, the raw bytes and the verdict. Every row is also held against the invariants: whatever is
//! accepted is read alike by the naive reference reader, and no prefix of a message decides otherwise than the whole.
//!
//! It is longer than a file of code should be, because it is one table: rows are compared with their neighbours.

use tidegate_wire::Framing;
use tidegate_wire::h1::{self, Asked, Limits, Progress, Reject};
use tidegate_wire::head::{Head, Scheme};
use tidegate_wire::hop;

#[allow(dead_code, reason = "each test binary uses its part of what is shared")]
mod shared;

use shared::invariants;

/// What becomes of a message.
#[derive(Clone, Copy)]
enum Verdict {
    /// It is read, with this framing.
    Read(Framing),
    /// It is refused for this reason.
    Refused(&'static str),
}

use Verdict::{Read, Refused};

type Row = (&'static str, &'static [u8], Verdict);

const NONE: Verdict = Read(Framing::None);
const CHUNKED: Verdict = Read(Framing::Unknown);
const fn length(length: u64) -> Verdict {
    Read(Framing::Length(length))
}

const START_LINE: Verdict = Refused("invalid start line");
const NAME: Verdict = Refused("invalid field name");
const VALUE: Verdict = Refused("invalid field value");
const LINE_END: Verdict = Refused("invalid line end");
const BARE_LF: Verdict = Refused("bare LF in the head");
const VERSION: Verdict = Refused("unknown HTTP version");
const TARGET_BYTE: Verdict = Refused("invalid byte in the request target");
const TARGET: Verdict = Refused("invalid request target");
const AUTHORITY: Verdict = Refused("invalid authority in the request target");
const HOST: Verdict = Refused("invalid Host");
const LENGTH: Verdict = Refused("invalid Content-Length");
const LENGTHS: Verdict = Refused("more than one Content-Length");
const CODING: Verdict = Refused("invalid Transfer-Encoding");
const UNKNOWN_CODING: Verdict = Refused("unknown transfer coding");
const CODINGS: Verdict = Refused("more than one Transfer-Encoding");
const BOTH: Verdict = Refused("both Transfer-Encoding and Content-Length");
const CONNECT: Verdict = Refused("CONNECT without host and port");
const MISSPELLED: Verdict = Refused("a framing field's name with `_`");
const NO_BODY: Verdict = Refused("a body with a method that has none");
const EMPTY_LINES: Verdict = Refused("empty lines before the request");

#[rustfmt::skip]
const REQUESTS: &[Row] = &[
    // What is fine.
    ("a plain request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("HTTP/1.0 needs no Host", b"GET / HTTP/1.0\r\n\r\n", NONE),
    ("one empty line before it", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("a length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", length(5)),
    ("a length of zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", NONE),
    ("a length with zeros before it", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n0123456789", length(10)),
    ("a length of nothing but zeros", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000\r\n\r\n", NONE),
    ("a body with GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", length(1)),
    ("white space around a value", b"POST / HTTP/1.1\r\nHost:\t a \t\r\nContent-Length:  5 \t \r\n\r\nhello", length(5)),
    ("no white space before a value", b"POST / HTTP/1.1\r\nHost:a\r\ncontent-length:5\r\n\r\nhello", length(5)),
    ("an empty value", b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \r\nZ:   \r\n\r\n", NONE),
    ("obs-text in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\xff\x80\r\n\r\n", NONE),
    ("every byte of a token in a name", b"GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", NONE),
    ("a method of our own", b"PURGE /a HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("methods have letter case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("more bytes behind", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n", NONE),
    ("chunked in any letter case", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunKed\r\n\r\n", CHUNKED),
    ("chunked with white space around", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \t chunked \t\r\n\r\n", CHUNKED),

    // Both lengths (CL.TE and TE.CL), in either order and any disguise.
    ("CL, TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", BOTH),
    ("TE, CL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n", BOTH),
    ("CL of zero, TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH),
    ("CL, unknown TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: x\r\n\r\n", BOTH),
    ("CL, empty TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding:\r\n\r\n", BOTH),
    ("CL, TE in other letters", b"POST / HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH: 6\r\ntRANSFER-eNCODING: chunked\r\n\r\n", BOTH),
    ("CL, TE in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH),

    // Transfer-Encoding that one reader may take for chunked and another not.
    ("TE: spelled with _", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", MISSPELLED),
    ("CL: spelled with _", b"POST / HTTP/1.1\r\nHost: a\r\ncontent_length: 5\r\n\r\n", MISSPELLED),
    ("TE: space before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", NAME),
    ("TE: tab before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", NAME),
    ("TE: space before the name", b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n", NAME),
    ("TE: byte before the name", b"POST / HTTP/1.1\r\nHost: a\r\n\x01Transfer-Encoding: chunked\r\n\r\n", NAME),
    ("TE: NUL behind the name", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x00: chunked\r\n\r\n", NAME),
    ("TE: 0xff behind the name", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\xff: chunked\r\n\r\n", NAME),
    ("TE: CR behind the name", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r: chunked\r\n\r\n", NAME),
    ("TE: LF behind the name", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\n: chunked\r\n\r\n", NAME),
    ("TE: vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", VALUE),
    ("TE: vertical tab behind", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n", VALUE),
    ("TE: form feed", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0cchunked\r\n\r\n", VALUE),
    ("TE: NUL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x00chunked\r\n\r\n", VALUE),
    ("TE: CR", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\rchunked\r\n\r\n", VALUE),
    ("TE: CR behind", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\r\n\r\n", VALUE),
    ("TE: LF before", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\nchunked\r\n\r\n", NAME),
    ("TE: folded", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", NAME),
    ("TE: folded by a tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n", NAME),
    ("TE: fold behind", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n , identity\r\n\r\n", NAME),
    ("TE: no-break space", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xa0chunked\r\n\r\n", CODING),
    ("TE: next line", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x85\r\n\r\n", CODING),
    ("TE: xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", CODING),
    ("TE: chunkedx", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunkedx\r\n\r\n", CODING),
    ("TE: chunk", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n\r\n", UNKNOWN_CODING),
    ("TE: quoted", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", CODING),
    ("TE: a parameter", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", CODING),
    ("TE: a colon", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: : chunked\r\n\r\n", CODING),
    ("TE: two words", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity chunked\r\n\r\n", CODING),
    ("TE: chunked, identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", CODING),
    ("TE: identity, chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n", UNKNOWN_CODING),
    ("TE: gzip, chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", UNKNOWN_CODING),
    ("TE: chunked, chunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Refused("chunked more than once")),
    ("TE: comma behind", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", CODING),
    ("TE: comma before", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n", UNKNOWN_CODING),
    ("TE: identity", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", UNKNOWN_CODING),
    ("TE: gzip", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", UNKNOWN_CODING),
    ("TE: empty", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", CODING),
    ("TE twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", CODINGS),
    ("TE twice, one hides", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n", CODINGS),
    ("TE twice, identity first", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", CODINGS),
    ("TE behind a bare LF", b"POST / HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n", BARE_LF),
    ("TE behind a bare CR", b"POST / HTTP/1.1\r\nHost: a\r\nX: x\rTransfer-Encoding: chunked\r\n\r\n", VALUE),
    ("TE behind an empty value and CR", b"POST / HTTP/1.1\r\nHost: a\r\nX:\rTransfer-Encoding: chunked\r\n\r\n", VALUE),
    ("TE in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refused("Transfer-Encoding in HTTP/1.0")),

    // Content-Length that one reader may take for another number.
    ("CL: plus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", LENGTH),
    ("CL: minus", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", LENGTH),
    ("CL: minus zero", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n", LENGTH),
    ("CL: inner space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 3\r\n\r\n", LENGTH),
    ("CL: hexadecimal", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", LENGTH),
    ("CL: hexadecimal digits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\n", LENGTH),
    ("CL: underscore", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n0123456789", LENGTH),
    ("CL: fraction", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello", LENGTH),
    ("CL: exponent", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\n", LENGTH),
    ("CL: unit", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5b\r\n\r\nhello", LENGTH),
    ("CL: parameter", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5;x\r\n\r\nhello", LENGTH),
    ("CL: quoted", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello", LENGTH),
    ("CL: list of one number", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", LENGTH),
    ("CL: list of two numbers", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,6\r\n\r\nhello", LENGTH),
    ("CL: comma behind", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\nhello", LENGTH),
    ("CL: empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", LENGTH),
    ("CL: white space", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t \r\n\r\n", LENGTH),
    ("CL: chunked", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: chunked\r\n\r\n", LENGTH),
    ("CL: Arabic digits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa5\r\n\r\nhello", LENGTH),
    ("CL: 2^64 + 5", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", LENGTH),
    ("CL: 2^64 - 1", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", LENGTH),
    ("CL: the longest", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999\r\n\r\n", length(999_999_999_999_999_999)),
    ("CL: one digit more", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0999999999999999999\r\n\r\n", LENGTH),
    ("CL: NUL behind", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\x00\r\n\r\nhello", VALUE),
    ("CL: space before the colon", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", NAME),
    ("CL: folded", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\nhello", NAME),
    ("CL twice, alike", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", LENGTHS),
    ("CL twice, differing", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", LENGTHS),
    ("CL twice, one empty", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\ncontent-length: 6\r\n\r\nhello", LENGTHS),

    // Lines and their ends.
    ("LF alone everywhere", b"GET / HTTP/1.1\nHost: a\n\n", BARE_LF),
    ("LF alone after the start line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", BARE_LF),
    ("LF alone after a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", BARE_LF),
    ("LF alone at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", BARE_LF),
    ("LF alone before it", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY_LINES),
    ("CR alone before it", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY_LINES),
    ("two empty lines before it", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY_LINES),
    ("an empty line and LF before it", b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EMPTY_LINES),
    ("CR alone after the start line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", LINE_END),
    ("CR alone in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", VALUE),
    ("CR CR LF after a value", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", VALUE),
    ("CR CR LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", LINE_END),
    ("CR and something at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\rZGET /evil: HTTP/1.1\r\nHost: a\r\n\r\n", LINE_END),
    ("a folded field", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", NAME),
    ("a fold after the start line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", NAME),
    ("a tab after the start line", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", NAME),
    ("a line of white space", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", NAME),

    // Field names.
    ("no name", b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", NAME),
    ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", NAME),
    ("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", NAME),
    ("a folded name", b"GET / HTTP/1.1\r\nHost\r\n : a\r\n\r\n", NAME),
    ("space in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", NAME),
    ("at sign in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX@: z\r\n\r\n", NAME),
    ("bracket in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX[]: z\r\n\r\n", NAME),
    ("obs-text in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n\r\n", NAME),
    ("DEL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\x7f: z\r\n\r\n", NAME),
    ("NUL in a name", b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: z\r\n\r\n", NAME),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", VALUE),
    ("DEL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", VALUE),
    ("escape in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", VALUE),
    ("backspace in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x08\r\n\r\n", VALUE),

    // Start lines.
    ("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("two spaces before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a tab before the target", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a tab before the version", b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a space behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", LINE_END),
    ("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("no version (HTTP/0.9)", b"GET /\r\n\r\n", START_LINE),
    ("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a method that is no token", b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a method with a colon", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a method with NUL", b"GET\x00 / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a method with obs-text", b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("LF between the words", b"GET /\nHTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("another request in the target", b"GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", LINE_END),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", LINE_END),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/1,1", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/1", b"GET / HTTP/1\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", VERSION),
    ("HTTP/ 1.1", b"GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", VERSION),
    ("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("xHTTP/1.1", b"GET / xHTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("RTSP/1.0", b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", START_LINE),
    ("HTTPS/1.1", b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", START_LINE),

    // Targets.
    ("NUL in the target", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a control byte in the target", b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("CR in the target", b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("UTF-8 in the target", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("a lone high byte in the target", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", START_LINE),
    ("a fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("a backslash", b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("a backslash in the query", b"GET /a?\\ HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("quotes", b"GET /\"a\" HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("markup", b"GET /?<script> HTTP/1.1\r\nHost: a\r\n\r\n", TARGET_BYTE),
    ("a relative target", b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    ("a query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    ("an authority with GET", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    ("* with GET", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refused("target * with a method other than OPTIONS")),
    ("* with OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("* with a path", b"OPTIONS */a HTTP/1.1\r\nHost: a\r\n\r\n", TARGET),
    ("two slashes are a path", b"GET //evil/a HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("brackets and bars as browsers send them", b"GET /a[0]?b={c|d}^` HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("absolute form", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
    ("absolute form in capitals", b"GET HTTP://b/ HTTP/1.1\r\nHost: b\r\n\r\n", NONE),
    ("absolute form in HTTP/1.0", b"GET http://b/ HTTP/1.0\r\n\r\n", NONE),
    ("absolute form without Host", b"GET http://b/ HTTP/1.1\r\n\r\n", Refused("no Host")),
    ("absolute form, userinfo", b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, userinfo with a colon", b"GET http://a:80@b/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, nobody", b"GET http:///a HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, no slashes", b"GET http:b/a HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("absolute form, one slash", b"GET http:/b/a HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("absolute form, nothing but the scheme", b"GET http:// HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("absolute form, a query at once", b"GET http://b?x HTTP/1.1\r\nHost: b\r\n\r\n", NONE),
    ("absolute form, a port of letters", b"GET http://b:http/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, a port too large", b"GET http://b:65536/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, a port with a sign", b"GET http://b:+80/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, an escaped host", b"GET http://%62/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, an open bracket", b"GET http://[::1/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, something behind the bracket", b"GET http://[::1]b/ HTTP/1.1\r\nHost: b\r\n\r\n", AUTHORITY),
    ("absolute form, another scheme", b"GET ftp://b/ HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("absolute form, a scheme that begins alike", b"GET httpx://b/ HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("absolute form, markup for a scheme", b"GET javascript:alert(1) HTTP/1.1\r\nHost: b\r\n\r\n", TARGET),
    ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", NONE),
    ("CONNECT to IPv6", b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", NONE),
    ("CONNECT without a port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to IPv6 without a port", b"CONNECT [::1] HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT with an empty port", b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to port 0", b"CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to port 65536", b"CONNECT a:65536 HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to nobody", b"CONNECT :443 HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to a path", b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to a URL", b"CONNECT http://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to a host with a path", b"CONNECT a:443/x HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT with userinfo", b"CONNECT u@a:443 HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT to *", b"CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n", CONNECT),
    ("CONNECT with a length", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", NO_BODY),
    ("CONNECT with chunks", b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", NO_BODY),
    ("TRACE with a length", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", NO_BODY),
    ("TRACE with a length of zero", b"TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", NONE),

    // Hosts.
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", Refused("no Host")),
    ("Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused("more than one Host")),
    ("Host twice, alike", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Refused("more than one Host")),
    ("Host twice in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refused("more than one Host")),
    ("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", NONE),
    ("a list of hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HOST),
    ("two hosts with a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HOST),
    ("a Host with userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HOST),
    ("a Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HOST),
    ("a Host with a query", b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", HOST),
    ("a Host with a scheme", b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", HOST),
    ("a Host with two ports", b"GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", HOST),
    ("a Host with a port of letters", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", HOST),
    ("a Host of a port alone", b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", HOST),
    ("a Host with empty labels", b"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", HOST),
    ("a Host with two dots behind", b"GET / HTTP/1.1\r\nHost: a..\r\n\r\n", HOST),
    ("a Host with an escape", b"GET / HTTP/1.1\r\nHost: a%00\r\n\r\n", HOST),
    ("a Host with a backslash", b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", HOST),
    ("a Host with a quote", b"GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n", HOST),
    ("a Host with obs-text", b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", HOST),
    ("a Host with a zone", b"GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", HOST),
    ("a Host with bare IPv6", b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", HOST),
    ("a Host with a port", b"GET / HTTP/1.1\r\nHost: a.example.:8080\r\n\r\n", NONE),
    ("a Host with an underscore", b"GET / HTTP/1.1\r\nHost: my_app\r\n\r\n", NONE),
];

const STATUS_LINE: Verdict = Refused("invalid status line");
const STATUS: Verdict = Refused("status outside 100 to 599");
const BODILESS: Verdict = Refused("a body announced where none can be");
const CLOSE: Verdict = Read(Framing::UntilClose);

#[rustfmt::skip]
const RESPONSES: &[(&str, Asked, &[u8], Verdict)] = &[
    ("a length", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", length(5)),
    ("a length of zero", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", NONE),
    ("chunks", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED),
    ("until the end", Asked::Other, b"HTTP/1.1 200 OK\r\n\r\n", CLOSE),
    ("until the end, HTTP/1.0", Asked::Other, b"HTTP/1.0 200 OK\r\n\r\n", CLOSE),
    ("no reason", Asked::Other, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", NONE),
    ("no reason and no space", Asked::Other, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", NONE),
    ("obs-text in the reason", Asked::Other, b"HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 0\r\n\r\n", NONE),
    ("101", Asked::Other, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", NONE),
    ("103", Asked::Other, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", NONE),
    ("304 with a length", Asked::Other, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", NONE),
    ("205 with a body", Asked::Other, b"HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello", length(5)),

    ("a length in answer to HEAD", Asked::Head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", NONE),
    ("chunks in answer to HEAD", Asked::Head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NONE),
    ("nothing in answer to HEAD", Asked::Head, b"HTTP/1.1 200 OK\r\n\r\n", NONE),
    ("both in answer to HEAD", Asked::Head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", BOTH),
    ("a tunnel", Asked::Connect, b"HTTP/1.1 200 OK\r\n\r\n", NONE),
    ("a tunnel with a length", Asked::Connect, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", NONE),
    ("a tunnel with chunks", Asked::Connect, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NONE),
    ("no tunnel", Asked::Connect, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello", length(5)),

    ("CL and TE", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BOTH),
    ("two lengths, differing", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", LENGTHS),
    ("two lengths, alike", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", LENGTHS),
    ("a list of lengths", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", LENGTH),
    ("a length with a sign", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", LENGTH),
    ("an empty length", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", LENGTH),
    ("an empty length in answer to HEAD", Asked::Head, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", LENGTH),
    ("TE in HTTP/1.0", Asked::Other, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Refused("Transfer-Encoding in HTTP/1.0")),
    ("TE: chunked, identity", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n", CODING),
    ("TE: gzip", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", UNKNOWN_CODING),
    ("TE: xchunked", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", CODING),
    ("TE twice", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", CODINGS),
    ("TE: space before the colon", Asked::Other, b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n", NAME),
    ("204 with a length", Asked::Other, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", BODILESS),
    ("204 with chunks", Asked::Other, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BODILESS),
    ("204 with a length of zero", Asked::Other, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", NONE),
    ("100 with a length", Asked::Other, b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", BODILESS),
    ("101 with chunks", Asked::Other, b"HTTP/1.1 101 Switching Protocols\r\nTransfer-Encoding: chunked\r\n\r\n", BODILESS),
    ("103 with a length, to HEAD", Asked::Head, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", BODILESS),

    ("an empty line before it", Asked::Other, b"\r\nHTTP/1.1 200 OK\r\n\r\n", Refused("empty line before the response")),
    ("LF before it", Asked::Other, b"\nHTTP/1.1 200 OK\r\n\r\n", Refused("empty line before the response")),
    ("LF alone after the status line", Asked::Other, b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", BARE_LF),
    ("LF alone after a bare status", Asked::Other, b"HTTP/1.1 200\nContent-Length: 0\r\n\r\n", BARE_LF),
    ("LF alone after a field", Asked::Other, b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n", BARE_LF),
    ("LF alone at the end", Asked::Other, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", BARE_LF),
    ("CR in a value", Asked::Other, b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", VALUE),
    ("CR in the reason", Asked::Other, b"HTTP/1.1 200 O\rK\r\n\r\n", STATUS_LINE),
    ("NUL in the reason", Asked::Other, b"HTTP/1.1 200 O\x00K\r\n\r\n", STATUS_LINE),
    ("DEL in the reason", Asked::Other, b"HTTP/1.1 200 O\x7fK\r\n\r\n", STATUS_LINE),
    ("a folded field", Asked::Other, b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", NAME),
    ("a field after a space", Asked::Other, b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n", NAME),
    ("99", Asked::Other, b"HTTP/1.1 99 X\r\n\r\n", STATUS_LINE),
    ("099", Asked::Other, b"HTTP/1.1 099 X\r\n\r\n", STATUS),
    ("000", Asked::Other, b"HTTP/1.1 000 X\r\n\r\n", STATUS),
    ("600", Asked::Other, b"HTTP/1.1 600 X\r\n\r\n", STATUS),
    ("999", Asked::Other, b"HTTP/1.1 999 X\r\n\r\n", STATUS),
    ("2000", Asked::Other, b"HTTP/1.1 2000 X\r\n\r\n", STATUS_LINE),
    ("+200", Asked::Other, b"HTTP/1.1 +200 X\r\n\r\n", STATUS_LINE),
    ("2 0", Asked::Other, b"HTTP/1.1 2 0 X\r\n\r\n", STATUS_LINE),
    ("no status", Asked::Other, b"HTTP/1.1 OK\r\n\r\n", STATUS_LINE),
    ("two spaces before the status", Asked::Other, b"HTTP/1.1  200 OK\r\n\r\n", STATUS_LINE),
    ("a tab before the status", Asked::Other, b"HTTP/1.1\t200 OK\r\n\r\n", VERSION),
    ("a tab behind the status", Asked::Other, b"HTTP/1.1 200\tOK\r\n\r\n", STATUS_LINE),
    ("HTTP/1.2", Asked::Other, b"HTTP/1.2 200 OK\r\n\r\n", VERSION),
    ("HTTP/2.0", Asked::Other, b"HTTP/2.0 200 OK\r\n\r\n", VERSION),
    ("http/1.1", Asked::Other, b"http/1.1 200 OK\r\n\r\n", VERSION),
    ("ICY", Asked::Other, b"ICY 200 OK\r\n\r\n", VERSION),
    ("no status line (HTTP/0.9)", Asked::Other, b"<html></html>\r\n\r\n", VERSION),
];

const SIZE: &str = "invalid chunk size";
const CHUNK_LINE: &str = "invalid line end in a chunked body";
const EXTENSION: &str = "invalid chunk extension";

/// A chunked body, and its content, or why it is refused, or nothing if more is needed.
type ChunkedRow = (&'static str, &'static [u8], Result<Option<&'static str>, &'static str>);

#[rustfmt::skip]
const CHUNKED_BODIES: &[ChunkedRow] = &[
    ("plain", b"5\r\nhello\r\n0\r\n\r\n", Ok(Some("hello"))),
    ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", Ok(Some("hello world"))),
    ("nothing", b"0\r\n\r\n", Ok(Some(""))),
    ("digits in any letter case", b"A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n", Ok(Some("01234567890123456789a"))),
    ("zeros before the size", b"005\r\nhello\r\n000\r\n\r\n", Ok(Some("hello"))),
    ("an extension", b"5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", Ok(Some("hello"))),
    ("a trailer", b"0\r\nX-Sum: 1\r\n\r\n", Ok(Some(""))),
    ("more behind", b"0\r\n\r\nGET / HTTP/1.1\r\n", Ok(Some(""))),
    ("cut in the size", b"5", Ok(None)),
    ("cut in the content", b"5\r\nhel", Ok(None)),
    ("cut after the content", b"5\r\nhello", Ok(None)),
    ("cut before the last line", b"0\r\n", Ok(None)),
    ("cut in a trailer", b"0\r\nX: y\r\n", Ok(None)),
    ("CRLF in the content is content", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", Ok(Some("\r\n\r\n"))),

    ("0x5", b"0x5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("space before the size", b" 5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("space behind the size", b"5 \r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("tab behind the size", b"5\t\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("space before the extension", b"5 ;a\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("minus", b"-5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("minus one", b"-1\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("plus", b"+5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("underscore before", b"_5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("underscore inside", b"0_5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("h behind", b"5h\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("a comma", b"5,5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("a dot", b"5.0\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("quotes", b"\"5\"\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("no size", b"\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("no size but an extension", b";a\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("NUL in the size", b"5\x00\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("obs-text in the size", b"\xb5\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("2^64 + 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("2^64 - 1", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("2^60", b"1000000000000000\r\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("2^60 - 1, never to come", b"fffffffffffffff\r\nhello\r\n0\r\n\r\n", Ok(None)),
    ("endless zeros", b"0000000000000000000005\r\nhello\r\n0\r\n\r\n", Err(SIZE)),

    ("LF alone after the size", b"5\nhello\r\n0\r\n\r\n", Err(SIZE)),
    ("CR alone after the size", b"5\rhello\r\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("CR CR LF after the size", b"5\r\r\nhello\r\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("LF in the extension", b"5;\nhello\r\n0\r\n\r\n", Err(EXTENSION)),
    ("LF behind an extension", b"5;a\nhello\r\n0\r\n\r\n", Err(EXTENSION)),
    ("LF in a quoted extension", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", Err(EXTENSION)),
    ("CR in the extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("CRLF in a quoted extension ends the line", b"5;a=\"\r\nhello\r\n0\r\n\r\n", Ok(Some("hello"))),
    ("NUL in the extension", b"5;\x00\r\nhello\r\n0\r\n\r\n", Err(EXTENSION)),
    ("DEL in the extension", b"5;\x7f\r\nhello\r\n0\r\n\r\n", Err(EXTENSION)),
    ("no line end after the content", b"5\r\nhello0\r\n\r\n", Err(CHUNK_LINE)),
    ("LF alone after the content", b"5\r\nhello\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("CR alone after the content", b"5\r\nhello\r0\r\n\r\n", Err(CHUNK_LINE)),
    ("a byte and LF after the content", b"5\r\nhelloX\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("CR and a byte after the content", b"5\r\nhello\rX0\r\n\r\n", Err(CHUNK_LINE)),
    ("LF CR after the content", b"5\r\nhello\n\r0\r\n\r\n", Err(CHUNK_LINE)),
    ("two bytes of anything after the content", b"5\r\nhelloXX0\r\n\r\n", Err(CHUNK_LINE)),
    ("content longer than said", b"4\r\nhello\r\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("content shorter than said", b"6\r\nhello\r\n0\r\n\r\n", Err(CHUNK_LINE)),
    ("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n", Err(SIZE)),
    ("LF alone after the last size", b"0\n\r\n", Err(SIZE)),
    ("LF alone at the end", b"0\r\n\n", Err("bare LF in the head")),
    ("CR and something at the end", b"0\r\n\rX", Err("invalid line end")),
    ("another request for a trailer", b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Err("invalid field name")),
    ("a trailer with LF alone", b"0\r\nX: y\nZ: z\r\n\r\n", Err("bare LF in the head")),
    ("a trailer with CR", b"0\r\nX: a\rb\r\n\r\n", Err("invalid field value")),
    ("a trailer with a space before the colon", b"0\r\nX : y\r\n\r\n", Err("invalid field name")),
    ("a folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", Err("invalid field name")),
    ("a trailer without a name", b"0\r\n: y\r\n\r\n", Err("invalid field name")),
];

#[test]
fn requests() {
    for (name, bytes, verdict) in REQUESTS {
        let mut head = Head::default();
        let outcome = h1::request(bytes, &Limits::default(), &mut head);
        judge(name, *verdict, outcome, &head);
        invariants::request(bytes);
    }
}

#[test]
fn responses() {
    for (name, asked, bytes, verdict) in RESPONSES {
        let mut head = Head::default();
        let outcome = h1::response(bytes, *asked, &Limits::default(), &mut head);
        judge(name, *verdict, outcome, &head);
        invariants::response(bytes);
    }
}

#[test]
fn chunked_bodies() {
    for (name, bytes, verdict) in CHUNKED_BODIES {
        for pieces in [&[][..], &[1], &[2], &[3, 1], &[7]] {
            let decoded = invariants::decode(bytes, pieces);
            let content =
                decoded.map(|decoded| decoded.map(|decoded| String::from_utf8_lossy(&decoded.content).into_owned()));
            let expected = verdict.map(|content| content.map(str::to_owned));
            assert_eq!(content.map_err(Reject::reason), expected, "{name}, in pieces of {pieces:?}");
        }
        invariants::chunked_body(&[&[0x3d], *bytes].concat());
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = REQUESTS.iter().map(|row| row.0).collect();
    names.sort_unstable();
    assert_eq!(names.windows(2).find(|pair| pair[0] == pair[1]), None);
}

// The places where the tokenizer accepts more than we do, by their numbers in `h1/judge.rs`. Each shows first that it
// still does; when it no longer does, its line there can go.

#[test]
fn place_1_bare_lf() {
    for text in ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\n"] {
        assert!(tokenizer_takes_request(text.as_bytes()));
        assert_eq!(read(text.as_bytes()), Err("bare LF in the head"), "{text:?}");
    }
    // It is refused as soon as it is seen, not when the head ends.
    assert_eq!(read(b"GET / HTTP/1.1\nHo"), Err("bare LF in the head"));
}

#[test]
fn place_2_leading_empty_lines() {
    for text in ["\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        assert!(tokenizer_takes_request(text.as_bytes()));
        assert_eq!(read(text.as_bytes()), Err("empty lines before the request"), "{text:?}");
    }
    assert!(tokenizer_takes_response(b"\r\nHTTP/1.1 200 OK\r\n\r\n"));
}

#[test]
fn place_3_target_bytes() {
    for target in ["/\u{e9}", "/#", "/\\", "/\"", "/<", "/>"] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(tokenizer_takes_request(text.as_bytes()));
        assert_eq!(read(text.as_bytes()), Err("invalid byte in the request target"), "{target}");
    }
}

#[test]
fn place_4_framing_fields() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: five",
        "Transfer-Encoding: chunked, identity",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert!(tokenizer_takes_request(text.as_bytes()));
        assert!(read(text.as_bytes()).is_err(), "{fields}");
    }
}

#[test]
fn place_5_methods_and_targets() {
    for start in ["GET *", "GET a:80", "CONNECT /", "OPTIONS *x", "GET index.html", "GET ftp://a/"] {
        let text = format!("{start} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(tokenizer_takes_request(text.as_bytes()));
        assert!(read(text.as_bytes()).is_err(), "{start}");
    }
}

#[test]
fn place_6_statuses() {
    for status in 0..1000 {
        let text = format!("HTTP/1.1 {status:03} X\r\n\r\n");
        assert!(tokenizer_takes_response(text.as_bytes()));
        let outcome = h1::response(text.as_bytes(), Asked::Other, &Limits::default(), &mut Head::default());
        assert_eq!(outcome.is_ok(), (100..600).contains(&status), "{status}");
    }
}

#[test]
fn place_7_limits() {
    let limits = Limits { head: 200, line: 60, fields: 4 };
    let read = |text: &str| {
        let outcome = h1::request(text.as_bytes(), &limits, &mut Head::default());
        // Neither may an incomplete message be refused that would be accepted, nor waited for when it is hopeless.
        for length in 0..text.len() {
            let prefix = h1::request(&text.as_bytes()[..length], &limits, &mut Head::default());
            assert!(prefix == Ok(Progress::Partial) || outcome.is_err(), "{prefix:?} at {length} of {text:?}");
        }
        outcome
    };
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 14));
    assert_eq!(line(60).find('\r'), Some(60));
    assert!(tokenizer_takes_request(line(61).as_bytes()));
    assert!(read(&line(60)).is_ok());
    assert_eq!(read(&line(61)), Err(Reject::LineTooLong));
    assert_eq!(read(&line(61)[..61]), Err(Reject::LineTooLong));
    assert_eq!(read(&line(61)[..60]), Ok(Progress::Partial));

    let head = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length - 32));
    assert_eq!(head(200).len(), 200);
    assert!(read(&head(200)).is_ok());
    assert_eq!(read(&head(201)), Err(Reject::HeadTooLarge));
    assert_eq!(read(&head(201)[..200]), Err(Reject::HeadTooLarge));
    assert_eq!(read(&head(201)[..199]), Ok(Progress::Partial));
    assert!(read(&format!("\r\n{}", head(200))).is_ok());

    let fields = |number: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(number - 1));
    assert!(read(&fields(4)).is_ok());
    assert_eq!(read(&fields(5)), Err(Reject::TooManyFields));

    let status = |length: usize| format!("HTTP/1.1 200 {}\r\n\r\n", "\u{e9}".repeat((length - 13) / 2));
    let respond = |text: &str| h1::response(text.as_bytes(), Asked::Other, &limits, &mut Head::default());
    assert!(respond(&status(59)).is_ok());
    assert_eq!(respond(&status(61)), Err(Reject::LineTooLong));
}

#[test]
fn place_8_reasons() {
    let text = b"HTTP/1.1 404 \xe9t\xe9 <b>\r\nContent-Length: 0\r\n\r\n";
    assert!(tokenizer_takes_response(text));
    let mut head = Head::default();
    assert!(h1::response(text, Asked::Other, &Limits::default(), &mut head).is_ok());
    let mut out = Vec::new();
    h1::response_head(&head, &mut out);
    assert_eq!(out, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn every_byte_is_judged_wherever_it_stands() {
    // The tokenizer looks at sixteen or thirty-two bytes at a time: the byte walks through all lanes, and past them.
    for byte in 0..=255_u8 {
        for place in 0..70 {
            let filler = "x".repeat(place);
            let around = |before: &str, after: &str| {
                [before.as_bytes(), filler.as_bytes(), &[byte], b"y".repeat(35).as_slice(), after.as_bytes()].concat()
            };
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let name = around("GET / HTTP/1.1\r\nHost: a\r\nX", ": z\r\n\r\n");
            // A colon ends the name, and what follows it is value.
            assert_eq!(read(&name).is_ok(), token || byte == b':', "name: {}", name.escape_ascii());
            let text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let value = around("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
            assert_eq!(read(&value).is_ok(), text, "value: {}", value.escape_ascii());
            let target = around("GET /", " HTTP/1.1\r\nHost: a\r\n\r\n");
            let graphic = byte.is_ascii_graphic() && !b"\"#<>\\".contains(&byte);
            assert_eq!(read(&target).is_ok(), graphic, "target: {}", target.escape_ascii());
            let method = around("", " / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(read(&method).is_ok(), token, "method: {}", method.escape_ascii());
        }
    }
}

#[test]
fn the_target_decides_the_host() {
    let mut head = Head::default();
    let text = b"GET https://b:8443?x HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n";
    assert!(h1::request(text, &Limits::default(), &mut head).is_ok());
    assert_eq!(
        (head.scheme(), head.authority(), head.path(), head.query()),
        (Scheme::Https, &b"b:8443"[..], &b"/"[..], Some(&b"x"[..]))
    );
    let mut out = Vec::new();
    h1::request_head(&head, &mut out);
    assert_eq!(out, b"GET /?x HTTP/1.1\r\nX: y\r\nHost: b:8443\r\n\r\n");

    assert!(h1::request(b"GET http://b HTTP/1.0\r\n\r\n", &Limits::default(), &mut head).is_ok());
    out.clear();
    h1::request_head(&head, &mut out);
    assert_eq!(out, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n");

    assert!(h1::request(b"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", &Limits::default(), &mut head).is_ok());
    out.clear();
    h1::request_head(&head, &mut out);
    assert_eq!(out, b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n");

    assert!(h1::request(b"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", &Limits::default(), &mut head).is_ok());
    assert_eq!(head.path(), b"*");
}

#[test]
fn lengths_are_passed_on_without_padding() {
    for (sent, passed) in [("007", "7"), ("000", "0"), ("10", "10")] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {sent}\r\n\r\n");
        let mut head = Head::default();
        assert!(h1::request(text.as_bytes(), &Limits::default(), &mut head).is_ok());
        let mut out = Vec::new();
        h1::request_head(&head, &mut out);
        let expected = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {passed}\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

#[test]
fn what_frames_or_routes_cannot_be_made_hop_by_hop() {
    let strip = |connection: &str| {
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\nX: y\r\nCookie: c\r\nContent-Length: 1\r\n\r\n"
        );
        let mut head = Head::default();
        assert!(h1::request(text.as_bytes(), &Limits::default(), &mut head).is_ok(), "{text}");
        hop::strip(&mut head).map(|()| head.fields().map(|field| field.name.to_vec()).collect::<Vec<_>>())
    };
    for named in ["Host", "close, content-length", "keep-alive,Transfer-Encoding", ",,cookie"] {
        assert_eq!(strip(named), Err(hop::Forbidden), "{named}");
    }
    let many: Vec<String> = (0..1000).map(|number| format!("x{number}")).collect();
    assert_eq!(strip(&many.join(",")), Err(hop::Forbidden));
    assert_eq!(strip("close, x"), Ok(vec![b"Host".to_vec(), b"Cookie".to_vec(), b"Content-Length".to_vec()]));
    assert_eq!(strip("X-Forwarded-For").map(|names| names.len()), Ok(4));
}

#[test]
fn bodiless_answers_leave_no_length_behind() {
    for (asked, text) in [
        (Asked::Other, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (Asked::Connect, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (Asked::Connect, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        let mut head = Head::default();
        assert!(h1::response(text.as_bytes(), asked, &Limits::default(), &mut head).is_ok());
        assert!(head.is_empty(), "{text}");
    }
}

#[test]
fn a_change_of_framing_takes_the_old_fields_along() {
    let mut head = Head::default();
    let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert!(h1::response(text, Asked::Other, &Limits::default(), &mut head).is_ok());
    for (framing, written) in [
        (Framing::Length(5), "Content-Length: 5\r\n"),
        (Framing::Unknown, "Transfer-Encoding: chunked\r\n"),
        (Framing::Length(7), "Content-Length: 7\r\n"),
        (Framing::UntilClose, ""),
    ] {
        head.set_framing(framing);
        let mut out = Vec::new();
        h1::response_head(&head, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("HTTP/1.1 200 OK\r\n{written}\r\n"));
    }
}

#[test]
fn framing_that_carries_nothing_is_bounded() {
    let padded = |extension: usize, content: usize| {
        format!("{content:x};{}\r\n{}\r\n", "e".repeat(extension), "c".repeat(content))
    };
    let body = |chunk: String, number: usize| chunk.repeat(number) + "0\r\n\r\n";
    assert!(invariants::decode(body(padded(100, 1), 1000).as_bytes(), &[]).is_err());
    assert!(invariants::decode(body(padded(20_000, 1), 1).as_bytes(), &[]).is_err());
    // One byte at a time is slow, but it is how some programs speak.
    assert!(invariants::decode(body("1\r\nx\r\n".to_owned(), 100_000).as_bytes(), &[]).is_ok());
    assert!(invariants::decode(body(padded(10, 1000), 1000).as_bytes(), &[]).is_ok());
}

#[test]
fn forbidden_trailers_are_dropped() {
    let body = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\ntransfer-encoding: chunked\r\nX_Forwarded_For: 1\r\nTransfer_Encoding: x\r\nVia: x\r\n\r\n";
    let trailers = invariants::decode(body, &[]).map(|decoded| decoded.map(|decoded| decoded.trailers));
    assert_eq!(trailers, Ok(Some(vec![("x-sum".to_owned(), b"1".to_vec())])));
}

fn judge(name: &str, verdict: Verdict, outcome: Result<Progress, Reject>, head: &Head) {
    match (verdict, outcome) {
        (Refused(reason), Err(reject)) => assert_eq!(reject.reason(), reason, "{name}"),
        (Refused(reason), other) => panic!("{name}: {other:?} instead of a refusal for: {reason}"),
        (Read(framing), Ok(Progress::Complete(_))) => assert_eq!(head.framing(), framing, "{name}"),
        (Read(_), other) => panic!("{name}: {other:?} instead of being read"),
    }
}

fn read(bytes: &[u8]) -> Result<Progress, &'static str> {
    h1::request(bytes, &Limits::default(), &mut Head::default()).map_err(Reject::reason)
}

fn tokenizer_takes_request(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    matches!(httparse::Request::new(&mut fields).parse(bytes), Ok(httparse::Status::Complete(_)))
}

fn tokenizer_takes_response(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    matches!(httparse::Response::new(&mut fields).parse(bytes), Ok(httparse::Status::Complete(_)))
}
