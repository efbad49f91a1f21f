//! Evidence: taken by content, drawn anew, kept sealed, seen by few; hostile uploads cost little and hear why.

mod hostile;
mod kept;

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::TcpListener;
use std::path::Path;

use image::{DynamicImage, GenericImageView, ImageFormat, RgbImage};
use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, Server, merchant_claim, merchants};
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
