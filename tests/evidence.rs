//! Evidence: taken by content, drawn anew, kept sealed, seen by few; hostile uploads cost little and hear why.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use image::{DynamicImage, GenericImageView, ImageFormat, RgbImage};
use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, Server, merchant_claim, merchants, wait_until};
use crate::server::Answer;

/// A policy whose claims above an amount are granted once their document is there.
const POLICY: &str = r#"
policy    = "map-loss"
incident  = "kakao-2022-10-15"
service   = "map"
basis     = "claim"
reference = "a test"
title     = { ko = "지도", en = "Map" }

[facts]
"claim.loss" = { type = "money", asset = "KRW", reference = "stated" }

[[rule]]
name     = "shown"
when     = "claim.loss > 50_000"
award    = [{ asset = "KRW", amount = 60_000 }]
evidence = ["proof-of-loss"]

[[rule]]
name      = "small"
otherwise = true
award     = [{ asset = "KRW", amount = 10_000 }]

[evidence.proof-of-loss]
title = { ko = "손실 증빙", en = "Proof of loss" }
of    = "claim.loss"
above = 50_000

[fairness]
evidence_threshold = "50_000 KRW"
"#;

/// A claim and the token that opens it.
struct Filed {
    id: String,
    token: String,
    status: String,
}

impl Filed {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let claim = answer.json();
        let text = |name: &str| claim[name].as_str().unwrap().to_owned();
        Self { id: text("id"), token: text("token"), status: text("status") }
    }

    fn path(&self) -> String {
        format!("/v1/claims/{}/evidence", self.id)
    }

    fn get(&self, server: &Server, path: &str) -> Answer {
        server.get(path, &[("authorization", &format!("Bearer {}", self.token))])
    }

    fn upload(&self, server: &Server, file: &[u8]) -> Answer {
        self.upload_as(server, file, None)
    }

    fn upload_as(&self, server: &Server, file: &[u8], document: Option<&str>) -> Answer {
        let document = document.map(|code| ("document", None, code.as_bytes()));
        let parts: Vec<_> = document.into_iter().chain([("file", Some("../../etc/비밀 사진.svg"), file)]).collect();
        self.send(server, &form(&parts))
    }

    fn send(&self, server: &Server, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        server.post(&self.path(), &[("authorization", &bearer), ("content-type", CONTENT_TYPE)], body)
    }

    /// The head of a request, for whoever writes bodies by hand.
    fn head(&self, length: &str) -> String {
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {CONTENT_TYPE}\r\n{length}\r\n\r\n",
            self.path(),
            self.token
        )
    }
}

const CONTENT_TYPE: &str = "multipart/form-data; boundary=limit-of-parts";

fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend_from_slice(b"--limit-of-parts\r\n");
        let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: image/svg+xml")).unwrap_or_default();
        body.extend_from_slice(format!("Content-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--limit-of-parts--\r\n");
    body
}

fn with_map(redress: &Redress) {
    redress.with_incident().with_staff();
    let policy = redress.file("map-loss.toml", POLICY);
    redress.run(&["policy", "publish", &policy, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &policy, "--as", "approver"]).succeeds();
}

fn map_claim(customer: &str, loss: &str) -> Value {
    let mut claim = merchant_claim(customer, loss);
    claim["service"] = json!("map");
    claim
}

fn file_claim(server: &Server, customer: &str) -> Filed {
    Filed::of(&server.claim(&format!("k-{customer}"), &map_claim(customer, "90000")))
}

/// A claim that people read.
fn daum(server: &Server, customer: &str) -> Filed {
    let mut report = merchant_claim(customer, "90000");
    report["service"] = json!("daum");
    Filed::of(&server.claim(&format!("k-{customer}"), &report))
}

fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut image = RgbImage::from_fn(width, height, |x, y| image::Rgb([(x % 251) as u8, (y % 241) as u8, 99]));
    image.put_pixel(0, 0, image::Rgb([255, 0, 0]));
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A picture as a telephone makes it: turned by its EXIF data, which also say where; and an archive behind its end.
fn picture_with_secrets() -> Vec<u8> {
    let plain = picture(ImageFormat::Jpeg, 40, 20);
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend_from_slice(b"GPS 37.3948 127.1112 Mina's telephone");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    [&plain[..2], b"\xff\xe1", &length, &exif, &plain[2..], b"PK\x03\x04 <script>alert(1)</script>"].concat()
}

