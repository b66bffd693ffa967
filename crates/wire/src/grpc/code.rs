//! How a call has ended.

use crate::head::Head;

/// The status of a call (`grpc-status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are the names that gRPC gives them")]
pub enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// Every code, by its number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name in configurations and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Code::Ok => "ok",
            Code::Cancelled => "cancelled",
            Code::Unknown => "unknown",
            Code::InvalidArgument => "invalid_argument",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::PermissionDenied => "permission_denied",
            Code::ResourceExhausted => "resource_exhausted",
            Code::FailedPrecondition => "failed_precondition",
            Code::Aborted => "aborted",
            Code::OutOfRange => "out_of_range",
            Code::Unimplemented => "unimplemented",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::DataLoss => "data_loss",
            Code::Unauthenticated => "unauthenticated",
        }
    }

    /// The code that a head or a trailer section says. One that nobody knows is `Unknown`, as it is to gRPC's own clients.
    pub fn said(head: &Head) -> Option<Code> {
        let text = head.value(b"grpc-status")?;
        let number: Option<usize> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        Some(number.and_then(|number| Code::ALL.get(number)).copied().unwrap_or(Code::Unknown))
    }

    /// What a client takes an HTTP status for that comes instead of a status of gRPC ("HTTP to gRPC status code mapping").
    pub const fn of_http(status: u16) -> Code {
        match status {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502..=504 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }

    /// The HTTP status that says the same to whoever judges servers by those: that of `google.rpc.Code`.
    pub const fn http(self) -> u16 {
        match self {
            Code::Ok => 200,
            Code::Cancelled => 499,
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::AlreadyExists | Code::Aborted => 409,
            Code::ResourceExhausted => 429,
            Code::Unknown | Code::Internal | Code::DataLoss => 500,
            Code::Unimplemented => 501,
            Code::Unavailable => 503,
            Code::DeadlineExceeded => 504,
        }
    }
}

/// A text as `grpc-message` holds it: everything but printable ASCII, and `%`, is escaped.
pub fn message(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_as_grpc_numbers_them() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), number);
        }
        assert_eq!(Code::Unauthenticated.number(), 16);
        assert_eq!(Code::Unavailable.number(), 14);
    }

    #[test]
    fn what_nobody_knows_is_unknown() {
        let mut head = Head::default();
        head.start_response(200);
        assert_eq!(Code::said(&head), None);
        for (said, code) in [("0", Code::Ok), ("14", Code::Unavailable), ("17", Code::Unknown), ("x", Code::Unknown)] {
            head.set(b"Grpc-Status", said.as_bytes());
            assert_eq!(Code::said(&head), Some(code), "{said}");
        }
    }

    #[test]
    fn a_message_is_printable() {
        assert_eq!(message("50% of é\n"), b"50%25 of %C3%A9%0A");
    }

    #[test]
    fn whose_fault_it_is_is_the_same_in_http() {
        for code in Code::ALL {
            let status = code.http();
            assert!((200..600).contains(&status));
            let is_server = matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            );
            assert_eq!(status >= 500, is_server, "{code:?}");
        }
        assert_eq!(Code::of_http(503), Code::Unavailable);
        assert_eq!(Code::of_http(418), Code::Unknown);
    }
}
