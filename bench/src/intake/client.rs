//! The client: 32 connections that are kept, on one thread, each sending its next claim when the last is answered. It reads no
//! more of an answer than its status and length, so that the machine's time goes to the servers.
#![allow(clippy::float_arithmetic, reason = "times; no money is counted here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CONNECTIONS, INCIDENT, said};
use crate::report::rounded;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// The name of a customer.
pub(super) fn customer(number: usize) -> String {
    format!("m-{number:07}")
}

/// A request as it goes over the wire. A process that is started anew never sends a key twice.
fn request(address: &str, number: usize) -> Vec<u8> {
    let customer = customer(number);
    // Losses of both tiers, each decided by the policy.
    let loss = 1_000 + number * 7_919 % 499_000;
    let body = json!({
        "incident": INCIDENT, "service": "kakaotalk", "customer": customer, "facts": { "loss": loss.to_string() },
        "description": "토요일 오후부터 주문 알림을 받지 못했고, 일요일까지 주문이 한 건도 들어오지 않았습니다.",
        "contact": { "email": format!("{customer}@example.com"), "name": "김미나", "phone": "010-1234-5678", "language": "ko" },
    })
    .to_string();
    format!(
        "POST /v1/claims HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nidempotency-key: {customer}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends claims and prints how long it took, as JSON; anything but 201 is a failure of the whole.
pub(super) fn run(address: &str, first: &str, claims: &str) -> Result<(), String> {
    let (first, claims): (usize, usize) = (first.parse().map_err(said)?, claims.parse().map_err(said)?);
    let requests: Vec<Vec<u8>> = (first..first + claims).map(|number| request(address, number)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(said)?;
    let (seconds, mut times) = tokio::task::LocalSet::new().block_on(&runtime, send_all(address, requests))?;
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(f64::NAN) * 1000.0;
    println!("{}", json!({ "seconds": seconds, "p50_ms": rounded(at(50)), "p99_ms": rounded(at(99)) }));
    Ok(())
}

/// The seconds of the whole and of each request.
async fn send_all(address: &str, requests: Vec<Vec<u8>>) -> Result<(f64, Vec<f64>), String> {
    let mut streams = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await.map_err(said)?;
        stream.set_nodelay(true).map_err(said)?;
        streams.push(stream);
    }
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let connections: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::task::spawn_local(send(stream, Arc::clone(&requests), Arc::clone(&next))))
        .collect();
    let mut times = Vec::with_capacity(requests.len());
    for connection in connections {
        times.extend(connection.await.map_err(said)??);
    }
    Ok((started.elapsed().as_secs_f64(), times))
}

async fn send(mut stream: TcpStream, requests: Arc<Vec<Vec<u8>>>, next: Arc<AtomicUsize>) -> Result<Vec<f64>, String> {
    let (mut times, mut buffer) = (Vec::new(), vec![0; MAX_ANSWER]);
    while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
        let started = Instant::now();
        stream.write_all(request).await.map_err(said)?;
        let mut filled = 0;
        while !is_whole(&buffer[..filled])? {
            match stream.read(&mut buffer[filled..]).await.map_err(said)? {
                0 => return Err("the server closed the connection".to_owned()),
                read => filled += read,
            }
        }
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Whether an answer is here to its last byte; anything but 201 is an error.
fn is_whole(answer: &[u8]) -> Result<bool, String> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end]).map_err(said)?;
    if !head.starts_with("HTTP/1.1 201 ") {
        return Err(String::from_utf8_lossy(answer).into_owned());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.ok_or("an answer without a length")?;
    if end + 4 + length > MAX_ANSWER {
        return Err(format!("an answer of {length} bytes"));
    }
    Ok(answer.len() >= end + 4 + length)
}
