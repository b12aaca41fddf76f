//! The tables. Each case is fed whole, byte by byte, and cut in two at every place.

use rookery_proto::close::CloseCode;

use super::*;

/// Feeds the frames in every way and wants the same each time.
fn check(name: &str, frames: &[Frame], messages: &[Owned], violation: Option<Violation>) {
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode(KEY)).collect();
    let expected: Outcome = (messages.to_vec(), violation);
    let decode = |chunks: &[&[u8]]| decode(chunks.iter().copied(), MESSAGE_BYTES_MAX);
    assert_eq!(decode(&[&bytes]), expected, "{name}, whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single), expected, "{name}, byte by byte");
    for cut in cuts(bytes.len()) {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(decode(&[head, tail]), expected, "{name}, cut at {cut}");
    }
}

/// Every place of a short input; of a long one its ends and some between.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).filter(move |&cut| len < 2_000 || cut < 24 || cut + 24 > len || cut % 9_973 == 0)
}

fn good(name: &str, frames: &[Frame], messages: &[Owned]) {
    check(name, frames, messages, None);
}

fn bad(name: &str, frames: &[Frame], messages: &[Owned], violation: Violation) {
    check(name, frames, messages, Some(violation));
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

fn ping(payload: &[u8]) -> Owned {
    Owned::Ping(payload.to_vec())
}

// 1: framing

#[test]
fn messages_of_each_size_class_arrive_whole() {
    for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 131_072] {
        let payload = "*".repeat(len);
        good(
            &format!("1.1 text of {len}"),
            &[frame(FIN | TEXT, &payload)],
            &[text(&payload)],
        );
        let payload = vec![0xFE; len];
        good(
            &format!("1.2 binary of {len}"),
            &[frame(FIN | BINARY, &payload)],
            &[Owned::Binary(payload)],
        );
    }
}

#[test]
fn messages_in_a_row_arrive_in_order() {
    let frames: Vec<Frame> = (0..40)
        .map(|n| frame(FIN | TEXT, format!("{n}").repeat(n)))
        .collect();
    let messages: Vec<Owned> = (0..40).map(|n| text(&format!("{n}").repeat(n))).collect();
    good("1.3 forty", &frames, &messages);
}

#[test]
fn length_written_too_long_is_refused() {
    let refused = Violation::LengthNotMinimal;
    for (len, length) in [
        (0, Length::Two),
        (125, Length::Two),
        (0, Length::Eight),
        (126, Length::Eight),
        (65_535, Length::Eight),
    ] {
        let frame = frame(FIN | BINARY, vec![1; len]).length(length);
        bad(&format!("1.4 {len} as {length:?}"), &[frame], &[], refused);
    }
}

#[test]
fn length_beyond_63_bits_is_refused() {
    for lie in [1 << 63, u64::MAX] {
        bad(
            "1.5",
            &[frame(FIN | BINARY, []).length(Length::Lie(lie))],
            &[],
            Violation::LengthNegative,
        );
    }
}

#[test]
fn frames_without_mask_are_refused() {
    for first in [FIN | TEXT, BINARY, FIN | PING, FIN | PONG, FIN | CLOSE] {
        bad(
            "1.6",
            &[frame(first, "x").unmasked()],
            &[],
            Violation::NotMasked,
        );
    }
}

// 2: pings and pongs

#[test]
fn pings_and_pongs_arrive_with_their_payload() {
    good("2.1 empty", &[frame(FIN | PING, "")], &[ping(b"")]);
    good("2.2 text", &[frame(FIN | PING, "hi")], &[ping(b"hi")]);
    let binary = [0, 0xFF, 0xFE, 0xC3];
    good("2.3 binary", &[frame(FIN | PING, binary)], &[ping(&binary)]);
    let longest = [0xFE; 125];
    good(
        "2.4 longest",
        &[frame(FIN | PING, longest)],
        &[ping(&longest)],
    );
    good(
        "2.7 pong nobody asked for",
        &[frame(FIN | PONG, "x"), frame(FIN | PING, "y")],
        &[Owned::Pong(b"x".to_vec()), ping(b"y")],
    );
    let ten: Vec<Frame> = (0..10).map(|n| frame(FIN | PING, [n])).collect();
    let expected: Vec<Owned> = (0..10).map(|n| ping(&[n])).collect();
    good("2.10 ten", &ten, &expected);
}

#[test]
fn control_frames_too_long_or_fragmented_are_refused() {
    for opcode in [PING, PONG, CLOSE] {
        bad(
            "2.5 126 bytes",
            &[frame(FIN | opcode, [7; 126])],
            &[],
            Violation::LongControl,
        );
        bad(
            "5.1 fragmented",
            &[frame(opcode, "a"), frame(FIN | CONTINUATION, "b")],
            &[],
            Violation::FragmentedControl,
        );
    }
}

// 3: reserved bits

