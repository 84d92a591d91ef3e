//! The decoder by state, and under random bytes.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn decoder(logged_in: bool) -> Decoder {
    let mut decoder = Decoder::new(1_024, 100_000);
    if logged_in {
        decoder.logged_in();
    }
    decoder
}

/// `kind`, announced body length (without the length's own four bytes), bytes that are there.
fn header(kind: u8, body: i64, there: usize) -> BytesMut {
    let mut buffer = BytesMut::from(&[kind][..]);
    buffer.extend_from_slice(&i32::try_from(body + 4).unwrap().to_be_bytes());
    buffer.extend_from_slice(&vec![b'A'; there]);
    buffer
}

fn outcome(logged_in: bool, mut buffer: BytesMut) -> String {
    match decoder(logged_in).decode(&mut buffer) {
        Ok(Some(Frame::Message { kind, body })) => format!("{} of {}", char::from(kind), body.len()),
        Ok(Some(Frame::Oversized { kind })) => format!("oversized {}", char::from(kind)),
        Ok(None) => "more".into(),
        Err(error) => format!("{} {}", error.kind().sqlstate(), error.message()),
    }
}

#[test]
fn limits_depend_on_the_state_and_bite_on_the_header() {
    for (logged_in, buffer, expect) in [
        (false, header(b'p', 3, 3), "p of 3"),
        (false, header(b'p', 1_024, 1_024), "p of 1024"),
        (false, header(b'p', 1_025, 0), "08P01 invalid message length"),
        (false, BytesMut::from("Q"), "08P01 expected password response, got message type 81"),
        (false, header(b'Q', 1 << 29, 0), "08P01 expected password response, got message type 81"),
        (true, header(b'Q', 5, 4), "more"),
        (true, header(b'Q', 100_000, 100_000), "Q of 100000"),
        (true, header(b'Q', 100_001, 0), "oversized Q"),
        (true, header(b'P', 1 << 30, 0), "oversized P"),
        (true, header(b'B', i32::MAX as i64 - 4, 0), "oversized B"),
        (true, header(b'E', 10_000, 10_000), "E of 10000"),
        (true, header(b'E', 10_001, 0), "08P01 invalid message length"),
        (true, header(b'S', 0, 0), "S of 0"),
        (true, BytesMut::from("p"), "08P01 invalid frontend message type 112"),
        (true, BytesMut::from("\0"), "08P01 invalid frontend message type 0"),
        (true, header(b'Q', -1, 0), "08P01 invalid message length"),
        (true, header(b'Q', -4, 0), "08P01 invalid message length"),
        (true, header(b'Q', i32::MIN as i64 - 4, 0), "08P01 invalid message length"),
        (true, BytesMut::from(&b"Q\0\0\0"[..]), "more"),
        (true, BytesMut::new(), "more"),
    ] {
        let shown = format!("{logged_in} {:?}", buffer.get(..5));
        assert_eq!(outcome(logged_in, buffer), expect, "{shown}");
    }
}

#[test]
fn an_oversized_frame_is_thrown_away_as_it_comes_and_the_next_is_read() {
    let mut decoder = decoder(true);
    let mut buffer = header(b'Q', 200_000, 0);
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Some(Frame::Oversized { kind: b'Q' }));
    for _ in 0..200 {
        buffer.extend_from_slice(&[b'Z'; 1_000]);
        assert_eq!(decoder.decode(&mut buffer).unwrap(), None);
        assert!(buffer.is_empty());
    }
    buffer.extend_from_slice(&header(b'S', 0, 0));
    assert_eq!(decoder.decode(&mut buffer).unwrap(), Some(Frame::Message { kind: b'S', body: Bytes::new() }));
}

/// However frames are cut into segments, the same frames come out.
#[tokio::test]
async fn segments_do_not_matter() {
    let mut bytes = Vec::new();
    for (kind, body) in [(b'Q', 3), (b'S', 0), (b'B', 50_000), (b'H', 0), (b'Q', 0)] {
        bytes.extend_from_slice(&header(kind, body, body as usize));
    }
    for segment in [1, 2, 4, 5, 6, 4_095, 4_096, 4_097, bytes.len()] {
        let mut mock = in_segments(&bytes, segment);
        let mut frames = Frames::new(&mut mock, decoder(true));
        let mut seen = String::new();
        while let Some(frame) = frames.next().await.unwrap() {
            let Frame::Message { kind, body } = frame else { panic!("none is oversized") };
            seen.push_str(&format!("{}{} ", char::from(kind), body.len()));
        }
        assert_eq!(seen, "Q3 S0 B50000 H0 Q0 ", "segments of {segment}");
    }
}

#[tokio::test]
async fn a_large_message_leaves_no_large_buffer_behind() {
    let mut bytes = header(b'Q', 90_000, 90_000).to_vec();
    bytes.extend_from_slice(&header(b'S', 0, 0));
    let mut segments = in_segments(&bytes, 4_096);
    let mut frames = Frames::new(&mut segments, decoder(true));
    drop(frames.next().await.unwrap());
    drop(frames.next().await.unwrap());
    assert!(frames.next().await.unwrap().is_none());
    assert!(frames.buffer.capacity() <= KEEP_BYTES, "{}", frames.buffer.capacity());
}

/// A reader that gives at most `segment` bytes at a time.
fn in_segments(bytes: &[u8], segment: usize) -> impl AsyncRead + Unpin {
    struct Segments(std::io::Cursor<Vec<u8>>, usize);
    impl AsyncRead for Segments {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            out: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            let from = usize::try_from(self.0.position()).unwrap();
            let all = self.0.get_ref();
            let to = all.len().min(from + self.1).min(from + out.remaining());
            out.put_slice(&all[from..to]);
            self.0.set_position(to as u64);
            std::task::Poll::Ready(Ok(()))
        }
    }
    Segments(std::io::Cursor::new(bytes.to_vec()), segment)
}

/// Random bytes, random lengths, random cuts: no panic, and never more held than twice the input and 64 KB.
#[tokio::test]
async fn random_frames_never_panic_nor_allocate_beyond_the_input() {
    for seed in 0..20_000u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..6) {
            let kind = *b"QPBFdCDEHSXcfp".get(random.random_range(0..16)).unwrap_or(&random.random());
            let there = random.random_range(0..300);
            let length: i32 = match random.random_range(0..4) {
                0 => random.random(),
                1 => random.random_range(-10..20),
                _ => there + 4,
            };
            bytes.push(kind);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend((0..there).map(|_| random.random::<u8>()));
        }
        let mut segments = in_segments(&bytes, random.random_range(1..200));
        let mut frames = Frames::new(&mut segments, decoder(random.random()));
        while let Ok(Some(frame)) = frames.next().await {
            if let Frame::Message { kind, body } = frame {
                // Bodies are foreign too: reading them is total.
                let _ = super::super::message::Frontend::read(kind, &body);
            }
            assert!(frames.buffer.capacity() <= 2 * bytes.len() + 65_536, "seed {seed}");
        }
    }
}