fn pdf(body: &str) -> Vec<u8> {
    format!("%PDF-1.7\n1 0 obj\n<</Type/Catalog{body}>>\nendobj\nstartxref\n9\n%%EOF\n").into_bytes()
}

fn files_on_disk(redress: &Redress) -> Vec<Vec<u8>> {
    fn all(folder: &Path, found: &mut Vec<Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { all(&path, found) } else { found.push(std::fs::read(path).unwrap()) }
        }
    }
    let mut found = Vec::new();
    all(&redress.folder.path().join("evidence"), &mut found);
    found
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_picture_is_drawn_anew_kept_sealed_and_seen_by_its_claimant_and_readers_only() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve();
        let (mine, other) = (file_claim(&server, "m-1"), file_claim(&server, "m-2"));
        let sent = picture_with_secrets();
        let added = mine.upload(&server, &sent);
        assert_eq!(added.status, 201, "{}", added.text());
        let view = added.json();
        assert_eq!((view["kind"].as_str(), view["document"].as_str()), (Some("jpeg"), Some("proof-of-loss")), "{view}");
        // The same again is the same, also after the claim has moved on.
        let again = mine.upload(&server, &sent);
        assert_eq!((again.status, again.json()["id"].clone()), (200, view["id"].clone()));
        assert_eq!(mine.get(&server, &mine.path()).json()["evidence"].as_array().unwrap().len(), 1);

        let path = added.header("location");
        let got = mine.get(&server, path);
        assert_eq!(got.status, 200);
        for secret in ["Exif", "GPS", "Mina", "PK\u{3}\u{4}", "script"] {
            assert!(!holds(&got.body, secret.as_bytes()), "{secret} is still there");
        }
        let image = image::load_from_memory_with_format(&got.body, ImageFormat::Jpeg).unwrap();
        assert_eq!(image.dimensions(), (20, 40), "it was lying on its side");
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(got.header(name), value);
        }
        let disposition = format!("attachment; filename=\"evidence-{}.jpg\"", view["id"].as_str().unwrap());
        assert_eq!(got.header("content-disposition"), disposition);
        use sha2::Digest;
        assert_eq!(view["sha256"], hex::encode(sha2::Sha256::digest(&got.body)));

        // To another claimant the claim and the file do not exist; nor under the other's own claim.
        other.get(&server, path).is_problem(404, "not_found");
        other.get(&server, &mine.path()).is_problem(404, "not_found");
        let borrowed = format!("{}/{}", other.path(), view["id"].as_str().unwrap());
        other.get(&server, &borrowed).is_problem(404, "not_found");
        server.get(path, &[]).is_problem(401, "unauthorised");
        let reader = redress.client(&server, "reader", "agent");
        assert_eq!(reader.get(path).body, got.body);
        let stranger = redress.client(&server, "counter", "finance");
        stranger.get(path).is_problem(403, "forbidden");

        // On disk nothing can be read, not even from the names; the log of the server and of commands names no file.
        let disk = files_on_disk(redress);
        assert_eq!(disk.len(), 1);
        assert!(!holds(&disk[0], b"JFIF") && !holds(&disk[0], &got.body[20..60]));
        let entry = redress.text("SELECT string_agg(detail::text, ' ') FROM audit WHERE action = 'evidence.add'");
        assert!(entry.contains(view["sha256"].as_str().unwrap()) && !entry.contains("svg"), "{entry}");
        assert!(!server.log().contains("비밀"));
        // And whoever swaps the sealed file for another is found.
        let blob = redress.folder.path().join("evidence").join(redress.text("SELECT blob FROM evidence"));
        let sealed = std::fs::read(&blob).unwrap();
        let mut altered = sealed.clone();
        altered[100] ^= 1;
        std::fs::write(&blob, altered).unwrap();
        assert!(redress.run(&["verify"]).fails(1, "").stdout.contains("evidence"));
        std::fs::write(&blob, sealed).unwrap();
    });
}