#[test]
fn reserved_bits_are_refused() {
    for bits in 1..8_u8 {
        for first in [FIN | TEXT, BINARY, FIN | PING, FIN | CLOSE, CONTINUATION] {
            bad(
                &format!("3.{bits}"),
                &[
                    frame(FIN | TEXT, "before"),
                    frame(first | bits << 4, ""),
                    frame(FIN | TEXT, "after"),
                ],
                &[text("before")],
                Violation::ReservedBits,
            );
        }
    }
}

// 4: opcodes

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        for payload in ["", "payload"] {
            bad(
                &format!("4 {opcode:#x}"),
                &[
                    frame(FIN | TEXT, "before"),
                    frame(FIN | opcode, payload),
                    frame(FIN | PING, ""),
                ],
                &[text("before")],
                Violation::ReservedOpcode { opcode },
            );
        }
    }
}

// 5: fragmentation

#[test]
fn fragments_are_put_together() {
    good(
        "5.3 two",
        &[frame(TEXT, "frag"), frame(FIN | CONTINUATION, "ment")],
        &[text("fragment")],
    );
    good(
        "5.4 empty ones",
        &[
            frame(BINARY, ""),
            frame(CONTINUATION, ""),
            frame(FIN | CONTINUATION, ""),
        ],
        &[Owned::Binary(Vec::new())],
    );
    good(
        "5.5 some empty",
        &[
            frame(TEXT, ""),
            frame(CONTINUATION, "mid"),
            frame(FIN | CONTINUATION, ""),
        ],
        &[text("mid")],
    );
    let mut many = vec![frame(TEXT, "0")];
    many.extend((1..99).map(|n| frame(CONTINUATION, format!("{n} "))));
    many.push(frame(FIN | CONTINUATION, "end"));
    let whole: String = many
        .iter()
        .map(|frame| std::str::from_utf8(&frame.payload).unwrap())
        .collect();
    good("5.6 a hundred", &many, &[text(&whole)]);
    good(
        "5.7 one after another",
        &[
            frame(TEXT, "a"),
            frame(FIN | CONTINUATION, "b"),
            frame(BINARY, "c"),
            frame(FIN | CONTINUATION, "d"),
            frame(FIN | TEXT, "e"),
        ],
        &[text("ab"), Owned::Binary(b"cd".to_vec()), text("e")],
    );
}

#[test]
fn control_frames_between_fragments_are_delivered_at_once() {
    good(
        "5.8 pings",
        &[
            frame(TEXT, "one "),
            frame(FIN | PING, "p1"),
            frame(CONTINUATION, "two "),
            frame(FIN | PING, "p2"),
            frame(FIN | PONG, ""),
            frame(FIN | CONTINUATION, "three"),
        ],
        &[
            ping(b"p1"),
            ping(b"p2"),
            Owned::Pong(Vec::new()),
            text("one two three"),
        ],
    );
    good(
        "5.9 inside a code point",
        &[
            frame(TEXT, b"\xe2\x82"),
            frame(FIN | PING, b"\xff"),
            frame(FIN | CONTINUATION, b"\xac"),
        ],
        &[ping(b"\xff"), text("€")],
    );
    good(
        "5.10 close inside a message",
        &[frame(TEXT, "never ends"), close(1000, "")],
        &[Owned::Close(Some((1000, String::new())))],
    );
}

#[test]
fn fragments_out_of_place_are_refused() {
    let nothing = Violation::ContinuationWithoutMessage;
    bad("5.12", &[frame(FIN | CONTINUATION, "x")], &[], nothing);
    bad("5.13", &[frame(CONTINUATION, "x")], &[], nothing);
    bad(
        "5.14 after a whole message",
        &[frame(FIN | TEXT, "a"), frame(FIN | CONTINUATION, "x")],
        &[text("a")],
        nothing,
    );
    bad(
        "5.15 after a put-together message",
        &[
            frame(TEXT, "a"),
            frame(FIN | CONTINUATION, "b"),
            frame(CONTINUATION, "x"),
        ],
        &[text("ab")],
        nothing,
    );
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        bad(
            "5.18 message inside a message",
            &[frame(TEXT, "a"), frame(first, "b")],
            &[],
            Violation::MessageInsideMessage,
        );
    }
}

// 6: UTF-8

