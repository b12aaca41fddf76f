//! Whatever is sent, however it is cut.

use proptest::prelude::*;

use super::*;

/// A data message and where it is cut into fragments, or a control frame.
#[derive(Clone, Debug)]
enum Sent {
    Data {
        message: Owned,
        fragments: usize,
        /// Pings put between the fragments.
        pings: bool,
    },
    Control(Owned),
}

fn sent() -> impl Strategy<Value = Sent> {
    let message = prop_oneof![
        // `.` leaves line ends out, which do not matter here.
        "(?s).{0,300}".prop_map(Owned::Text),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Owned::Binary),
        prop::collection::vec(any::<u8>(), 65_500..65_600).prop_map(Owned::Binary),
    ];
    let control = prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (message, 1..6_usize, any::<bool>()).prop_map(|(message, fragments, pings)| {
            Sent::Data { message, fragments, pings }
        }),
        1 => control.clone().prop_map(|payload| Sent::Control(Owned::Ping(payload))),
        1 => control.prop_map(|payload| Sent::Control(Owned::Pong(payload))),
    ]
}

/// The bytes of what is sent and the messages that must come out.
fn encode(sent: &[Sent], key: [u8; 4]) -> (Vec<u8>, Vec<Owned>) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for sent in sent {
        match sent {
            Sent::Data {
                message,
                fragments,
                pings,
            } => {
                let (opcode, payload) = match message {
                    Owned::Text(text) => (TEXT, text.as_bytes()),
                    Owned::Binary(bytes) => (BINARY, bytes.as_slice()),
                    _ => unreachable!("data is text or binary"),
                };
                for at in 0..*fragments {
                    let range =
                        payload.len() * at / fragments..payload.len() * (at + 1) / fragments;
                    let opcode = if at == 0 { opcode } else { CONTINUATION };
                    let fin = if at + 1 == *fragments { FIN } else { 0 };
                    if *pings && at > 0 {
                        bytes.extend(frame(FIN | PING, [at as u8]).encode(key));
                        expected.push(Owned::Ping(vec![at as u8]));
                    }
                    bytes.extend(frame(fin | opcode, &payload[range]).encode(key));
                }
                expected.push(message.clone());
            }
            Sent::Control(message) => {
                let (opcode, payload) = match message {
                    Owned::Ping(payload) => (PING, payload),
                    Owned::Pong(payload) => (PONG, payload),
                    _ => unreachable!("control is ping or pong"),
                };
                bytes.extend(frame(FIN | opcode, payload).encode(key));
                expected.push(message.clone());
            }
        }
    }
    (bytes, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_survive_any_fragmentation_and_any_cutting(
        sent in prop::collection::vec(sent(), 0..6),
        key in any::<[u8; 4]>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (bytes, expected) = encode(&sent, key);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(decode(chunks, MESSAGE_BYTES_MAX), (expected, None));
    }

    #[test]
    fn stream_with_one_byte_changed_ends_in_order_or_in_a_violation(
        sent in prop::collection::vec(sent(), 1..4),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let (mut bytes, _) = encode(&sent, KEY);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let whole = decode([bytes.as_slice()], MESSAGE_BYTES_MAX);
        let single = decode(bytes.chunks(1), MESSAGE_BYTES_MAX);
        prop_assert_eq!(whole, single);
    }
}

/// `decode` asserts the bound on memory after each chunk, and that a violation is the last word.
#[test]
fn random_bytes_never_panic_and_never_hold_more_than_a_message() {
    let mut rng = fastrand::Rng::with_seed(0x5EED);
    let mut violations = 0;
    for _ in 0..10_000 {
        let len = rng.usize(..600);
        let mut bytes: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        // Half of them begin like a frame, so that more than the first check is reached.
        if rng.bool() && len > 2 {
            bytes[0] &= 0x8F;
            bytes[1] |= 0x80;
        }
        let chunk = rng.usize(1..100);
        let (_, violation) = decode(bytes.chunks(chunk), 4096);
        violations += usize::from(violation.is_some());
    }
    assert!(violations > 5_000, "{violations}");
}