#[test]
fn a_claim_goes_on_by_itself_when_its_documents_are_there() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve();
        let waits = file_claim(&server, "m-1");
        assert_eq!(waits.status, "in_review");
        let png = picture(ImageFormat::Png, 30, 30);
        let problem = waits.upload_as(&server, &png, Some("passport")).is_problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["pointer"], "/document");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("proof-of-loss"), "{problem}");
        let added = waits.upload_as(&server, &png, Some("proof-of-loss"));
        assert_eq!((added.status, added.json()["claim_status"].as_str()), (201, Some("approved")), "{}", added.text());
        let claim = waits.get(&server, &format!("/v1/claims/{}", waits.id)).json();
        assert_eq!(
            (claim["status"].as_str(), claim["assessment"]["outcome"].as_str()),
            (Some("approved"), Some("award"))
        );
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE event = 'decided'"), 1);
        // What is decided takes no more files.
        waits.upload(&server, &picture(ImageFormat::Png, 31, 31)).is_problem(409, "evidence_not_taken");

        // One that was sent back to its claimant goes the same way.
        let asked = file_claim(&server, "m-2");
        redress.sql(&format!("UPDATE claim SET state = 'needs_information' WHERE id = '{}'", asked.id));
        assert_eq!(asked.upload(&server, &pdf("")).json()["claim_status"], "approved");

        // What the policy leaves to people stays with them, and knows that the document came.
        redress.with_policies(&["daum"]);
        let mut report = merchant_claim("m-3", "90000");
        report["service"] = json!("daum");
        let read = Filed::of(&server.claim("daum", &report));
        let added = read.upload(&server, &png);
        assert_eq!((added.status, added.json()["claim_status"].as_str()), (201, Some("in_review")), "{}", added.text());
        let claim = read.get(&server, &format!("/v1/claims/{}", read.id)).json();
        assert!(claim["assessment"].get("evidence").is_none(), "{claim}");
        // A second page of the same document is no other document.
        let page = read.upload_as(&server, &pdf(""), Some("proof-of-loss"));
        assert_eq!((page.status, page.json()["document"].as_str()), (201, Some("proof-of-loss")));
        redress.with_budget("map", "KRW", "500000");
        assert_eq!(redress.issue()["issued"], 2);
    });
}

#[test]
fn only_pictures_and_plain_documents_are_taken_whatever_their_names() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve();
        let claim = file_claim(&server, "m-1");
        let jpeg = picture(ImageFormat::Jpeg, 64, 64);
        let png = picture(ImageFormat::Png, 64, 64);
        let cut = |file: &[u8]| file[..file.len() / 2].to_vec();
        let cases: Vec<(Vec<u8>, u16, &str, &str)> = vec![
            (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>".to_vec(), 415, "evidence_type_refused", "XML"),
            (b"<!DOCTYPE html><script>x()</script>".to_vec(), 415, "evidence_type_refused", "script"),
            (b"PK\x03\x04 an archive".to_vec(), 415, "evidence_type_refused", "archive"),
            (b"#!/bin/sh\nrm -rf /".to_vec(), 415, "evidence_type_refused", "script"),
            (b"MZ\x90".to_vec(), 415, "evidence_type_refused", "program"),
            (b"GIF89a".to_vec(), 415, "evidence_type_refused", "GIF"),
            (b"\0\0\0\x18ftypheic".to_vec(), 415, "evidence_type_refused", "HEIC"),
            (vec![7; 5000], 415, "evidence_type_refused", "something else"),
            (Vec::new(), 422, "evidence_unreadable", "empty"),
            (cut(&jpeg), 422, "evidence_unreadable", "cut off"),
            (cut(&png), 422, "evidence_unreadable", "cut off"),
            (cut(&pdf("")), 422, "evidence_unreadable", "cut off"),
            (b"\xff\xd8\xff\xe0".to_vec(), 422, "evidence_unreadable", "cut off"),
            (pdf("/OpenAction<</S/JavaScript/JS(app.alert(1))>>"), 422, "evidence_active_content", "JavaScript"),
            (pdf("/AA<</O<</S/Launch/F(cmd)>>>>"), 422, "evidence_active_content", "Launch"),
            (pdf("/Names<</EmbeddedFiles 3 0 R>>"), 422, "evidence_active_content", "EmbeddedFiles"),
            (pdf("/AcroForm<</X#46A 3 0 R>>"), 422, "evidence_active_content", "XFA"),
            ([pdf(""), b"PK\x05\x06".to_vec()].concat(), 422, "evidence_unreadable", "follows"),
        ];
        for (file, status, code, says) in &cases {
            let problem = claim.upload(&server, file).is_problem(*status, code);
            assert!(problem["detail"].as_str().unwrap().contains(says), "{says}: {problem}");
        }
        assert_eq!(redress.number("SELECT count(*) FROM evidence"), 0);
        assert!(files_on_disk(redress).is_empty());
        // What a reader should know is said, and no reason to refuse.
        let opens = claim.upload(&server, &pdf("/OpenAction[3 0 R/Fit]")).json();
        assert_eq!(opens["remarks"], json!(["open_action"]), "{opens}");
    });
}

