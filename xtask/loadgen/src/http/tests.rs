//! The decoder against whole answers in every split, against nonsense, and [`get`] against a socket.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::decoder::{Decoder, ProtocolError};
use super::get;

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n\
    2;name=value\r\nhe\r\n03\r\nllo\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n";
const CLOSED: &str = "HTTP/1.1 200 OK\r\nDate: today\r\n\r\nhello";

fn decoder(is_head: bool) -> Decoder {
    let mut decoder = Decoder::default();
    decoder.expect(is_head, 1000);
    decoder
}

/// Feeds an answer in one piece and closes the connection.
fn decode(answer: &str) -> Result<Option<Vec<u8>>, ProtocolError> {
    let mut decoder = decoder(false);
    let whole = decoder.feed(answer.as_bytes())? || decoder.close();
    Ok(whole.then(|| decoder.into_body()))
}

fn fails(answer: &str) -> ProtocolError {
    decode(answer).expect_err(answer)
}

#[test]
fn every_kind_of_body_is_whole_in_every_split_into_three() {
    let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{LENGTH}");
    for answer in [LENGTH, CHUNKED, CLOSED, &interim] {
        let bytes = answer.as_bytes();
        for second in 0..=bytes.len() {
            for first in 0..=second {
                let mut decoder = decoder(false);
                let mut whole = false;
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    assert!(!whole || piece.is_empty(), "whole before its end: {answer}");
                    whole = decoder.feed(piece).expect(answer);
                }
                assert_eq!(whole, answer != CLOSED, "{answer}");
                assert!(decoder.close(), "{answer}");
                assert_eq!(
                    (decoder.status(), decoder.body()),
                    (200, &b"hello"[..]),
                    "{answer}"
                );
            }
        }
    }
}

#[test]
fn byte_by_byte_is_the_same_and_one_connection_serves_many_answers() {
    let mut decoder = Decoder::default();
    for answer in [LENGTH, CHUNKED, LENGTH, CHUNKED] {
        decoder.expect(false, 1000);
        let (last, before) = answer.as_bytes().split_last().expect("some bytes");
        for byte in before {
            assert_eq!(decoder.feed(&[*byte]), Ok(false));
        }
        assert_eq!(decoder.feed(&[*last]), Ok(true));
        assert_eq!(decoder.body(), b"hello");
        assert!(decoder.keeps_alive());
    }
}

#[test]
fn nonsense_is_an_error_or_incomplete_and_never_a_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut whole = 0;
    for round in 0..30_000 {
        let mut bytes = [LENGTH, CHUNKED, CLOSED][round % 3].as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.insert(at, *random.choice(b"\r\n:;0f \0".iter()).expect("a byte")),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut one = decoder(false);
        let in_one = one.feed(&bytes);
        let mut many = decoder(false);
        let in_pieces = bytes.iter().try_fold(false, |_, byte| many.feed(&[*byte]));
        // Pieces of a malformed head are refused later, at the end of their line; never taken for an answer.
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(in_one == Ok(true), in_pieces == Ok(true), "{text}");
        assert!(in_one.is_err() || one.close() == many.close(), "{text}");
        whole += usize::from(in_one == Ok(true));
    }
    assert!(
        (100..29_000).contains(&whole),
        "the changes test nothing: {whole}"
    );
}

#[test]
fn a_head_request_no_content_and_not_modified_have_no_body_whatever_the_head_says() {
    let mut to_head = decoder(true);
    assert_eq!(
        to_head.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Ok(true)
    );
    assert!(to_head.keeps_alive());
    let mut to_head = decoder(true);
    assert_eq!(
        to_head.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Ok(true)
    );
    for status in [204, 304] {
        let mut decoder = decoder(false);
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(decoder.feed(head.as_bytes()), Ok(true));
        assert_eq!(decoder.status(), status);
    }
}

#[test]
fn only_a_connection_that_may_be_used_again_is_kept() {
    let keeps = |head: &str| {
        let mut decoder = decoder(false);
        decoder
            .feed(format!("{head}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .expect(head);
        decoder.keeps_alive()
    };
    assert!(keeps("HTTP/1.1 200 OK"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: close"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: upgrade, Close"));
    assert!(!keeps("HTTP/1.0 200 OK"));
    assert!(keeps("HTTP/1.0 200 OK\r\nConnection: Keep-Alive"));
    let mut until_close = decoder(false);
    until_close.feed(CLOSED.as_bytes()).expect("a head");
    assert!(!until_close.keeps_alive());
}

#[test]
fn bytes_that_nobody_asked_for_are_an_error() {
    assert_eq!(fails(&format!("{LENGTH}x")), ProtocolError::Trailing);
    assert_eq!(
        fails(&format!("{CHUNKED}HTTP/1.1 ")),
        ProtocolError::Trailing
    );
}

#[test]
fn an_answer_whose_end_is_unclear_is_an_error() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: -5",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(
            fails(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello")),
            ProtocolError::Length
        );
    }
    for chunks in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "2\r\nabc",
        "2\nab\r\n",
        "10000000000000000\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(fails(&answer), ProtocolError::Chunk);
    }
    for head in [
        "SSH-2.0-OpenSSH_9\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
    ] {
        assert_eq!(fails(head), ProtocolError::Head);
    }
    assert_eq!(
        fails("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ProtocolError::Head
    );
    assert_eq!(decode(&LENGTH[..LENGTH.len() - 1]), Ok(None));
}

#[test]
fn nothing_grows_without_bound() {
    let long = "x".repeat(70 * 1024);
    assert_eq!(
        fails(&format!("HTTP/1.1 200 OK\r\nX: {long}")),
        ProtocolError::TooLong
    );
    assert_eq!(
        fails(&format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n")),
        ProtocolError::TooLong
    );
    assert_eq!(
        fails(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(17)),
        ProtocolError::TooLong
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fails(&format!("{chunked}5;{long}")), ProtocolError::TooLong);
    assert_eq!(
        fails(&format!("{chunked}0\r\n{}", "a: b\r\n".repeat(4096))),
        ProtocolError::TooLong
    );

    for (keeps, kept) in [(0, ""), (3, "hel"), (5, "hello"), (9, "hello")] {
        let mut decoder = Decoder::default();
        decoder.expect(false, keeps);
        assert_eq!(decoder.feed(LENGTH.as_bytes()), Ok(true));
        assert_eq!(decoder.body(), kept.as_bytes());
    }
}

#[test]
fn get_refuses_a_body_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let error = get(address, "x", "/", &[], Duration::from_secs(60)).expect_err("too much");
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[test]
fn get_asks_with_its_headers_and_returns_the_body() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = vec![0; 1024];
        let mut length = 0;
        while !request[..length].ends_with(b"\r\n\r\n") {
            length += stream.read(&mut request[length..]).expect("a request");
        }
        stream.write_all(CHUNKED.as_bytes()).expect("a reader");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let headers = [("X-Key".to_owned(), "abc".to_owned())];
    let answer = get(
        address,
        "example",
        "/a?b",
        &headers,
        Duration::from_secs(10),
    )
    .expect("an answer");
    assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
    assert_eq!(
        server.join().expect("the server"),
        "GET /a?b HTTP/1.1\r\nConnection: close\r\nHost: example\r\nX-Key: abc\r\n\r\n"
    );
}

#[test]
fn get_gives_up_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let error = get(address, "x", "/", &[], Duration::from_millis(30)).expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}
