//! Our codec and somebody else's, on the same bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::shared::peer::{blocks, faults, talk};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_conversation_with_the_other_codec_is_understood_by_both(acts in vec(any::<u8>(), 0..400)) {
        talk::conversation(&acts);
    }

    #[test]
    fn what_the_other_codec_refuses_is_refused(acts in vec(any::<u8>(), 0..200)) {
        faults::broken_frames(&acts);
    }

    #[test]
    fn blocks_mean_the_same_to_both_decoders(acts in vec(any::<u8>(), 0..400)) {
        blocks::blocks(&acts);
    }

    #[test]
    fn what_we_encode_the_other_decodes(acts in vec(any::<u8>(), 0..200)) {
        blocks::written(&acts);
    }
}
