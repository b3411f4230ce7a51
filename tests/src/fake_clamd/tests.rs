//! That each reply is what its documentation says. What clamd itself does is the business of
//! `tests/contract`.

use clamav_client::tokio::{Socket, ping, scan_buffer};

use super::*;

/// Everything that comes back for `content`, sent as one chunk; an error if the socket breaks.
async fn scan(clamd: &FakeClamd, content: &[u8]) -> io::Result<Vec<u8>> {
    scan_buffer(content, Socket { socket_path: clamd.socket() }, Some(1024 * 1024)).await
}

fn stream(bytes: u64, head: &[u8], complete: bool) -> Stream {
    Stream { bytes, head: head.to_vec(), complete }
}

#[tokio::test]
async fn says_what_it_is_told_then_is_honest() {
    let clamd = FakeClamd::start().expect("starts");
    clamd.next_stream(Reply::text("stream: Win.Trojan FOUND"));
    clamd.next_stream(Reply::Bytes(b"\xff\xfe garbage".to_vec()));
    clamd.next_stream(Reply::Bytes(Vec::new()));
    assert_eq!(ping(Socket { socket_path: clamd.socket() }).await.expect("answers"), b"PONG\0");
    assert_eq!(scan(&clamd, b"a").await.expect("answers"), b"stream: Win.Trojan FOUND\0");
    assert_eq!(scan(&clamd, b"b").await.expect("answers"), b"\xff\xfe garbage");
    assert_eq!(scan(&clamd, b"c").await.expect("closes"), b"");
    assert_eq!(scan(&clamd, b"d").await.expect("answers"), b"stream: OK\0");
    let infected = scan(&clamd, &eicar()).await.expect("answers");
    assert_eq!(infected, b"stream: Eicar-Test-Signature FOUND\0");
    assert_eq!(clamd.streams()[..2], [stream(1, b"a", true), stream(1, b"b", true)]);
}

#[tokio::test]
async fn keeps_the_head_and_counts_the_rest() {
    let clamd = FakeClamd::start().expect("starts");
    let content = vec![b'x'; 5 * KEPT + 1];
    scan(&clamd, &content).await.expect("answers");
    assert_eq!(clamd.streams(), [stream(content.len() as u64, &content[..KEPT], true)]);
}

#[tokio::test]
async fn refuses_what_exceeds_the_size_limit() {
    let clamd = FakeClamd::start().expect("starts");
    clamd.next_stream(Reply::SizeLimit(3));
    clamd.next_stream(Reply::SizeLimit(3));
    assert_eq!(scan(&clamd, b"123").await.expect("answers"), b"stream: OK\0");

    // By hand: the client library stops at the broken pipe and does not look for the answer.
    let mut socket = UnixStream::connect(clamd.socket()).await.expect("connects");
    socket.write_all(b"zINSTREAM\0\0\0\0\x041234").await.expect("writes");
    let mut answer = vec![0; SIZE_LIMIT.len()];
    socket.read_exact(&mut answer).await.expect("answers before the end of the stream");
    assert_eq!(answer, SIZE_LIMIT);
    assert_eq!(clamd.streams()[1], stream(0, b"", false));
}

#[tokio::test]
async fn hangs_up_in_the_middle() {
    let clamd = FakeClamd::start().expect("starts");
    clamd.next_stream(Reply::HangUpAfter(4));
    let content = vec![b'x'; 10 * 1024 * 1024];
    scan(&clamd, &content).await.expect_err("more than the socket's buffer holds: a broken pipe");
    assert_eq!(clamd.streams(), [stream(4, b"xxxx", false)]);
}

#[tokio::test]
async fn stalls_after_the_stream_or_within_it() {
    let clamd = FakeClamd::start().expect("starts");
    let content = vec![b'x'; 10 * 1024 * 1024];
    for (reply, bytes, complete) in
        [(Reply::Stall, content.len() as u64, true), (Reply::StallAfter(4), 4, false)]
    {
        clamd.next_stream(reply.clone());
        let count = clamd.streams().len() + 1;
        tokio::select! {
            answer = scan(&clamd, &content) => panic!("{reply:?} answered {answer:?}"),
            streams = clamd.streams_after(count) => {
                let last = streams.expect("the stream was read").pop().expect("there is one");
                assert_eq!((last.bytes, last.complete), (bytes, complete), "{reply:?}");
            }
        }
    }
    // It still serves others meanwhile.
    assert_eq!(scan(&clamd, b"a").await.expect("answers"), b"stream: OK\0");
}

#[tokio::test]
async fn sees_a_stream_that_was_given_up() {
    let clamd = FakeClamd::start().expect("starts");
    let mut socket = UnixStream::connect(clamd.socket()).await.expect("connects");
    socket.write_all(b"zINSTREAM\0\0\0\0\x04123").await.expect("writes");
    drop(socket);
    let streams = clamd.streams_after(1).await.expect("it ends");
    assert_eq!(streams, [stream(3, b"123", false)]);
}
