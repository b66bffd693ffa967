//! Blocks of fields, by our decoder and by `fluke-hpack`.

use fluke_hpack::decoder::DecoderError;
use tidegate_wire::h2::hpack::decode::{Decoder, Invalid, Keep};
use tidegate_wire::h2::hpack::encode;

use super::Draw;

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Bytes as blocks that a good encoder has written and a bad hand has changed here and there, then as blocks in themselves:
/// whatever we take, the other takes too, and understands the same.
pub(crate) fn blocks(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut encoder = fluke_hpack::Encoder::new();
    let (mut ours, mut theirs) = (Decoder::new(4096), fluke_hpack::Decoder::new());
    theirs.set_max_allowed_table_size(4096);
    while !draw.is_over() {
        let block = match draw.byte() % 4 {
            0 => {
                let length = draw.below(200).min(draw.0.len());
                let (block, rest) = draw.0.split_at(length);
                draw.0 = rest;
                block.to_vec()
            }
            what => {
                let lines = lines(&mut draw);
                if draw.byte().is_multiple_of(8) {
                    encoder.set_max_table_size([0, 64, 300, 4096][draw.below(4)]);
                }
                let mut block = encoder.encode(lines.iter().map(|(name, value)| (&name[..], &value[..])));
                if draw.byte().is_multiple_of(8) {
                    // Changes of size that the encoder knows nothing of: to all that is allowed, and to more.
                    let change = [&[0x3f, 0xe1, 0x1f][..], &[0x3f, 0xe2, 0x1f]][draw.below(2)];
                    block.splice(..0, change.iter().copied());
                }
                if what == 3 && !block.is_empty() {
                    for _ in 0..1 + draw.byte() % 3 {
                        let at = draw.below(block.len());
                        block[at] ^= 1 << (draw.byte() % 8);
                    }
                }
                block
            }
        };
        // Stricter is no harm: a connection of ours ends here.
        let Ok(we) = read(&mut ours, &block) else { return };
        match theirs.decode(&block) {
            Ok(they) => assert_eq!(we, they, "{block:02x?}"),
            Err(they) => {
                assert!(is_excused(&they), "we take what they refuse: {they:?} {we:?} {block:02x?}");
                return;
            }
        }
    }
}

/// What `fluke-hpack` refuses and RFC 7541 does not.
fn is_excused(they: &DecoderError) -> bool {
    match they {
        // Section 4.2 wants a change of size at the beginning of a block. That fields follow it is not demanded.
        DecoderError::SizeUpdateAtEnd => true,
        _ => false,
    }
}

/// What we write, the other reads as what it was.
pub(crate) fn written(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let mut theirs = fluke_hpack::Decoder::new();
    while !draw.is_over() {
        let lines = lines(&mut draw);
        let mut block = Vec::new();
        for (name, value) in &lines {
            encode::field(name, value, draw.byte() & 1 == 0, &mut block);
        }
        assert_eq!(theirs.decode(&block), Ok(lines));
    }
}

fn lines(draw: &mut Draw<'_>) -> Lines {
    let names = [":path", ":status", "accept", "x-a", "cookie", "content-length", "x-long-name-of-our-own", "via"];
    (0..1 + draw.byte() % 8).map(|_| (names[draw.below(8)].into(), draw.value())).collect()
}

fn read(decoder: &mut Decoder, mut block: &[u8]) -> Result<Lines, Invalid> {
    let (mut lines, mut arena) = (Vec::new(), Vec::new());
    decoder.begin(&mut block)?;
    while let Some(line) = decoder.next(&mut block, Keep::Line, &mut arena)? {
        let name = arena[line.start..][..line.name].to_vec();
        lines.push((name, arena[line.start + line.name + 2..][..line.value].to_vec()));
    }
    Ok(lines)
}
