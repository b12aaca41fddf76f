//! Written, read back, cut anywhere.

use std::{fs, path::Path};

use rookery_proto::v1::{self, server_frame::Frame};

use super::*;
use crate::client::command;

fn records() -> Vec<What> {
    vec![
        What::Opened {
            user: "ann".to_owned(),
            purpose: Purpose::Take,
            session_id: "s".to_owned(),
        },
        What::Sent(Box::new(v1::ClientFrame {
            id: "1".to_owned(),
            command: Some(command::send("r", "hi \"there\"\n", "k")),
        })),
        What::Received(Box::new(v1::ServerFrame {
            frame: Some(Frame::Ack(v1::Ack {
                id: "1".to_owned(),
                result: Some(v1::ack::Result::Appended(v1::Appended {
                    room: "r".to_owned(),
                    offset: 1 << 52,
                    epoch: 3,
                    time_ms: 4,
                    duplicate: true,
                })),
            })),
        })),
        What::GaveUp { id: "2".to_owned() },
        What::Closed(Closed {
            code: Some(4001),
            reason: "slow".to_owned(),
        }),
        What::Replica(Box::new(Replica::new("r"))),
    ]
}

fn written(path: &Path) -> u64 {
    let header = Header::new([("seed".to_owned(), "7".to_owned())]);
    let writer = HistoryWriter::create(path, &header).unwrap();
    for what in records() {
        writer.record(4, 2, what);
    }
    writer.finish().unwrap();
    writer.records()
}

#[test]
fn every_kind_of_record_is_read_back_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    assert_eq!(written(&path), 6);
    let mut reader = HistoryReader::open(&path).unwrap();
    assert_eq!(reader.header().about["seed"], "7");
    let read: Vec<Record> = reader.by_ref().map(Result::unwrap).collect();
    assert!(!reader.torn());
    assert!(read.is_sorted_by_key(|record| record.at));
    let whats: Vec<What> = read.into_iter().map(|record| record.what).collect();
    assert_eq!(whats, records());
}

#[test]
fn file_cut_at_any_byte_gives_whole_records_and_says_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    written(&path);
    let whole = fs::read(&path).unwrap();
    let header_bytes = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        if cut < header_bytes {
            let refused = HistoryReader::open(&path);
            assert!(
                matches!(refused, Err(HistoryError::NoHeader(_))),
                "cut at {cut}"
            );
            continue;
        }
        let mut reader = HistoryReader::open(&path).unwrap();
        let read = reader.by_ref().map(Result::unwrap).count();
        let lines = whole[header_bytes..cut]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        assert_eq!(read, lines, "cut at {cut}");
        assert_eq!(reader.torn(), whole[cut - 1] != b'\n', "cut at {cut}");
    }
}

#[test]
fn line_longer_than_allowed_is_an_error_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    written(&path);
    let whole = fs::read(&path).unwrap();
    let longest = whole.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
    let longest = longest.unwrap() as u64;
    let all = HistoryReader::open_bounded(&path, longest).unwrap();
    assert_eq!(all.filter(Result::is_ok).count(), 6);
    let mut reader = HistoryReader::open_bounded(&path, longest - 1).unwrap();
    let error = reader.by_ref().find_map(Result::err).unwrap();
    assert!(matches!(error, HistoryError::LongLine { .. }), "{error}");
    assert!(!reader.torn());
}

#[test]
fn bad_line_in_the_middle_and_other_versions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h.jsonl");
    fs::write(&path, "{\"rookeryHistory\":1}\n{\"at\":}\n{}\n").unwrap();
    let error = HistoryReader::open(&path).unwrap().next().unwrap();
    assert!(matches!(error, Err(HistoryError::Line { line: 2, .. })));
    fs::write(&path, "{\"rookeryHistory\":9}\n").unwrap();
    let error = HistoryReader::open(&path);
    assert!(matches!(
        error,
        Err(HistoryError::Version { version: 9, .. })
    ));
    let error = HistoryReader::open(&dir.path().join("none"));
    assert!(matches!(error, Err(HistoryError::Io { .. })));
}
