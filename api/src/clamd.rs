//! The virus scanner, where there is one: clamd's INSTREAM over TCP or a Unix socket.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the scanner may take for one step.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How much is sent at once.
const CHUNK: usize = 64 * 1024;
/// The longest answer that is read.
const MAX_ANSWER: u64 = 1024;

/// What the scanner said.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It knows nothing against it.
    Clean,
    /// It knows it by this name.
    Found(String),
}

/// Has a file scanned by the clamd at `address`. An error is why there is no verdict.
pub fn scan(address: &str, content: &[u8]) -> std::io::Result<Verdict> {
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        return converse(stream, content);
    }
    let host = address.strip_prefix("tcp://").unwrap_or(address);
    let target = host.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("the host has no address"))?;
    let stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    converse(stream, content)
}

fn converse(mut stream: impl Read + Write, content: &[u8]) -> std::io::Result<Verdict> {
    stream.write_all(b"zINSTREAM\0")?;
    for chunk in content.chunks(CHUNK) {
        let length = u32::try_from(chunk.len()).map_err(std::io::Error::other)?;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(chunk)?;
    }
    stream.write_all(&0_u32.to_be_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    read_answer(answer.trim_end_matches(['\0', '\n']))
        .ok_or_else(|| std::io::Error::other(format!("clamd said {answer:?}")))
}

fn read_answer(answer: &str) -> Option<Verdict> {
    let said = answer.strip_prefix("stream: ")?;
    match said.strip_suffix(" FOUND") {
        Some(name) => Some(Verdict::Found(name.to_owned())),
        None => (said == "OK").then_some(Verdict::Clean),
    }
}
