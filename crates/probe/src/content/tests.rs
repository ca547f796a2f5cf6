use super::*;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use proptest::prelude::*;
use std::io::Write;

const TEXT: &[u8] = b"hello world, hello world, hello world";
/// The text, and 64 MiB of zeros, by brotli: there is only a decoder in the tree.
const BROTLI: &[u8] = &[
    0x1b, 0x24, 0x00, 0xf8, 0x8d, 0xd4, 0x4e, 0xf9, 0xc3, 0x50, 0x54, 0x65, 0x68, 0x0d, 0xc2, 0xc2, 0xf6, 0xa6, 0x66,
    0xa1, 0xa6, 0x1a, 0xc8, 0x80, 0x6a, 0x96, 0x00,
];
const BROTLI_ZEROS: &[u8] = &[
    0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f, 0xff, 0xff, 0x7f, 0xf0, 0x4f,
    0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0xff, 0xff, 0xff, 0xe0, 0x9f, 0x00, 0x88, 0xc3, 0x02, 0x00, 0xdd,
    0xfb, 0x3f, 0xfe, 0xff, 0xff, 0xc1, 0x3f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba, 0xf7, 0x7f, 0xfc, 0xff, 0xff, 0x83,
    0x7f, 0x02, 0x20, 0x0e, 0x0b, 0x00, 0x74, 0xef, 0xff, 0xf8, 0xff, 0xff, 0x07, 0xff, 0x04, 0x40, 0x1c, 0x16, 0x00,
    0xe8, 0xde, 0xff, 0xf1, 0xff, 0xff, 0x0f, 0xfe, 0x09, 0x80, 0x38, 0x2c, 0x00, 0xd0, 0xbd, 0xff, 0xe3, 0xff, 0xff,
    0x1f, 0xfc, 0x13, 0x00, 0x71, 0x58, 0x00, 0xa0, 0x7b, 0xff, 0x37,
];

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(vec![], Compression::default());
    e.write_all(text).unwrap();
    e.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut e = ZlibEncoder::new(vec![], Compression::default());
    e.write_all(text).unwrap();
    e.finish().unwrap()
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut e = DeflateEncoder::new(vec![], Compression::default());
    e.write_all(text).unwrap();
    e.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).unwrap()
}

/// The text that comes out, or the reason against it; the data is given in pieces of `step` bytes.
fn undo(coding: &str, data: &[u8], step: usize, limit: u64) -> Result<u64, Reason> {
    let mut headers = model::answer::Headers::default();
    headers.push("Content-Encoding", coding.as_bytes());
    let head = Head { status: 200, http: model::result::HttpVersion::V1_1, headers };
    let mut content = Content {
        stages: codings(&head).into_iter().map(Stage::of).collect(),
        sink: Sink { read: 0, limit, search: None, kept: None },
        begun: false,
    };
    for mut piece in data.chunks(step.max(1)) {
        let mut before = content.read();
        while content.work(&mut piece).map_err(|f| f.reason)? {
            assert!(content.read() - before <= PIECE as u64, "{coding}: so much in one turn");
            before = content.read();
        }
        assert!(piece.is_empty(), "{coding}: a part of a piece is left");
    }
    let read = content.read();
    content.end().map(|_| read).map_err(|f| f.reason)
}

fn check(coding: &str, data: &[u8], want: Result<u64, Reason>) {
    for step in [1, 2, 7, data.len().max(1)] {
        assert_eq!(undo(coding, data, step, 1 << 20), want, "{coding}, {} bytes in steps of {step}", data.len());
    }
}

#[test]
fn every_coding_is_undone_whatever_the_pieces() {
    let n = Ok(TEXT.len() as u64);
    check("gzip", &gzip(TEXT), n);
    check("X-GZIP", &gzip(TEXT), n);
    check("deflate", &zlib(TEXT), n);
    check("deflate", &raw(TEXT), n);
    check("zstd", &zstd(TEXT), n);
    check("br", BROTLI, n);
    check("identity", TEXT, n);
    check("gzip, zstd", &zstd(&gzip(TEXT)), n);
}

#[test]
fn what_is_not_known_passes_unchanged() {
    check("xxx", TEXT, Ok(TEXT.len() as u64));
    let z = gzip(TEXT);
    check("gzip, xxx", &z, Ok(z.len() as u64));
    check("xxx, gzip", &z, Ok(TEXT.len() as u64));
}

