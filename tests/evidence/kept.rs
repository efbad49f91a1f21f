//! Where files are kept, in a folder or a bucket: nothing acknowledged is lost, and nothing else stays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use image::{GenericImageView, ImageFormat};
use serde_json::{Value, json};

use super::{CONTENT_TYPE, Filed, daum, file_claim, form, holds, picture, with_map};
use crate::harness::{Redress, wait_until};

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