#[test]
fn text_of_any_script_arrives_whole_and_in_fragments() {
    for sample in [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}",
        "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}",
        "🦀 rooks 🐦‍⬛",
    ] {
        good("6 whole", &[frame(FIN | TEXT, sample)], &[text(sample)]);
        for cut in 0..=sample.len() {
            let (head, tail) = sample.as_bytes().split_at(cut);
            good(
                "6 in two",
                &[frame(TEXT, head), frame(FIN | CONTINUATION, tail)],
                &[text(sample)],
            );
        }
        let mut single = vec![frame(TEXT, "")];
        single.extend(sample.bytes().map(|byte| frame(CONTINUATION, [byte])));
        single.push(frame(FIN | CONTINUATION, ""));
        good("6 by bytes", &single, &[text(sample)]);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let samples: [(&str, &[u8]); 18] = [
        ("lone continuation", b"\x80"),
        ("lone continuation, last", b"\xbf"),
        ("start without end, two", b"\xc3"),
        ("start without end, three", b"\xe2\x82"),
        ("start without end, four", b"\xf0\x9f\xa6"),
        ("start then ascii", b"\xc3("),
        ("overlong nul", b"\xc0\x80"),
        ("overlong slash, two", b"\xc0\xaf"),
        ("overlong slash, three", b"\xe0\x80\xaf"),
        ("overlong slash, four", b"\xf0\x80\x80\xaf"),
        ("overlong, highest", b"\xc1\xbf"),
        ("surrogate, first", b"\xed\xa0\x80"),
        ("surrogate, last", b"\xed\xbf\xbf"),
        ("surrogate pair", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("beyond unicode", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("byte fe", b"\xfe"),
        ("byte ff", b"\xff"),
    ];
    for (name, sample) in samples {
        let refused = Violation::TextNotUtf8;
        bad(name, &[frame(FIN | TEXT, sample)], &[], refused);
        let padded = [b"good ".as_slice(), sample].concat();
        bad(name, &[frame(FIN | TEXT, &padded)], &[], refused);
        for cut in 0..=padded.len() {
            let (head, tail) = padded.split_at(cut);
            bad(
                name,
                &[frame(TEXT, head), frame(FIN | CONTINUATION, tail)],
                &[],
                refused,
            );
        }
        good(
            "binary may be anything",
            &[frame(FIN | BINARY, sample)],
            &[Owned::Binary(sample.to_vec())],
        );
    }
    assert_eq!(Violation::TextNotUtf8.close_code(), CloseCode::InvalidUtf8);
}

// 7: close

#[test]
fn close_ends_everything_after_it() {
    let closed = Owned::Close(Some((1000, "bye".to_owned())));
    good(
        "7.1 message before",
        &[frame(FIN | TEXT, "a"), close(1000, "bye")],
        &[text("a"), closed.clone()],
    );
    good(
        "7.1 anything after",
        &[
            close(1000, "bye"),
            frame(FIN | TEXT, "a"),
            close(1000, "again"),
            frame(0x7F, "nonsense").unmasked(),
        ],
        &[closed],
    );
}

#[test]
fn close_payloads_are_read() {
    good(
        "7.3.1 empty",
        &[frame(FIN | CLOSE, "")],
        &[Owned::Close(None)],
    );
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        good(
            &format!("7.7 {code}"),
            &[close(code, "")],
            &[Owned::Close(Some((code, String::new())))],
        );
    }
    let longest = "*".repeat(123);
    good(
        "7.3.5 longest reason",
        &[close(1000, &longest)],
        &[Owned::Close(Some((1000, longest)))],
    );
    good(
        "7.5 reason of any script",
        &[close(4000, "tschüß")],
        &[Owned::Close(Some((4000, "tschüß".to_owned())))],
    );
}

#[test]
fn close_payloads_that_must_not_be_are_refused() {
    bad(
        "7.3.2 one byte",
        &[frame(FIN | CLOSE, [3])],
        &[],
        Violation::ShortClose,
    );
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ] {
        bad(
            &format!("7.9 {code}"),
            &[close(code, "why")],
            &[],
            Violation::CloseCode { code },
        );
    }
    for reason in [b"\xff".as_slice(), b"\xce\xba\xe1", b"\xed\xa0\x80"] {
        bad(
            "7.5.1 reason",
            &[close(1000, reason)],
            &[],
            Violation::CloseReasonNotUtf8,
        );
    }
    bad(
        "7.3.6 124 bytes of reason",
        &[close(1000, [b'*'; 124])],
        &[],
        Violation::LongControl,
    );
}

// 9: limits

#[test]
fn messages_above_the_bound_are_refused() {
    let bytes_max = MESSAGE_BYTES_MAX;
    let refused = Violation::TooLarge { bytes_max };
    let half = vec![b'x'; bytes_max as usize / 2];
    bad(
        "9.1 one frame",
        &[frame(FIN | TEXT, vec![b'x'; bytes_max as usize + 1])],
        &[],
        refused,
    );
    bad(
        "9.2 fragments",
        &[
            frame(TEXT, &half),
            frame(CONTINUATION, &half),
            frame(FIN | PING, "still fine"),
            frame(FIN | CONTINUATION, "x"),
        ],
        &[ping(b"still fine")],
        refused,
    );
    good(
        "9.3 fragments up to it",
        &[
            frame(TEXT, &half),
            frame(CONTINUATION, &half),
            frame(FIN | CONTINUATION, ""),
        ],
        &[text(&"x".repeat(bytes_max as usize))],
    );
    bad(
        "9.4 announced only",
        &[frame(FIN | BINARY, "x").length(Length::Lie(1 << 40))],
        &[],
        refused,
    );
    assert_eq!(refused.close_code(), CloseCode::TooLarge);
}
