//! What HTTP/2 says, said again in HTTP/1.

use proptest::collection::vec;
use proptest::prelude::*;

use super::shared::{translated, web};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_request_that_is_accepted_is_one_request_in_http1(front in any::<u8>(), lines in vec((0..24_u8, "[ -~\r\n\t\u{80}]{0,12}|[0-9]{1,3}|chunked|/[ -~\r\n\t]{0,6}|[a-z.:@]{1,8}"), 0..6)) {
        let mut bytes = vec![front];
        for (what, text) in lines {
            bytes.push(what);
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
        translated::request(&bytes);
    }

    #[test]
    fn any_content_of_grpc_web_is_the_same_however_it_is_cut(bytes in vec(any::<u8>(), 0..80)) {
        web::transformed(&bytes);
    }

    #[test]
    fn any_text_of_grpc_web_is_what_another_reads(text in "[A-Za-c0-2+/=]{0,24}") {
        web::transformed(text.as_bytes());
    }
}