#[test]
fn an_empty_body_is_empty() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        check(coding, b"", Ok(0));
    }
}

#[test]
fn several_members_are_one_body_and_what_follows_the_end_is_nobodys() {
    check("gzip", &[gzip(TEXT), gzip(TEXT)].concat(), Ok(2 * TEXT.len() as u64));
    check("zstd", &[zstd(TEXT), zstd(TEXT)].concat(), Ok(2 * TEXT.len() as u64));
    check("gzip", &[gzip(TEXT), b"\0\0\0\0".to_vec()].concat(), Ok(TEXT.len() as u64));
}

#[test]
fn corrupt_data_and_an_early_end_are_bad_encoding() {
    let bad = Err(Reason::BadEncoding);
    for (coding, data) in [("gzip", gzip(TEXT)), ("deflate", zlib(TEXT)), ("deflate", raw(TEXT)), ("zstd", zstd(TEXT))]
    {
        check(coding, &data[..data.len() - 3], bad);
        check(coding, &data[..1], bad);
    }
    for coding in ["gzip", "zstd", "br"] {
        check(coding, b"\xff<html>plain text</html>", bad);
    }
    // Frames that are to be skipped, whole and cut; and what is nobody's though its first byte is of one.
    let skipped = [b"\x50\x2a\x4d\x18\x02\0\0\0ab".as_slice(), &zstd(TEXT)].concat();
    check("zstd", &[skipped.clone(), skipped].concat(), Ok(2 * TEXT.len() as u64));
    check("zstd", &[zstd(TEXT), b"\x50\x2a\x4d\x18\xff\0\0\0ab".to_vec()].concat(), bad);
    check("zstd", &[zstd(TEXT), b"Padding".to_vec()].concat(), Ok(TEXT.len() as u64));
    let mut wrong_sum = gzip(TEXT);
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    check("gzip", &wrong_sum, bad);
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for (coding, data) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("zstd", zstd(&zeros)),
        ("br", BROTLI_ZEROS.to_vec()),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        assert_eq!(undo(coding, &data, 4096, 1 << 20), Err(Reason::BodyTooLarge), "{coding}");
    }
}

#[test]
fn a_head_may_have_any_of_its_parts() {
    // The first bit says that it is text, and has no part.
    let [crc, extra_field, name, comment] = [2, 4, 8, 16];
    let z = gzip(TEXT);
    for flags in 0..32 {
        for extra in [&b""[..], b"xyz"] {
            let mut data = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
            let mut part = |flag, bytes: &[u8]| data.extend(if flags & flag == 0 { b"" } else { bytes });
            part(extra_field, &[&[extra.len() as u8, 0], extra].concat());
            part(name, b"name\0");
            part(comment, b"\0");
            part(crc, b"\x12\0");
            data.extend(raw(TEXT));
            data.extend(&z[z.len() - 8..]);
            check("gzip", &data, Ok(TEXT.len() as u64));
        }
    }
}

#[test]
fn a_head_that_goes_on_and_on_is_corrupt() {
    let head = |name: usize| [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3], &vec![b'x'; name][..], b"\0", &raw(TEXT)].concat();
    let z = gzip(TEXT);
    let long = [&head(65_000)[..], &z[z.len() - 8..]].concat();
    check("gzip", &[&long[..], &long[..]].concat(), Ok(2 * TEXT.len() as u64));
    check("gzip", &head(66_000), Err(Reason::BadEncoding));
    check("gzip", &[0x1f, 0x8b, 8, 32, 0, 0, 0, 0, 0, 3], Err(Reason::BadEncoding));
}

proptest! {
    #[test]
    fn any_text_comes_back(text in proptest::collection::vec(any::<u8>(), 1..5000), step in 1usize..600) {
        for (coding, data) in [("gzip", gzip(&text)), ("deflate", zlib(&text)), ("zstd", zstd(&text))] {
            prop_assert_eq!(undo(coding, &data, step, 1 << 20), Ok(text.len() as u64), "{}", coding);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..60, cut in any::<u16>()) {
        for coding in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
            let _ = undo(coding, &data, step, 1 << 20);
        }
        let mut z = gzip(TEXT);
        let at = usize::from(cut) % z.len();
        z[at] ^= 0x55;
        let _ = undo("gzip", &z, step, 1 << 20);
    }
}