#[test]
fn a_claim_has_room_for_so_many_files_and_no_more() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["daum"]);
        let server = redress.serve();
        let claim = daum(&server, "m-1");
        for number in 0..20 {
            let added = claim.upload(&server, &pdf(&format!("/Number {number}")));
            assert_eq!(added.status, 201, "{number}: {}", added.text());
        }
        claim.upload(&server, &pdf("/Number 21")).is_problem(409, "evidence_limit_reached");
        assert_eq!(claim.upload(&server, &pdf("/Number 7")).status, 200, "what is there is there");
        redress.sql("DELETE FROM evidence WHERE bytes < 9 OR id IN (SELECT id FROM evidence ORDER BY id DESC LIMIT 2)");
        redress.sql("UPDATE evidence SET bytes = 3000000");
        claim.upload(&server, &pdf("/Number 22")).is_problem(409, "evidence_limit_reached");
        redress.sql("DELETE FROM evidence");
    });
}

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

/// A scanner that answers each connection with the next of its answers; without one it hangs up.
fn scanner(answers: Vec<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (stream, answer) in listener.incoming().map_while(Result::ok).zip(answers) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut command = Vec::new();
            reader.read_until(0, &mut command).unwrap();
            assert_eq!(command, b"zINSTREAM\0");
            loop {
                let mut length = [0; 4];
                reader.read_exact(&mut length).unwrap();
                let length = u32::from_be_bytes(length) as usize;
                if length == 0 {
                    break;
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
            }
            let mut stream = stream;
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn with_a_scanner_nothing_is_kept_that_it_has_not_passed() {
    Redress::test(|redress| {
        with_map(redress);
        let answers =
            vec!["stream: Eicar-Test-Signature FOUND\0", "INSTREAM size limit exceeded. ERROR\0", "", "stream: OK\0"];
        let clamd = scanner(answers);
        let server = redress.serve_with(&[("REDRESS_CLAMD", &clamd)]);
        let claim = file_claim(&server, "m-1");
        let png = picture(ImageFormat::Png, 9, 9);
        let problem = claim.upload(&server, &png).is_problem(422, "evidence_malware");
        assert!(problem["detail"].as_str().unwrap().contains("Eicar-Test-Signature"), "{problem}");
        for why in ["it gives up", "it hangs up"] {
            let answer = claim.upload(&server, &png);
            answer.is_problem(503, "scanner_unavailable");
            assert_eq!(answer.header("retry-after"), "5", "{why}");
        }
        assert_eq!(redress.number("SELECT count(*) FROM evidence"), 0);
        assert!(files_on_disk(redress).is_empty());
        assert_eq!(claim.upload(&server, &png).status, 201);
        drop(server);
        for away in ["tcp://127.0.0.1:1", "unix:/nowhere/clamd.sock"] {
            let server = redress.serve_with(&[("REDRESS_CLAMD", away)]);
            let other = file_claim(&server, &format!("m-{}", away.len()));
            other.upload(&server, &png).is_problem(503, "scanner_unavailable");
        }
    });
}

#[test]
fn what_was_not_acknowledged_is_taken_up_again_or_swept_and_nothing_else() {
    Redress::test(|redress| {
        with_map(redress);
        let server = redress.serve();
        let claim = file_claim(&server, "m-1");
        let png = picture(ImageFormat::Png, 9, 9);
        // The store is away between the announcement and the acknowledgement.
        let (folder, aside) = (redress.folder.path().join("evidence"), redress.folder.path().join("aside"));
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "no folder").unwrap();
        claim.upload(&server, &png).is_problem(500, "internal");
        assert_eq!(redress.text("SELECT state FROM evidence"), "arriving");
        assert_eq!(claim.get(&server, &claim.path()).json()["evidence"], json!([]), "it is not there yet");
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
        let added = claim.upload(&server, &png);
        assert_eq!(added.status, 201, "{}", added.text());
        assert_eq!(redress.number("SELECT count(*) FROM evidence WHERE state = 'stored'"), 1);
        // Another stands half-way since yesterday, its file written already; the acknowledged one is as old.
        redress.sql(
            "INSERT INTO evidence SELECT customer_id, gen_random_uuid(), claim_id, document, kind, bytes, '\\x00',
                    content_hash, 'zz/abandoned', remarks, 'arriving', begun_at, NULL FROM evidence;
             UPDATE evidence SET begun_at = now() - interval '1 day'",
        );
        std::fs::create_dir(folder.join("zz")).unwrap();
        std::fs::write(folder.join("zz/abandoned"), "sealed").unwrap();
        drop(server);
        let server = redress.serve();
        wait_until("it is swept", || redress.number("SELECT count(*) FROM evidence") == 1);
        assert!(!folder.join("zz/abandoned").exists());
        let path = format!("{}/{}", claim.path(), added.json()["id"].as_str().unwrap());
        assert_eq!(claim.get(&server, &path).status, 200);
    });
}

#[test]
fn staff_file_evidence_for_a_caller_of_their_service() {
    Redress::test(|redress| {
        with_map(redress);
        let roster = redress.file("r.csv", merchants(&["m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        let claim = file_claim(&server, "m-1");
        let body = form(&[("file", Some("a"), &pdf(""))]);
        let auditor = redress.client(&server, "auditor-1", "auditor");
        auditor.send("POST", &claim.path(), &[("content-type", CONTENT_TYPE)], &body).is_problem(403, "forbidden");
        let agent = redress.client(&server, "agent-1", "agent");
        let added = agent.send("POST", &claim.path(), &[("content-type", CONTENT_TYPE)], &body);
        assert_eq!(added.status, 201, "{}", added.text());
        assert_eq!(redress.text("SELECT actor FROM audit WHERE action = 'evidence.add'"), "agent-1");
    });
}

/// What lies in a bucket, by path.
type Objects = std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<String, Vec<u8>>>>;

/// A bucket: what is put can be got and deleted; every request must be signed.
fn bucket() -> (String, Objects) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let objects = Objects::default();
    let kept = std::sync::Arc::clone(&objects);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
            let header = |name: &str| {
                head.lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix(name).map(|text| text.trim().to_owned()))
            };
            let mut body = vec![0; header("content-length:").map_or(0, |text| text.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let signed = header("authorization:").is_some_and(|text| text.starts_with("aws4-hmac-sha256"));
            let mut objects = kept.lock().unwrap();
            let (status, content) = match (signed, method) {
                (false, _) => ("403 Forbidden", Vec::new()),
                (_, "PUT") => {
                    objects.insert(path, body);
                    ("200 OK", Vec::new())
                }
                (_, "GET") => objects.get(&path).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body.clone())),
                _ => {
                    objects.remove(&path);
                    ("204 No Content", Vec::new())
                }
            };
            let date = "Last-Modified: Mon, 23 Nov 2026 00:00:00 GMT\r\nETag: \"x\"";
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{date}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content)).unwrap();
        }
    });
    (address, objects)
}

