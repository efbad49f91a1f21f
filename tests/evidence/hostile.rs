//! Uploads that mean harm, or stand still: they hear why, and cost bounded memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use image::ImageFormat;
use serde_json::Value;

use super::{file_claim, form, picture, with_map};
use crate::harness::{Redress, Server, wait_until};

/// A PNG that says it has so many pixels and has hardly any bytes.
fn png_flood(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8], content: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(content);
        [&u32::try_from(content.len()).unwrap().to_be_bytes(), kind, content, &crc.sum().to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let row = vec![0_u8; 1 + width as usize / 8];
    (0..height.min(4000)).for_each(|_| packer.write_all(&row).unwrap());
    let data = packer.finish().unwrap();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", b"")].concat()
}

/// Writes a request by hand and reads the status and code of the answer; a client that writes on is not cut off.
fn by_hand(server: &Server, head: &str, body: impl FnOnce(&mut TcpStream)) -> (u16, String) {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    body(&mut stream);
    read_answer(stream)
}

fn read_answer(stream: TcpStream) -> (u16, String) {
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        length = line.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let status = status.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {status:?}")).parse().unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// The most memory that the server has ever held, in MiB.
fn peak_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Far above what honest uploads take, far below what the hostile ones ask for.
const MAX_MEMORY_MIB: u64 = 400;

#[test]
fn hostile_uploads_hear_why_and_cost_bounded_memory() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve_with(&[("REDRESS_UPLOAD_SECONDS", "5")]);
        let claim = file_claim(&server, "m-1");
        for (width, height) in [(50_000, 50_000), (200_000, 10), (9_000, 9_000), (u32::MAX >> 1, 1)] {
            let problem = claim.upload(&server, &png_flood(width, height));
            assert!(problem.status == 422, "{width} × {height}: {}", problem.text());
            assert!(["picture_too_large", "evidence_unreadable"].contains(&problem.json()["code"].as_str().unwrap()));
        }
        claim.upload(&server, &png_flood(9_000, 9_000)).is_problem(422, "picture_too_large");
        let mut jpeg = picture(ImageFormat::Jpeg, 8, 8);
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
        claim.upload(&server, &jpeg).is_problem(422, "picture_too_large");

        // Too many parts, wrong boundaries, no file, two files, a body that is none.
        let many: Vec<(&str, Option<&str>, &[u8])> = (0..10_000).map(|_| ("document", None, &b""[..])).collect();
        claim.send(&server, &form(&many)).is_problem(422, "invalid_request");
        let named: Vec<(&str, Option<&str>, &[u8])> = (0..10_000).map(|_| ("x", Some("x"), &b"x"[..])).collect();
        claim.send(&server, &form(&named)).is_problem(422, "invalid_request");
        let two = form(&[("file", Some("a"), b"x"), ("file", Some("b"), b"y")]);
        claim.send(&server, &two).is_problem(400, "malformed_body");
        claim.send(&server, &form(&[("document", None, b"proof-of-loss")])).is_problem(422, "invalid_request");
        claim.send(&server, b"--another\r\n\r\nx\r\n--another--\r\n").is_problem(400, "malformed_body");
        claim.send(&server, &vec![b'x'; 9 << 20]).is_problem(400, "malformed_body");
        let whole = form(&[("file", Some("a"), &picture(ImageFormat::Png, 9, 9))]);
        claim.send(&server, &whole[..whole.len() - 40]).is_problem(400, "malformed_body");
        let bearer = format!("Bearer {}", claim.token);
        let plain = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        server.post(&claim.path(), &plain, "{}").is_problem(415, "unsupported_media_type");

        // Too large: said beforehand, and not said at all.
        let large = form(&[("file", Some("a"), &vec![b'%'; 30 << 20])]);
        claim.send(&server, &large).is_problem(413, "body_too_large");
        let chunked = by_hand(&server, &claim.head("Transfer-Encoding: chunked"), |stream| {
            let head = form(&[("file", Some("a"), b"")]);
            let head = &head[..head.len() - 22];
            write!(stream, "{:x}\r\n", head.len()).unwrap();
            stream.write_all(head).unwrap();
            for _ in 0..300 {
                // A server that answered already may not read to the end.
                let _ = write!(stream, "\r\n{:x}\r\n", 100_000).and_then(|()| stream.write_all(&[b'%'; 100_000]));
            }
            let _ = stream.write_all(b"\r\n0\r\n\r\n");
        });
        assert_eq!(chunked, (413, "body_too_large".into()));

        // A length that lies: more is promised than comes, and the sender waits, or is gone.
        let promised = claim.head("Content-Length: 5000000");
        let waits = by_hand(&server, &promised, |stream| stream.write_all(&whole[..100]).unwrap());
        assert_eq!(waits, (408, "upload_too_slow".into()));
        let huge = by_hand(&server, &claim.head("Content-Length: 99999999999"), |stream| {
            stream.write_all(b"x").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert_eq!(huge, (413, "body_too_large".into()));
        // Less is promised than comes: what is left over is no request.
        let short = by_hand(&server, &claim.head("Content-Length: 60"), |stream| stream.write_all(&whole).unwrap());
        assert_eq!(short, (400, "malformed_body".into()));

        assert_eq!(redress.number("SELECT count(*) FROM evidence"), 0);
        assert_eq!(claim.send(&server, &whole).status, 201, "after all that an honest one goes through");
        let peak = peak_memory(&server);
        println!("peak memory after hostile uploads: {peak} MiB");
        assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
    });
}

#[test]
fn many_uploads_that_stand_still_share_one_budget_of_memory() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve();
        let claim = file_claim(&server, "m-1");
        let start = form(&[("file", Some("a"), &vec![b'%'; 9 << 20])]);
        let head = claim.head("Content-Length: 10000000");
        // Each holds nine megabytes and never ends: some thirty would be more than the budget.
        let mut standing: Vec<TcpStream> = (0..30)
            .map(|_| {
                let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&start[..start.len() - 30]).unwrap();
                stream
            })
            .collect();
        wait_until("one is told to come again", || {
            standing.iter_mut().any(|stream| {
                stream.set_nonblocking(true).unwrap();
                let answered = stream.peek(&mut [0; 1]).is_ok();
                stream.set_nonblocking(false).unwrap();
                answered
            })
        });
        let told = standing.iter().position(|stream| {
            stream.set_nonblocking(true).unwrap();
            let answered = stream.peek(&mut [0; 1]).is_ok();
            stream.set_nonblocking(false).unwrap();
            answered
        });
        assert_eq!(read_answer(standing.swap_remove(told.unwrap())), (503, "busy".into()));
        let peak = peak_memory(&server);
        println!("peak memory with 30 uploads standing still: {peak} MiB");
        assert!(peak < MAX_MEMORY_MIB, "{peak} MiB");
        // What they held is free again when they are gone.
        drop(standing);
        wait_until("there is room", || claim.upload(&server, &picture(ImageFormat::Png, 9, 9)).status == 201);
    });
}
