//! The examples of RFC 7541, appendix C, byte by byte.

use tidegate_wire::h2::hpack::decode::{Decoder, Keep};
use tidegate_wire::h2::hpack::encode;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("a byte")).collect()
}

/// Decodes a block; answers its lines, and those that are secret with an exclamation mark.
fn decoded(decoder: &mut Decoder, hex: &str) -> Vec<String> {
    let block = bytes(hex);
    let mut block = &block[..];
    let mut arena = Vec::new();
    decoder.begin(&mut block).expect("a block");
    let mut lines = Vec::new();
    while let Some(line) = decoder.next(&mut block, Keep::Line, &mut arena).expect("a field") {
        let text = &arena[line.start..line.start + line.name + 2 + line.value];
        let secret = if line.secret { "!" } else { "" };
        lines.push(format!("{}{secret}", String::from_utf8_lossy(text)));
    }
    lines
}

#[test]
fn literals_and_indices() {
    for (hex, line, entries) in [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header", 1),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret!", 0),
        ("82", ":method: GET", 0),
    ] {
        let mut decoder = Decoder::new(4096);
        assert_eq!(decoded(&mut decoder, hex), [line]);
        assert_eq!(decoder.table().len(), entries);
    }
}

#[test]
fn requests_with_and_without_the_huffman_code() {
    let rows = [
        (
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"][..],
            57,
        ),
        (
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8286 84be 5886 a8eb 1064 9cbf",
            &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
            110,
        ),
        (
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            &[
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value",
            ],
            164,
        ),
    ];
    let (mut plain, mut coded) = (Decoder::new(4096), Decoder::new(4096));
    for (without, with, lines, size) in rows {
        assert_eq!(decoded(&mut plain, without), lines);
        assert_eq!(decoded(&mut coded, with), lines);
        assert_eq!((plain.table().size(), coded.table().size()), (size, size));
    }
}

#[test]
fn responses_that_evict() {
    let rows = [
        (
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
             63c7 8f0b 97c8 e9ae 82ae 43d3",
            &[
                ":status: 302",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:21 GMT",
                "location: https://www.example.com",
            ][..],
            222,
        ),
        (
            "4883 640e ffc1 c0bf",
            &[
                ":status: 307",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:21 GMT",
                "location: https://www.example.com",
            ],
            222,
        ),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 \
             b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            &[
                ":status: 200",
                "cache-control: private",
                "date: Mon, 21 Oct 2013 20:13:22 GMT",
                "location: https://www.example.com",
                "content-encoding: gzip",
                "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ],
            215,
        ),
    ];
    let mut decoder = Decoder::new(256);
    for (hex, lines, size) in rows {
        assert_eq!(decoded(&mut decoder, hex), lines);
        assert_eq!(decoder.table().size(), size);
    }
}

#[test]
fn what_we_write_needs_no_table() {
    let mut out = Vec::new();
    encode::field(b"Cache-Control", b"no-cache", false, &mut out);
    encode::field(b"X-Key", b"v", true, &mut out);
    encode::with_index(4, &[b'a'; 300], false, &mut out);
    let mut decoder = Decoder::new(4096);
    let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = format!(":path: {}", "a".repeat(300));
    assert_eq!(decoded(&mut decoder, &hex), ["cache-control: no-cache", "x-key: v!", &path]);
    assert!(decoder.table().is_empty());
}

/// What is not kept is learned all the same: a block that was refused in its middle leaves the table as the sender has it.
#[test]
fn the_table_learns_of_what_is_dropped() {
    let block = bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    let mut arena = Vec::new();
    let mut decoder = Decoder::new(4096);
    decoded(&mut decoder, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    decoded(&mut decoder, "8286 84be 5886 a8eb 1064 9cbf");
    let mut rest = &block[..];
    while decoder.next(&mut rest, Keep::Nothing, &mut arena).expect("a field").is_some() {
        assert!(arena.is_empty());
    }
    assert_eq!(decoded(&mut decoder, "be"), ["custom-key: custom-value"]);
}
