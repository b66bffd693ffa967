//! Slow start: the part of its weight that a server gets while it warms up (sans-IO).
//!
//! It grows in a straight line from a tenth to the whole, as with Envoy's defaults (`min_weight_percent: 10`, aggression 1) and
//! much as with HAProxy's `slowstart`.

use std::time::Duration;

use crate::pool::WHOLE;

/// The part of its weight that a server gets so long after it has come back, in [`WHOLE`]s.
pub fn ramp(elapsed: Duration, window: Duration) -> u32 {
    if elapsed >= window {
        return WHOLE;
    }
    let grown = f64::from(WHOLE - LEAST) * elapsed.as_secs_f64() / window.as_secs_f64();
    LEAST + grown as u32
}

/// What it begins with: less would keep slow ones from ever being tried.
const LEAST: u32 = WHOLE / 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_grows_from_a_tenth_to_the_whole() {
        let second = Duration::from_secs;
        assert_eq!(ramp(second(0), second(10)), WHOLE / 10);
        assert_eq!(ramp(second(5), second(10)), LEAST + (WHOLE - LEAST) / 2);
        assert_eq!(ramp(second(10), second(10)), WHOLE);
        assert_eq!(ramp(second(0), second(0)), WHOLE);
    }

    proptest! {
        #[test]
        fn it_never_falls(one in 0_u64..20_000, more in 0_u64..20_000, window in 1_u64..10_000) {
            let millis = Duration::from_millis;
            let (early, late) = (ramp(millis(one), millis(window)), ramp(millis(one + more), millis(window)));
            prop_assert!(LEAST <= early && early <= late && late <= WHOLE);
        }
    }
}