#[test]
fn files_lie_in_a_bucket_where_one_is_named() {
    Redress::test(|redress| {
        with_map(redress);
        let (endpoint, objects) = bucket();
        let environment = [
            ("REDRESS_EVIDENCE_URL", "s3://claims/of/2022"),
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "ap-northeast-2"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let server = redress.serve_with(&environment);
        let claim = file_claim(&server, "m-1");
        let added = claim.upload(&server, &picture(ImageFormat::Png, 20, 20));
        assert_eq!(added.status, 201, "{}", added.text());
        let got = claim.get(&server, added.header("location"));
        assert_eq!(image::load_from_memory(&got.body).unwrap().dimensions(), (20, 20));
        let blob = redress.text("SELECT blob FROM evidence");
        {
            let kept = objects.lock().unwrap();
            assert_eq!(kept.keys().collect::<Vec<_>>(), [&format!("/claims/of/2022/{blob}")]);
            assert!(!holds(&kept.values().next().unwrap()[..60], b"PNG"), "it is not sealed");
        }
        // Whatever checks the books looks into the same bucket.
        assert_eq!(redress.command(&["verify"]).envs(environment).output().unwrap().status.code(), Some(0));
        objects.lock().unwrap().clear();
        claim.get(&server, added.header("location")).is_problem(500, "internal");
        assert_eq!(redress.command(&["verify"]).envs(environment).output().unwrap().status.code(), Some(1));
        redress.sql("DELETE FROM evidence");
    });
}

/// facts.md §4: "claims vanished for years; evidence uploads lost daily; the claimant told only after the last failure":
/// whatever the server dies of, every file that was acknowledged is there, and the first failure is told at once.
#[test]
fn files_that_were_acknowledged_survive_every_kill_and_a_failure_is_told_at_the_first() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["daum"]);
        let mut acknowledged: Vec<(usize, String)> = Vec::new();
        let mut claims: Vec<Filed> = Vec::new();
        for round in 0..3 {
            let server = redress.serve();
            claims.push(daum(&server, &format!("m-{round}")));
            let claim = &claims[round];
            let place = format!("{}{}", server.url, claim.path());
            let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
            // Files come one after the other until the server is killed in the midst of one.
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    let mut answers = Vec::new();
                    for number in 0.. {
                        let file = picture(ImageFormat::Png, 30 + number, 20);
                        let body = form(&[("file", Some("x.png"), &file)]);
                        let request = agent.post(&place).header("authorization", format!("Bearer {}", claim.token));
                        let Ok(answer) = request.header("content-type", CONTENT_TYPE).send(&body[..]) else { break };
                        let status = answer.status().as_u16();
                        let Ok(text) = { answer }.body_mut().read_to_string() else { break };
                        if status != 201 {
                            assert_eq!(status, 409, "{text}");
                            break;
                        }
                        let answer: Value = serde_json::from_str(&text).unwrap();
                        answers.push(answer["id"].as_str().unwrap().to_owned());
                    }
                    answers
                });
                wait_until("some were acknowledged", || {
                    redress.number("SELECT count(*) FROM evidence WHERE state = 'stored'")
                        >= i64::try_from(acknowledged.len()).unwrap() + 3
                });
                server.kill();
                acknowledged.extend(sender.join().unwrap().into_iter().map(|id| (round, id)));
            });
            let server = redress.serve();
            for (round, id) in &acknowledged {
                let claim = &claims[*round];
                let file = claim.get(&server, &format!("{}/{id}", claim.path()));
                assert_eq!(file.status, 200, "{}", file.text());
            }
            // Every claim stands where its claimant sees it; none is half-way.
            for claim in &claims {
                assert_eq!(claim.get(&server, &format!("/v1/claims/{}", claim.id)).json()["status"], "in_review");
            }
        }
        assert!(acknowledged.len() >= 9, "{acknowledged:?}");
        // The first failure is told at once, in the answer, and what was not kept does not show as if it were.
        let server = redress.serve();
        let claim = daum(&server, "m-9");
        let folder = redress.folder.path().join("evidence");
        let aside = redress.folder.path().join("aside");
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "no folder").unwrap();
        claim.upload(&server, &picture(ImageFormat::Png, 9, 9)).is_problem(500, "internal");
        assert_eq!(claim.get(&server, &claim.path()).json()["evidence"], json!([]));
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
    });
}
